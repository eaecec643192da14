"""Forty-odd values that no scan can be read from, each with the reason for which it is set aside: one table for all tests of it."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from shared.identity import parcel_key, partition_of
from tests.integration.subsidy_books import scan

Change = Callable[[dict[str, Any]], None]


def _with(**fields: Any) -> Change:
    return lambda event: event.update(fields)


def _without(name: str) -> Change:
    def change(event: dict[str, Any]) -> None:
        del event[name]

    return change


def _made(change: Change) -> Callable[[bytes], bytes]:
    def make(value: bytes) -> bytes:
        event = json.loads(value)
        change(event)
        return json.dumps(event, ensure_ascii=False).encode()

    return make


_DEEP = 50_000
# What it is → (what is made of a sound value, the reason)
BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda v: b"", "value.empty"),
    "white space": (lambda v: b"  \n", "value.not_json"),
    "half a message": (lambda v: v[: len(v) // 2], "value.not_json"),
    "two messages": (lambda v: v + v, "value.not_json"),
    "a byte order mark": (lambda v: b"\xef\xbb\xbf" + v, "value.not_json"),
    "UTF-16": (lambda v: v.decode().encode("utf-16"), "value.not_json"),
    "GBK": (lambda v: v.decode().encode("gbk"), "value.not_json"),
    "no UTF-8": (lambda v: v.replace(b"zto", b"\xff\xfe\xfd"), "value.not_json"),
    "half a surrogate pair": (lambda v: v.replace(b'"zto"', b'"\\ud800"'), "value.not_json"),
    "zeroes": (lambda v: bytes(len(v)), "value.not_json"),
    "XML": (lambda v: b"<scan/>", "value.not_json"),
    "MessagePack": (lambda v: msgspec.msgpack.encode(json.loads(v)), "value.not_json"),
    "not a number": (lambda v: v.replace(b'"weight_g":null', b'"weight_g":NaN'), "value.not_json"),
    "a deep nest": (lambda v: b'{"event_id":' * _DEEP, "value.contract"),
    "null": (lambda v: b"null", "value.contract"),
    "a list": (lambda v: b"[" + v + b"]", "value.contract"),
    "a text": (lambda v: json.dumps(v.decode()).encode(), "value.contract"),
}
FIELDS: dict[str, tuple[Change, str]] = {
    "version 0": (_with(v=0), "value.contract"),
    "a version in words": (_with(v="1"), "value.contract"),
    "a field that is missing": (_without("waybill_no"), "value.contract"),
    "a field that nobody knows": (_with(colour="red"), "value.contract"),
    "a number for a text": (_with(brand=7), "value.contract"),
    "null for a text": (_with(feed=None), "value.contract"),
    "a text for a number": (_with(mapping_version="1"), "value.contract"),
    "a fraction": (_with(weight_g=1.5), "value.contract"),
    "less than nothing": (_with(weight_g=-1), "value.contract"),
    "more than a table takes": (_with(mapping_version=2**31), "value.contract"),
    "more than a number takes": (_with(weight_g=10**400), "value.contract"),
    "an endless text": (_with(site_name="站" * 2_000), "value.contract"),
    "an endless waybill": (_with(waybill_no="7" * 10_000), "value.contract"),
    "a verdict that is none": (_with(verdict="duplicate"), "value.contract"),
    "a time that is none": (_with(scanned_at="2023-02-30T09:12:03+08:00"), "value.contract"),
    "a time without a zone": (_with(scanned_at="2023-07-14T09:12:03"), "value.contract"),
    "a time in words": (_with(received_at="yesterday"), "value.contract"),
    "a division that is none": (_with(origin="1408"), "value.contract"),
    "a short digest": (_with(content="ab"), "value.contract"),
    "a retraction of nobody knows what": (_with(retracts={"event": 1}), "value.contract"),
    "the year 1": (_with(scanned_at="0001-01-01T00:00:00+08:00"), "value.time"),
    "the year 9999": (_with(scanned_at="9999-12-31T23:59:59-08:00"), "value.time"),
    "received a century ago": (_with(received_at="1923-07-14T09:12:03+08:00"), "value.time"),
    "an id of letters": (_with(event_id="g" * 36), "value.identifier"),
    "an id of spaces": (_with(event_id=" " * 36), "value.identifier"),
    "a digest of letters": (_with(content="z" * 64), "value.identifier"),
    "a digest with a hole": (_with(payload_sha256="ab " * 21 + "a"), "value.identifier"),
    "NUL in a place": (_with(site_name="上王\x00村"), "value.text"),
    "NUL in a code": (_with(raw_action="IN\x00BOUND"), "value.text"),
    "NUL in a retraction": (_with(retracts={"event_id": None, "previous_action": "a\x00"}), "value.text"),
}
KINDS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    **BYTES,
    **{name: (_made(change), reason) for name, (change, reason) in FIELDS.items()},
    "a parcel of another partition": (lambda v: _elsewhere(v), "value.partition"),
}


def _elsewhere(value: bytes) -> bytes:
    """A sound scan of a parcel that belongs to the next partition."""
    event = json.loads(value)
    here = partition_of(parcel_key(event["brand"], event["waybill_no"]), 8)
    n = next(n for n in range(1000) if partition_of(parcel_key("zto", f"ELSEWHERE{n}"), 8) == (here + 1) % 8)
    return msgspec.json.encode(scan(f"ELSEWHERE{n}"))
