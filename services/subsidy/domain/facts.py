"""The facts that clauses and tiers may read (docs/rules.md): few, typed, of finite range, so that all can be tried."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, product
from typing import NamedTuple

from shared.contracts.registry import IncidentKind, IncidentStatus, OperatingStatus
from shared.contracts.scan import BRANDS

from .events import DECIDING_ACTIONS

FactValue = str | bool | tuple[str, ...]
Found = tuple[tuple[str, tuple[str, ...]], ...]  # facts about incidents, those that are not empty, in the order of INCIDENTS


class Facts(NamedTuple):
    """One assignment of every fact, in the order of SCHEMA; equal facts are decided once per policy."""

    direction: str
    brand: str
    hub_arrived: bool
    returned: str
    final_receipt: bool
    action: str
    level: str
    operating_status: str
    filed: bool
    rural: bool
    distance: str
    incidents: Found = ()


class UplinkFacts(NamedTuple):
    """The same for an uplink parcel that was declared, in the order of UPLINK."""

    direction: str
    brand: str
    returned: str
    picked_up_in_county: bool
    left_county: bool
    consignor: str
    in_catalogue: bool
    platform_listed: bool
    out_of_county: bool
    qualified: bool
    registered_in_time: bool
    has_shop: bool
    incidents: Found = ()


AnyFacts = Facts | UplinkFacts

_BOOL = (False, True)
# fact of a downlink parcel, as a condition writes it → every value that it can take
SCHEMA: Mapping[str, tuple[FactValue, ...]] = {
    "parcel.direction": ("downlink",),
    "parcel.brand": BRANDS,
    "parcel.hub_arrived": _BOOL,
    "parcel.returned": ("none", "refused", "returning", "returned"),
    "parcel.final_receipt": _BOOL,
    "deciding.action": tuple(sorted(DECIDING_ACTIONS)),
    "station.level": ("village", "township"),
    "station.operating_status": tuple(str(s) for s in OperatingStatus),
    "station.filed": _BOOL,
    "station.rural": _BOOL,
    "station.distance": ("near", "far"),
}
# The same of an uplink parcel: what its scans say, what its merchant declared, and who the merchant is.
UPLINK: Mapping[str, tuple[FactValue, ...]] = {
    "parcel.direction": ("uplink",),
    "parcel.brand": BRANDS,
    "parcel.returned": ("none", "refused", "returning", "returned"),
    "parcel.picked_up_in_county": _BOOL,
    "parcel.left_county": _BOOL,
    "declaration.consignor": ("matched", "unknown", "other"),
    "declaration.in_catalogue": _BOOL,
    "declaration.platform_listed": _BOOL,
    "declaration.out_of_county": _BOOL,
    "merchant.qualified": _BOOL,
    "merchant.registered_in_time": _BOOL,
    "merchant.has_shop": _BOOL,
}
# Of a parcel of either kind, which statuses the incidents of a kind have that name it, or that are about its station. They are asked for
# where a policy reads them, and told where there are any: what a policy without them decides is the same, to the byte.
COUNTING = tuple(str(s) for s in IncidentStatus if s is not IncidentStatus.UNFOUNDED)
_SETS = tuple(tuple(sorted(found)) for n in range(len(COUNTING) + 1) for found in combinations(COUNTING, n))
NAMING, ABOUT = "incident", "station_incident"
INCIDENTS: Mapping[str, tuple[FactValue, ...]] = {f"{root}.{kind}": _SETS for root in (NAMING, ABOUT) for kind in IncidentKind}
SCHEMAS: Mapping[str, Mapping[str, tuple[FactValue, ...]]] = {"downlink": {**SCHEMA, **INCIDENTS}, "uplink": {**UPLINK, **INCIDENTS}}
TIER_FACTS: Mapping[str, tuple[FactValue, ...]] = {n: SCHEMA[f"station.{n}"] for n in ("level", "filed", "distance")}


def roots(scheme: str) -> frozenset[str]:
    """What a condition of the scheme may begin a name with."""
    return frozenset(name.split(".")[0] for name in SCHEMAS[scheme])


def context(facts: AnyFacts, incidents: Iterable[str] = ()) -> dict[str, dict[str, FactValue]]:
    """The facts as a CEL expression sees them: {"station": {"level": …}, …}, plain values (an enum member is not one).

    `incidents`: the facts about incidents that are read, empty ones included; each costs every evaluation.
    """
    return nested({**dict.fromkeys(incidents, ()), **by_name(facts)})


def nested(facts: Mapping[str, FactValue]) -> dict[str, dict[str, FactValue]]:
    """{"station.level": …} → {"station": {"level": …}}"""
    found: dict[str, dict[str, FactValue]] = {}
    for name, value in facts.items():
        root, leaf = name.split(".")
        found.setdefault(root, {})[leaf] = value
    return found


def by_name(facts: AnyFacts) -> dict[str, FactValue]:
    """{"station.level": "village", …}: how facts are stored and shown; of those about incidents only what there is."""
    schema = UPLINK if isinstance(facts, UplinkFacts) else SCHEMA
    named: dict[str, FactValue] = {name: v if isinstance(v, bool) else str(v) for name, v in zip(schema, facts[:-1], strict=True)}
    return named | dict(facts.incidents)


def of_names(scheme: str, named: Mapping[str, FactValue]) -> AnyFacts:
    """The other way round, from a value for every fact of the scheme."""
    found = tuple((name, value) for name in INCIDENTS if (value := named[name]))
    values = [named[name] for name in (UPLINK if scheme == "uplink" else SCHEMA)]
    return (UplinkFacts if scheme == "uplink" else Facts)._make([*values, found])


def all_facts(**only: FactValue) -> Iterator[Facts]:
    """Every assignment of a downlink parcel without incidents (40,960), or those of them with these values, e.g. `brand="zto"`."""
    ranges = ((only[leaf],) if (leaf := name.split(".")[1]) in only else values for name, values in SCHEMA.items())
    return (Facts(*values) for values in product(*ranges))  # type: ignore[arg-type]
