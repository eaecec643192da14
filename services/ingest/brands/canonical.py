"""The canonical API, `POST /v1/scans`: the programme's own words, for senders that can speak them (`api.md` §2).

An item that breaks the contract is rejected by itself: the sender must mend it. The body as a whole is decoded in one go; only when
that fails is each item decoded alone, so that the price of a bad item is paid by whoever sends it.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import count, repeat
from string import ascii_letters, digits
from typing import Annotated, NamedTuple, cast

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from msgspec.structs import astuple

from services.ingest.brands.base import RawPush, Unparseable
from services.ingest.brands.wire import repeats_a_key
from services.ingest.domain.items import (
    DIVISION,
    MAX_CODE,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_TEXT,
    MAX_WAYBILL,
    MAX_WEIGHT_G,
    WAYBILL,
    Flaw,
    Item,
    Unreadable,
    implausible,
)
from shared.calendar import SHANGHAI
from shared.contracts.scan import CANONICAL, Action, Retracts
from shared.personal import has_control, is_personal, is_personal_code

_Code = Annotated[str, Meta(min_length=1, max_length=MAX_CODE)]
_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
_EventId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
# Patterns that every item would pay for are matched below: msgspec's own take three times as long as all the rest of its decoding.
_Waybill = Annotated[str, Meta(min_length=4, max_length=MAX_WAYBILL)]
_Division = Annotated[str, Meta(min_length=12, max_length=12)]
_Time = Annotated[str, Meta(max_length=40)]


class Retraction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    event_id: _EventId | UnsetType | None = UNSET
    previous_action: Action | UnsetType | None = UNSET


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One item of `POST /v1/scans`. Absent is null; the two are told apart to count the keys that were sent."""

    brand: _Code
    waybill_no: _Waybill
    action: Action
    scanned_at: _Time
    raw_action: _Code | UnsetType | None = UNSET
    event_ref: _Code | UnsetType | None = UNSET
    site_code: _Code | UnsetType | None = UNSET
    site_name: _Text | UnsetType | None = UNSET
    origin: _Division | UnsetType | None = UNSET
    destination: _Division | UnsetType | None = UNSET
    goods: _Text | UnsetType | None = UNSET
    order_no: _Code | UnsetType | None = UNSET
    weight_g: Annotated[int, Meta(ge=0, le=MAX_WEIGHT_G)] | UnsetType | None = UNSET
    retracts: Retraction | UnsetType | None = UNSET


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[Event], Meta(max_length=MAX_ITEMS)]


class _RawBatch(msgspec.Struct, forbid_unknown_fields=True):
    events: list[Raw]


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_raw = msgspec.json.Decoder(_RawBatch).decode
_decode_event = msgspec.json.Decoder(Event).decode
_WHERE = re.compile(r" - at `\$([a-z_.]+)`\Z")
_MISSING = re.compile(r"missing required field `([a-z_]+)`")
# Without an escape, and without the first bytes of C1 and of the bidirectional marks (no Chinese character begins with that), no string
# of a body holds a control character. Single bytes: they are found sixty times as fast as pairs.
_SUSPICIOUS = (b"\\", b"\x7f", b"\xc2", b"\xe2")


def parse(push: RawPush, document: bytes) -> list[Item | Unreadable]:
    """The items of `document` (the push's body, inflated) in order. Raises Unparseable when it cannot be read as a whole."""
    if "ndjson" in push.content_type:
        return [_alone(push, index, line) for index, line in enumerate(_lines(document))]
    suspicious = any(mark in document for mark in _SUSPICIOUS)
    try:
        events: list[Event] | None = _decode_batch(document).events
    except (msgspec.ValidationError, RecursionError):
        events = None
    except (msgspec.DecodeError, UnicodeError):
        raise Unparseable("json.invalid") from None
    columns = _Columns(*zip(*map(astuple, events), strict=True)) if events else None
    if events is None or _may_repeat_a_key(document, columns):
        return [_alone(push, index, raw) for index, raw in enumerate(_raw_items(document))]
    if columns and not suspicious and (items := _at_once(push, columns)):
        return items
    return [_or_unreadable(push, index, event, suspicious) for index, event in enumerate(events)]


def _lines(document: bytes) -> list[bytes]:
    """One event a line; empty lines are none."""
    lines = [line for line in document.split(b"\n") if line.strip()]
    if len(lines) > MAX_ITEMS:
        raise Unparseable("items.too_many")
    return lines


_Told = tuple[str | UnsetType | None, ...]


