"""Identity of parcels and events: the hashes that every service and every auditor computes alike.

Hash input is an RFC 8785 (canonical JSON) array in which an absent value is null; `msgspec.json.encode` of strings, integers and
nulls is that form (a test holds it against the `rfc8785` package).
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from struct import Struct
from uuid import UUID

import msgspec

_encode = msgspec.json.encode
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(a + b for a in _BASE32 for b in _BASE32)  # ten bits at a time: a third of the time of base64.b32encode


def parcel_key(brand: str, waybill_no: str) -> bytes:
    """16 bytes: a parcel is (brand, waybill number), since numbers collide across brands. The number is upper-cased by the caller."""
    return sha256(f"{brand}|{waybill_no}".encode()).digest()[:16]


def parcel_id(key: bytes) -> str:
    """The public id of a parcel: `pcl_` and its key in base32."""
    bits = int.from_bytes(key, "big") << 2  # 130: thirteen pairs
    return "pcl_" + "".join([_PAIRS[bits >> shift & 1023] for shift in range(120, -1, -10)])


_first_four = Struct(">I").unpack_from  # a third of the time of int.from_bytes


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a parcel's scans, and of its rows."""
    number: int = _first_four(key)[0]
    return number % partitions


def event_id(mode: str, feed: str, key: bytes, identity: tuple[str | None, ...]) -> UUID:
    """UUIDv8 of an event.

    `identity` is `(documented id,)` where the sender gives one, else `(raw_action, scanned_at, site_code, site_name)` as sent,
    exactly: an aggregator that rewrites a time or a code tells another event, which the fold then sees.
    """
    return UUID(bytes=event_key(mode, feed, key, identity))


def event_key(mode: str, feed: str, key: bytes, identity: tuple[str | None, ...]) -> bytes:
    """The 16 bytes of `event_id`, for whoever makes many: they sort, compare and hash five times faster than a UUID."""
    return event_keys(mode, feed, [(key, identity)])[0]


_VERSION = bytes(byte & 0x0F | 0x80 for byte in range(256))  # version 8
_VARIANT = bytes(byte & 0x3F | 0x80 for byte in range(256))  # of RFC 9562


def event_keys(mode: str, feed: str, told: Iterable[tuple[bytes, tuple[str | None, ...]]]) -> list[bytes]:
    """`event_key` of each (parcel's key, identity): the bits that make them UUIDs are set in all at once, by column."""
    digests = bytearray(b"".join([sha256(_encode((mode, feed, key.hex(), identity))).digest() for key, identity in told]))
    digests[6::32] = digests[6::32].translate(_VERSION)
    digests[8::32] = digests[8::32].translate(_VARIANT)
    stamped = bytes(digests)
    return [stamped[at : at + 16] for at in range(0, len(stamped), 32)]


def event_texts(keys: Sequence[bytes]) -> list[str]:
    """Each key as a UUID is written; all at once, since one by one costs as much as their hashes."""
    text = bytearray(b"".join(keys).hex("-", 2).encode() + b"-")  # eight groups of four digits and a hyphen of each
    for surplus in (4, 29, 34):
        text[surplus::40] = b" " * len(keys)
    text[39::40] = b"\n" * len(keys)
    return text.translate(None, b" ").decode().splitlines()[: len(keys)]


def content(
    brand: str,
    waybill_no: str,
    raw_action: str,
    scanned_at: str,
    site_namespace: str,
    site_code: str | None,
    site_name: str | None,
    origin: str | None,
    destination: str | None,
    goods: str | None,
    order_no: str | None,
    weight_g: int | None,
    retracts_event_id: str | None,
    retracts_previous_action: str | None,
    sent_action: str | None,
) -> bytes:
    """32 bytes: SHA-256 of the scan facts as sent, the waybill number upper-cased.

    `scanned_at` is the text of the log's value. `sent_action` is the sender's own `action` (mapping version 0, the canonical API)
    and null where the action is our reading of `raw_action`.
    """
    return contents(
        [
            (
                brand,
                waybill_no,
                raw_action,
                scanned_at,
                site_namespace,
                site_code,
                site_name,
                origin,
                destination,
                goods,
                order_no,
                weight_g,
                retracts_event_id,
                retracts_previous_action,
                sent_action,
            )
        ]
    )[0]


def contents(facts: Iterable[tuple[str | int | None, ...]]) -> list[bytes]:
    """`content` of each, whose facts come in the order of its parameters: passing fifteen of them on costs a third of the hash."""
    return [sha256(_encode(each)).digest() for each in facts]
