"""Pushes as a sender makes them, and what its format reads in them."""

from datetime import datetime
from typing import Any

from services.ingest.brands import NATIVE
from services.ingest.brands.base import (
    Feed,
    RawPush,
    Wire,
)
from services.ingest.domain.items import Item, Unreadable
from shared.calendar import SHANGHAI
from shared.contracts.scan import BRANDS

RECEIVED = datetime(2023, 7, 14, 9, 12, 4, tzinfo=SHANGHAI)
SECRET = b"s3cret-DEMO"
FORM = "application/x-www-form-urlencoded"


def pushed(format_: str, body: bytes, content_type: str = FORM, brands: tuple[str, ...] = BRANDS, token: str | None = None) -> RawPush:
    return RawPush(Feed("f", format_, brands, None, "live", 7200), body, content_type, RECEIVED, token)


def signed(format_: str, payload: Any, **more: Any) -> RawPush:
    wire: Wire = NATIVE[format_].sign(payload, SECRET)
    return pushed(format_, wire.body, wire.content_type, **more)


def parsed(format_: str, payload: Any, **more: Any) -> list[Item | Unreadable]:
    return NATIVE[format_].parse(signed(format_, payload, **more))


def the_item(format_: str, payload: Any) -> Item:
    (item,) = parsed(format_, payload)
    assert isinstance(item, Item), item
    return item


def the_flaw(format_: str, payload: Any, **more: Any) -> tuple[str, str]:
    (item,) = parsed(format_, payload, **more)
    assert isinstance(item, Unreadable), item
    return item.code, item.pointer
