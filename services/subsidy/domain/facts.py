"""The facts that clauses and tiers may read (docs/rules.md): few, typed, of finite range, so that all can be tried."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from shared.contracts.registry import OperatingStatus
from shared.contracts.scan import BRANDS

from .events import DECIDING_ACTIONS

FactValue = str | bool


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


_BOOL = (False, True)
# fact as a condition writes it → every value that it can take
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
NAMES = tuple(SCHEMA)
ROOTS = frozenset(name.split(".")[0] for name in SCHEMA)
TIER_FACTS: Mapping[str, tuple[FactValue, ...]] = {n: SCHEMA[f"station.{n}"] for n in ("level", "filed", "distance")}


def context(facts: Facts) -> dict[str, dict[str, FactValue]]:
    """The facts as a CEL expression sees them: {"station": {"level": …}, …}, plain values (an enum member is not one)."""
    nested: dict[str, dict[str, FactValue]] = {root: {} for root in ROOTS}
    for name, value in by_name(facts).items():
        root, leaf = name.split(".")
        nested[root][leaf] = value
    return nested


def by_name(facts: Facts) -> dict[str, FactValue]:
    """{"station.level": "village", …}: how facts are stored and shown."""
    return {name: value if isinstance(value, bool) else str(value) for name, value in zip(NAMES, facts, strict=True)}


def all_facts(**only: FactValue) -> Iterator[Facts]:
    """Every assignment that can occur (40,960), or those of them with these values, e.g. `brand="zto"`."""
    ranges = ((only[leaf],) if (leaf := name.split(".")[1]) in only else values for name, values in SCHEMA.items())
    return (Facts(*values) for values in product(*ranges))  # type: ignore[arg-type]