class _Columns(NamedTuple):
    """The events of a body, a field of all of them at a time, in the order of `Event`."""

    brand: tuple[str, ...]
    waybill_no: tuple[str, ...]
    action: tuple[Action, ...]
    scanned_at: tuple[str, ...]
    raw_action: _Told
    event_ref: _Told
    site_code: _Told
    site_name: _Told
    origin: _Told
    destination: _Told
    goods: _Told
    order_no: _Told
    weight_g: tuple[int | UnsetType | None, ...]
    retracts: tuple[Retraction | UnsetType | None, ...]


_REQUIRED, _RETRACTION_FIELDS = 4, len(Retraction.__struct_fields__)
_SPACES = (b" ", b"\t", b"\n", b"\r")


def _may_repeat_a_key(document: bytes, columns: _Columns | None) -> bool:
    """Whether the document has other keys than what was read of it: the decoder lets the last of two win. Counted, since it is rare."""
    read = 1
    if columns:
        read += len(columns) * len(columns.brand) - sum([column.count(UNSET) for column in columns[_REQUIRED:]])
        read += sum([_RETRACTION_FIELDS - astuple(told).count(UNSET) for told in columns.retracts if told])
    return read != document.count(b'":') or any(space in document and b'"' + space + b":" in document for space in _SPACES)


def _raw_items(body: bytes) -> list[Raw]:
    _refuse_deep(body)
    try:
        items = _decode_raw(body).events
    except RecursionError:
        raise Unparseable("json.too_deep") from None
    except msgspec.ValidationError:
        raise Unparseable("body.shape") from None
    except (msgspec.DecodeError, UnicodeError):
        raise Unparseable("json.invalid") from None
    if len(items) > MAX_ITEMS:
        raise Unparseable("items.too_many")
    if repeats_a_key(body) and not any(repeats_a_key(bytes(item)) for item in items):
        raise Unparseable("json.repeated_key")  # `events` itself
    return items


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)  # one pass: an unclosed string reaches to the end
_BRACKET = re.compile(rb"[\[\]{}]")


def _refuse_deep(body: bytes) -> None:
    """Counted before the decoder recurses, over the brackets outside strings."""
    depth = 0
    for bracket in _BRACKET.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise Unparseable("json.too_deep")


def _alone(push: RawPush, index: int, raw: Raw | bytes) -> Item | Unreadable:
    try:
        event = _decode_event(raw)
        if repeats_a_key(bytes(raw)):
            return Unreadable(index, "json.repeated_key", f"/events/{index}")
    except msgspec.ValidationError as e:
        return _flawed(index, str(e))
    except (msgspec.DecodeError, UnicodeError):
        return Unreadable(index, "json.invalid", f"/events/{index}")
    return _or_unreadable(push, index, event, suspicious=True)


def _flawed(index: int, message: str) -> Unreadable:
    """msgspec's sentence as a code and a pointer; names that a sender chose are not repeated."""
    at = f"/events/{index}"
    if missing := _MISSING.search(message):
        return Unreadable(index, "field.missing", f"{at}/{missing[1]}")
    where = _WHERE.search(message)
    pointer = at + where[1].replace(".", "/") if where else at
    if "unknown field" in message:
        return Unreadable(index, "field.unknown", pointer)
    if pointer.endswith("/scanned_at"):
        return Unreadable(index, "time.unreadable", pointer)
    return Unreadable(index, "field.invalid" if where else "item.type", pointer)


def _at_once(push: RawPush, told: _Columns) -> list[Item | Unreadable] | None:
    """What `_item` makes of each, a field of all of them at a time, which takes half as long; None: look at each, there may be a flaw."""
    raw = [raw or action for raw, action in zip(told.raw_action, told.action, strict=True)]
    site_code, site_name, origin, destination = map(_or_none, (told.site_code, told.site_name, told.origin, told.destination))
    goods, order_no, event_ref = map(_or_none, (told.goods, told.order_no, told.event_ref))
    if (
        any(told.retracts)
        or not set(told.brand).issubset(push.feed.brands)
        or "".join(told.waybill_no).encode(errors="replace").translate(None, _WAYBILL_SIGNS)
        or not all(map(_is_division, _said(origin, destination)))
        or any(map(is_personal, _said(site_name, goods)))
        or any(map(is_personal_code, _said(told.raw_action, site_code, order_no)))
        or not _all_plain(told.scanned_at)
        or implausible(min(told.scanned_at), push.latest)
        or implausible(max(told.scanned_at), push.latest)
    ):
        return None
    try:
        scanned_at = list(map(datetime.fromisoformat, told.scanned_at))
    except ValueError:
        return None
    identity: Iterable[tuple[str | None, ...]] = zip(raw, told.scanned_at, site_code, site_name, strict=True)
    if any(event_ref):
        identity = [(ref,) if ref else scan for ref, scan in zip(event_ref, identity, strict=True)]
    return list(
        map(
            Item,
            count(),
            told.brand,
            " ".join(told.waybill_no).upper().split(" "),
            raw,
            scanned_at,
            told.scanned_at,
            site_code,
            site_name,
            told.action,
            repeat(CANONICAL),
            identity,
            origin,
            destination,
            goods,
            order_no,
            [None if weight is UNSET else weight for weight in told.weight_g],
            repeat(None),
            told.action,
        )
    )


