"""What a push says, item by item, once its sender's words are read: a scan, or the reason why it cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from shared.calendar import SHANGHAI
from shared.contracts.scan import Retracts
from shared.identity import contents, event_keys, event_texts, parcel_key

MAX_BODY_BYTES = 1 << 20  # of a push, inflated, too
MAX_ITEMS = 500  # of one push
MAX_DEPTH = 32  # of JSON
MAX_WAYBILL = 32
MAX_CODE = 64
MAX_TEXT = 200
MAX_WEIGHT_G = 10_000_000
WAYBILL = r"^[0-9A-Za-z-]{4,32}\Z"  # a number of no known brand's shape is a warning elsewhere, never a refusal (domain facts §1.10)
DIVISION = r"^[0-9]{12}\Z"
EARLIEST = "2015-01-01T00:00:00+08:00"  # older than any programme: a clock that was never set
FUTURE = timedelta(hours=24)  # a scanner's clock may be wrong by a time zone, hardly by more


class Item(msgspec.Struct, frozen=True, gc=False):
    """One readable scan. Texts are as sent, the waybill number upper-cased; `scanned_at` has an offset."""

    index: int
    brand: str
    waybill_no: str
    raw_action: str
    scanned_at: datetime
    scanned_text: str  # the same, as the log writes it: RFC 3339 with +08:00
    site_code: str | None
    site_name: str | None
    action: str
    mapping_version: int
    identity: tuple[str | None, ...]
    origin: str | None = None
    destination: str | None = None
    goods: str | None = None
    order_no: str | None = None
    weight_g: int | None = None
    retracts: Retracts | None = None
    sent_action: str | None = None  # the canonical API's own `action`; null where a table of ours reads `raw_action`


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An item that is no scan. `pointer`: JSON Pointer into the sender's own document."""

    index: int
    code: str
    pointer: str


class Flaw(Exception):
    """Why an item cannot be read."""

    def __init__(self, code: str, pointer: str) -> None:
        super().__init__(code, pointer)
        self.code, self.pointer = code, pointer


class Identified(msgspec.Struct, frozen=True, gc=False):
    """An item with the keys that every service and auditor computes alike; `event_text` is the UUID of `event_id`."""

    item: Item
    parcel_key: bytes
    event_id: bytes
    event_text: str
    content: bytes


def identify(item: Item, mode: str, feed: str, namespace: str) -> Identified:
    return identify_all([item], mode, feed, namespace)[0]


def identify_all(items: Sequence[Item], mode: str, feed: str, namespace: str | None) -> list[Identified]:
    """`namespace`: whose site codes they use; None: each item's brand's. A step of all of them at a time: a quarter less time."""
    keys = [_parcel_key(item.brand, item.waybill_no) for item in items]
    events = event_keys(mode, feed, [(key, item.identity) for key, item in zip(keys, items, strict=True)])
    facts = contents([_facts(item, namespace or item.brand) for item in items])
    return list(map(Identified, items, keys, events, event_texts(events), facts))


def _facts(item: Item, namespace: str) -> tuple[str | int | None, ...]:
    """What `content` covers, in its order."""
    retracts = item.retracts
    return (
        item.brand,
        item.waybill_no,
        item.raw_action,
        item.scanned_text,
        namespace,
        item.site_code,
        item.site_name,
        item.origin,
        item.destination,
        item.goods,
        item.order_no,
        item.weight_g,
        retracts.event_id if retracts else None,
        retracts.previous_action if retracts else None,
        item.sent_action,
    )


_parcel_key = lru_cache(maxsize=16_384)(parcel_key)  # a parcel's scans come close together


def latest(received_at: datetime) -> str:
    """The last moment that a scan can be of, as `implausible` takes it."""
    return (received_at + FUTURE).astimezone(SHANGHAI).isoformat(timespec="seconds")


def implausible(at: str, latest: str) -> bool:
    """A scan from tomorrow or from before the programme: kept aside, since its day would decide a month's money.

    Both as the log writes a time, in one zone: they compare as texts.
    """
    return not EARLIEST <= at <= latest
