"""Pushes as a sender makes them, and what its format reads in them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from services.ingest.brands import NATIVE
from services.ingest.brands.base import Feed, RawPush, Wire
from services.ingest.domain.items import Item, Unreadable
from shared.calendar import SHANGHAI
from shared.contracts.scan import BRANDS

RECEIVED = datetime(2023, 7, 14, 9, 12, 4, tzinfo=SHANGHAI)
SECRET = b"s3cret-DEMO"
SM4_KEY = b"s3cret-DEMO-0123"  # 16 bytes
FORM = "application/x-www-form-urlencoded"


def pushed(format_: str, body: bytes, content_type: str = FORM, brands: Sequence[str] = BRANDS, **more: Any) -> RawPush:
    return RawPush(Feed("f", format_, tuple(brands), None, "live", 7200), body, content_type, RECEIVED, **more)


def signed(format_: str, payload: Any, secret: bytes = SECRET, **more: Any) -> RawPush:
    wire: Wire = NATIVE[format_].sign(payload, secret)
    brands = more.pop("brands", NATIVE[format_].BRANDS)
    headers = {name.lower(): value for name, value in wire.headers.items()}
    query = dict(parse_qsl(wire.query))
    told = {"token": wire.token, "headers": headers, "query": query, "secrets": [secret]} | more
    return pushed(format_, wire.body, wire.content_type, tuple(brands), **told)


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