def _or_none(column: _Told) -> list[str | None]:
    return [text or None for text in column]


def _said(*columns: Iterable[str | UnsetType | None]) -> set[str]:
    """Every text of them, once."""
    return cast(set[str], set().union(*columns) - {None, UNSET})


def _all_plain(times: Sequence[str]) -> bool:
    """Whether `_is_plain` says so of each: every digit as a 0, they are all the same."""
    listed = "|".join(times)
    return listed.count("+08:00") == len(times) and listed.encode().translate(_AS_ZEROS) == b"|".join([_PLAIN] * len(times))


_PLAIN = b"0000-00-00T00:00:00+00:00"
_AS_ZEROS = bytes.maketrans(digits.encode(), b"0" * 10)
_WAYBILL_SIGNS = f"{ascii_letters}{digits}-".encode()  # how many, the decoder has seen


def _or_unreadable(push: RawPush, index: int, event: Event, suspicious: bool) -> Item | Unreadable:
    try:
        return _item(push, index, event, suspicious)
    except Flaw as flaw:
        return Unreadable(index, flaw.code, f"/events/{index}/{flaw.pointer}")


def _item(push: RawPush, index: int, event: Event, suspicious: bool) -> Item:
    if event.brand not in push.feed.brands:
        raise Flaw("brand.not_in_feed", "brand")
    if suspicious:
        _refuse_control(event)
    if not _is_waybill(event.waybill_no):
        raise Flaw("field.invalid", "waybill_no")
    if event.origin and not _is_division(event.origin):
        raise Flaw("field.invalid", "origin")
    if event.destination and not _is_division(event.destination):
        raise Flaw("field.invalid", "destination")
    _refuse_personal(event)
    raw = event.raw_action or event.action
    scanned_at, scanned_text = _instant(event.scanned_at, push.latest)
    site_code, site_name = event.site_code or None, event.site_name or None
    return Item(
        index,
        event.brand,
        event.waybill_no.upper(),
        raw,
        scanned_at,
        scanned_text,
        site_code,
        site_name,
        event.action,
        CANONICAL,
        (event.event_ref,) if event.event_ref else (raw, event.scanned_at, site_code, site_name),
        event.origin or None,
        event.destination or None,
        event.goods or None,
        event.order_no or None,
        None if event.weight_g is UNSET else event.weight_g,
        _retracts(event.retracts) if event.retracts else None,
        event.action,
    )


_is_waybill = re.compile(WAYBILL).match
_is_division = re.compile(DIVISION).match
_is_plain = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+08:00\Z").match  # as the log writes it
_is_rfc3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})\Z").match


def _instant(text: str, latest: str) -> tuple[datetime, str]:
    """(instant, as the log writes it: to the microsecond, what lies beyond is cut off; the identity keeps the text as sent)"""
    try:
        if _is_plain(text):
            at = datetime.fromisoformat(text)
        elif _is_rfc3339(text):
            at = datetime.fromisoformat(text).astimezone(SHANGHAI)
            text = at.isoformat()
        else:
            raise Flaw("time.unreadable", "scanned_at")
    except (ValueError, OverflowError):
        raise Flaw("time.unreadable", "scanned_at") from None
    if implausible(text, latest):
        raise Flaw("time.implausible", "scanned_at")
    return at, text


def _retracts(told: Retraction) -> Retracts:
    if bool(told.event_id) == bool(told.previous_action):
        raise Flaw("retracts.exactly_one", "retracts")
    return Retracts(told.event_id or None, told.previous_action or None)


def _refuse_personal(event: Event) -> None:
    """Of every free text that goes into the log; the waybill's number alone is known to be one."""
    if event.site_name and is_personal(event.site_name):
        raise Flaw("text.personal_data", "site_name")
    if event.goods and is_personal(event.goods):
        raise Flaw("text.personal_data", "goods")
    if event.raw_action and is_personal_code(event.raw_action):
        raise Flaw("text.personal_data", "raw_action")
    if event.site_code and is_personal_code(event.site_code):
        raise Flaw("text.personal_data", "site_code")
    if event.order_no and is_personal_code(event.order_no):
        raise Flaw("text.personal_data", "order_no")


_TEXTS = ("raw_action", "event_ref", "site_code", "site_name", "goods", "order_no")


def _refuse_control(event: Event) -> None:
    for name in _TEXTS:
        if (text := getattr(event, name)) and has_control(text):
            raise Flaw("text.control_character", name)
