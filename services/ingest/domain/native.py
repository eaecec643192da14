"""Reading the fields of a sender's own document: typed, bounded, and each refusal with its pointer."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from services.ingest.domain.items import MAX_CODE, MAX_TEXT, WAYBILL, Flaw, Item, Unreadable, implausible
from shared.calendar import SHANGHAI
from shared.contracts.scan import Action
from shared.personal import has_control, is_personal, is_personal_code

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\Z")
_WAYBILL = re.compile(WAYBILL)

Document = Mapping[str, Any]


def read_each(documents: list[Any], pointers: list[str], read: Callable[[int, Document, str], Item]) -> list[Item | Unreadable]:
    """Every document by itself: one that cannot be read never takes a neighbour with it."""
    return [_read(index, document, pointer, read) for index, (document, pointer) in enumerate(zip(documents, pointers, strict=True))]


def _read(index: int, document: Any, pointer: str, read: Callable[[int, Document, str], Item]) -> Item | Unreadable:
    try:
        if not isinstance(document, dict):
            raise Flaw("item.type", pointer)
        return read(index, document, pointer)
    except Flaw as flaw:
        return Unreadable(index, flaw.code, flaw.pointer)


def optional(document: Document, field: str, at: str = "", max_length: int = MAX_TEXT) -> str | None:
    """A text, or None where it is absent, null or empty."""
    value = document.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Flaw("field.type", f"{at}/{field}")
    return clean(value, f"{at}/{field}", max_length)


def required(document: Document, field: str, at: str = "", max_length: int = MAX_TEXT) -> str:
    value = optional(document, field, at, max_length)
    if value is None:
        raise Flaw("field.missing", f"{at}/{field}")
    return value


def clean(text: str, pointer: str, max_length: int = MAX_TEXT) -> str:
    if len(text) > max_length:
        raise Flaw("field.too_long", pointer)
    if has_control(text):
        raise Flaw("text.control_character", pointer)
    return text


def place(document: Document, field: str, at: str = "") -> str | None:
    """A text that names a place or a thing; one with a telephone or identity number in it is somebody's."""
    text = optional(document, field, at)
    if text and is_personal(text):
        raise Flaw("text.personal_data", f"{at}/{field}")
    return text


def free_text(document: Document, field: str, at: str = "") -> str:
    """A text that is looked into and never leaves the inbox: only its type is checked."""
    value = document.get(field) or ""
    if not isinstance(value, str):
        raise Flaw("field.type", f"{at}/{field}")
    return value


def words_for_numbers(document: Document) -> Document:
    """The same with every whole number as the text that it is written as: some senders have codes for numbers, and waybills for codes."""
    return {name: str(value) if type(value) is int and abs(value) < 10**MAX_TEXT else value for name, value in document.items()}


def code(document: Document, field: str, at: str = "") -> str | None:
    """A code or an order number, which is no telephone number."""
    text = optional(document, field, at, MAX_CODE)
    if text and is_personal_code(text):
        raise Flaw("text.personal_data", f"{at}/{field}")
    return text


def required_code(document: Document, field: str, at: str = "") -> str:
    text = code(document, field, at)
    if text is None:
        raise Flaw("field.missing", f"{at}/{field}")
    return text


def waybill(document: Document, field: str, at: str = "") -> str:
    text = required(document, field, at)
    if not _WAYBILL.match(text):
        raise Flaw("waybill.invalid", f"{at}/{field}")
    return text.upper()


def shanghai_time(
    document: Document, field: str, latest: str, at: str = "", *, tidy: Callable[[str], str] | None = None, zone: tzinfo = SHANGHAI
) -> tuple[str, str, datetime]:
    """(as sent, as the log writes it, instant) of a `yyyy-MM-dd HH:mm:ss`: without a zone, +08:00 is meant (domain facts §1.3).

    `tidy` makes that form of what a sender is known to write instead.
    """
    text = required(document, field, at)
    pointer = f"{at}/{field}"
    plain = tidy(text) if tidy else text
    if not _TIME.match(plain):
        raise Flaw("time.unreadable", pointer)
    try:
        instant = datetime.fromisoformat(plain).replace(tzinfo=zone)
        written = f"{plain[:10]}T{plain[11:]}+08:00" if zone is SHANGHAI else instant.astimezone(SHANGHAI).isoformat()
    except (ValueError, OverflowError):  # 30 February, 25 o'clock
        raise Flaw("time.unreadable", pointer) from None
    if implausible(written, latest):
        raise Flaw("time.implausible", pointer)
    return text, written, instant if zone is SHANGHAI else instant.astimezone(SHANGHAI)


def brand_of(code: str, table: Mapping[str, str], allowed: tuple[str, ...], pointer: str) -> str:
    """The carrier that a sender's word means, if the feed may speak for it."""
    brand = table.get(code)
    if brand is None:
        raise Flaw("brand.unknown", pointer)
    return permitted(brand, allowed, pointer)


def permitted(brand: str, allowed: Sequence[str], pointer: str) -> str:
    if brand not in allowed:
        raise Flaw("brand.not_in_feed", pointer)
    return brand


def action_of(code: str, table: Mapping[str, Action]) -> Action:
    """An unknown code is kept, with its raw code, and never refused: senders add codes without telling."""
    return table.get(code, Action.UNKNOWN)
