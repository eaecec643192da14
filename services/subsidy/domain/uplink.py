"""A parcel that leaves the county and was declared: what its scans, its declaration and its merchant come to (docs/rules.md 15). Pure.

Source: 《关于开展2023年度农村寄递物流上行快件补助工作的通知》, rules 1 to 8 (docs/domain.md §4.1).
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from shared.contracts.registry import Qualification
from shared.standing import Directory, Standing, at

from .events import Event
from .facts import UplinkFacts
from .policy import FLAT, FREIGHT, Uplink
from .reading import Reading
from .said import Declared


class Sent(NamedTuple):
    """The scan that decides: where and when the parcel set out."""

    event: Event
    standing: Standing | None  # of the station where it was picked up; None: its place is no registered station


def sent(brand: str, left: Sequence[Event], directory: Directory, county_prefix: str | None) -> Sent | None:
    """The earliest pick-up at a registered station, else the earliest scan with an origin in the county; then the smallest event id."""
    best: Sent | None = None
    best_rank: tuple[object, ...] = ()
    for event in left:
        standing = _picked_up_at(event, brand, directory) if event.action == "picked_up" else None
        if standing is None and not in_county(event.origin, county_prefix):
            continue
        rank = standing is None, event.scanned_at, event.event_id
        if best is None or rank < best_rank:
            best, best_rank = Sent(event, standing), rank
    return best


def _picked_up_at(event: Event, brand: str, directory: Directory) -> Standing | None:
    station_id = directory.station_at(event.site, event.scanned_at)
    return directory.standing(station_id, brand, event.scanned_at) if station_id else None


def in_county(code: str | None, county_prefix: str | None) -> bool:
    return code is not None and county_prefix is not None and code[:6] == county_prefix


def facts_of(
    brand: str, reading: Reading, out: Sent, declared: Declared, uplink: Uplink, directory: Directory, county_code: str
) -> UplinkFacts:
    """The merchant's facts are those of the moment of the deciding scan."""
    moment, prefix = out.event.scanned_at, county_code[:6]
    merchant = directory.merchant_at(declared.merchant_id, moment)
    destinations = {e.destination for e in reading.left if e.destination}
    abroad = any(not in_county(code, prefix) for code in destinations)
    return UplinkFacts(
        "uplink",
        brand,
        reading.returned,
        out.standing is not None,
        abroad and any(e.scanned_at > moment for e in reading.left),
        _consignor({e.order_no for e in reading.left if e.order_no}, declared.order_no),
        in_catalogue(declared.product, uplink.catalogue),
        plain(declared.platform) in map(plain, uplink.platforms),
        not any(in_county(code, prefix) for code in destinations) and not _names(declared.destination, county_code, directory, out),
        merchant is not None and merchant.qualification is Qualification.APPROVED,
        merchant is not None and merchant.registered_on < uplink.registered_before,
        merchant is not None and any(s.approved and plain(s.platform) == plain(declared.platform) for s in merchant.shops),
    )


def _consignor(told: set[str], declared: str) -> str:
    if not told:
        return "unknown"
    return "matched" if told == {declared} else "other"


def in_catalogue(product: str, catalogue: Sequence[str]) -> bool:
    """Whether the description holds one of the catalogue's words."""
    text = plain(product)
    return any(plain(word) in text for word in catalogue)


def _names(destination: str, county_code: str, directory: Directory, out: Sent) -> bool:
    """Whether a declared destination is in the county: its name as the registry has it, with or without 县, or its code."""
    text = plain(destination)
    county = directory.divisions.get(county_code)
    segment = at(county.segments, out.event.scanned_at) if county else None
    name = plain(segment.name).removesuffix("县") if segment else None
    return text.startswith(county_code[:6]) or (name is not None and len(name) > 1 and name in text)


def plain(text: str) -> str:
    """What people write in one way or the other: full or half width, large or small, with or without spaces."""
    return "".join(unicodedata.normalize("NFKC", text).lower().split())


def rate(uplink: Uplink, freight_fen: int) -> tuple[str, int]:
    """-> (rate id, fen): 1 yuan a parcel; where the freight is less, the freight (rule 6)."""
    return (FREIGHT, freight_fen) if freight_fen < uplink.at_most_fen else (FLAT, uplink.at_most_fen)
