"""What a push says, item by item, once its sender's words are read: a scan, or the reason why it cannot be read."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from shared.calendar import SHANGHAI
from shared.contracts.scan import Retracts
from shared.identity import content, event_key, parcel_key

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

# NUL ends up nowhere (PostgreSQL refuses it), control and bidirectional characters deceive whoever reads a log or a table.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A mobile number, a landline with its area code or an identity card, however it is spaced: such a text is somebody's, not a place's, and
# must not leave the encrypted inbox.
_GAP = "[\\s+()\\-.·\u2010-\u2015\u2212\u200b-\u200d\u2060\ufeff]{0,2}"
_MOBILE = rf"(?:86{_GAP})?1{_GAP}[3-9](?:{_GAP}[0-9]){{9}}"
_LANDLINE = rf"(?:86{_GAP})?0{_GAP}(?:10|2[0-9]|[3-9][0-9]{{2}}){_GAP}[2-9](?:{_GAP}[0-9]){{6,7}}"
_CARD = rf"[1-9](?:{_GAP}[0-9]){{16}}{_GAP}[0-9Xx]"
_IN_TEXT = re.compile(rf"(?<![0-9])(?:{_MOBILE}|{_LANDLINE}|{_CARD})(?![0-9])")
# In a code the same digits may be part of a longer one (`YQ-13800138000`, `2023-1380013-8000-22`): only what stands alone is somebody's.
_IN_CODE = re.compile(rf"(?<![0-9A-Za-z])(?<![0-9A-Za-z][-_.])(?:{_MOBILE}|{_LANDLINE}|{_CARD})(?![-_.]?[0-9A-Za-z])")
_SHORTEST = 10  # characters of a telephone number with its area code
_LONGEST = 13  # digits of one, with 86: a longer run of digits alone is an order's number


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
    key = _parcel_key(item.brand, item.waybill_no)
    event = event_key(mode, feed, key, item.identity)
    hexed = event.hex()
    retracts = item.retracts
    return Identified(
        item,
        key,
        event,
        f"{hexed[:8]}-{hexed[8:12]}-{hexed[12:16]}-{hexed[16:20]}-{hexed[20:]}",
        content(
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
        ),
    )


_parcel_key = lru_cache(maxsize=16_384)(parcel_key)  # a parcel's scans come close together


def has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None


@lru_cache(maxsize=4_096)  # a county has some hundred sites
def is_personal(text: str) -> bool:
    """Whether a name or a description holds somebody's number; full-width digits and other forms count as the plain ones."""
    plain = _plain(text)
    return len(plain) >= _SHORTEST and _IN_TEXT.search(plain) is not None


@lru_cache(maxsize=4_096)
def is_personal_code(text: str) -> bool:
    """The same of a code or an order number, which may be long and numeric in its own right."""
    plain = _plain(text)
    if len(plain) < _SHORTEST or (len(plain) > _LONGEST and plain.isdigit()):
        return False
    return _IN_CODE.search(plain) is not None


def _plain(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def latest(received_at: datetime) -> str:
    """The last moment that a scan can be of, as `implausible` takes it."""
    return (received_at + FUTURE).astimezone(SHANGHAI).isoformat(timespec="seconds")


def implausible(at: str, latest: str) -> bool:
    """A scan from tomorrow or from before the programme: kept aside, since its day would decide a month's money.

    Both as the log writes a time, in one zone: they compare as texts.
    """
    return not EARLIEST <= at <= latest
