"""docs/rules.md 15, once more: an uplink parcel that a merchant has declared. Like rules.py it imports nothing of the platform."""

import unicodedata
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

if __package__:
    from deploy.demo.records import Declared, Json, Registry, Scan, segment
else:  # carried away
    from records import Declared, Json, Registry, Scan, segment  # type: ignore[import-not-found, no-redef]

if TYPE_CHECKING:
    from deploy.demo.rules import Policy

Out = tuple[Scan, str | None]  # the deciding event, and the station where it was picked up


def deciding(left: list[Scan], registry: Registry, counties: set[str]) -> Out:
    picked_up = [(e, s) for e in left if e.action == "picked_up" and (s := registry.station_at(e)) and registry.standing(s, e.at)]
    first: list[Out] = [*sorted(picked_up, key=lambda pair: (pair[0].at, pair[0].event_id))]
    from_here = sorted((e for e in left if e.origin and e.origin[:6] in counties), key=lambda e: (e.at, e.event_id))
    return first[0] if first else (from_here[0], None)


def facts(brand: str, way_back: str, left: list[Scan], out: Out, declared: Declared, policy: "Policy", registry: Registry) -> Json:
    scan, station = out
    told = {e.order_no for e in left if e.order_no}
    destinations = [e.destination for e in left if e.destination]
    merchant = registry.merchants.get(declared.merchant_id)
    now = segment(merchant["segments"], scan.at) if merchant else None
    uplink = policy.document["uplink"]
    shops = now["shops"] if now else []
    return {
        "parcel": {
            "direction": "uplink",
            "brand": brand,
            "returned": way_back,
            "picked_up_in_county": station is not None,
            "left_county": any(d[:6] != policy.county for d in destinations) and any(e.at > scan.at for e in left),
        },
        "declaration": {
            "consignor": "unknown" if not told else "matched" if told == {declared.order_no} else "other",
            "in_catalogue": any(plain(word) in plain(declared.product) for word in uplink["catalogue"]),
            "platform_listed": plain(declared.platform) in [plain(name) for name in uplink["platforms"]],
            "out_of_county": not any(d[:6] == policy.county for d in destinations) and not in_county(declared, policy, registry, scan),
        },
        "merchant": {
            "qualified": now is not None and now["qualification"] == "approved",
            "registered_in_time": now is not None and day_of(now["registered_on"]) < day_of(uplink["registered_before"]),
            "has_shop": any(shop["approved"] and plain(shop["platform"]) == plain(declared.platform) for shop in shops),
        },
    }


def in_county(declared: Declared, policy: "Policy", registry: Registry, scan: Scan) -> bool:
    """The declared destination begins with the county's digits or holds its name."""
    county = registry.divisions.get(policy.document["county_code"])
    now = segment(county["segments"], scan.at) if county else None
    name = plain(now["name"]).removesuffix("县") if now else ""
    text = plain(declared.destination)
    return text.startswith(policy.county) or (len(name) > 1 and name in text)


def plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).lower().split())


def day_of(day: object) -> date:
    return date.fromisoformat(str(day))


def clauses_not_met(policy: "Policy", seen: Json, mode: str) -> list[Json]:
    return [c for c, condition in policy.uplink_clauses if c["mode"] == mode and condition.execute(seen) is not True]


def amount(policy: "Policy", declared: Declared) -> tuple[str, int]:
    """-> (reason code, fen)"""
    at_most: int = policy.document["uplink"]["at_most_fen"]
    return ("rate.uplink.freight", declared.freight_fen) if declared.freight_fen < at_most else ("rate.uplink.flat", at_most)


def live(rows: Iterable[Json], merchant_id: str) -> Iterable[tuple[tuple[str, str], Declared]]:
    """The accepted rows of a declaration that stands, by parcel."""
    for row in rows:
        order = merchant_id, row["platform"], row["order_no"], row["product"], row["destination"], row["freight_fen"]
        yield (row["brand"], row["waybill_no"]), Declared(*order)
