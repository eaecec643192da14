"""What a sender says that it sent on a day, against what we have: the number of events, and where it names them, of each waybill."""

import zlib
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import msgspec

from services.ingest.again import as_it_came, keys_of
from services.ingest.brands import CANONICAL_FORMAT, NATIVE, canonical
from services.ingest.brands.base import RawPush, Unparseable
from services.ingest.brands.wire import inflated
from services.ingest.domain.items import Item
from services.ingest.repository import again as bodies_read
from services.ingest.repository import watching as sql
from shared.db import Database, Read
from shared.keyring import Keyring
from shared.problems import not_found

MAX_SHOWN = 1_000  # waybills of either kind


class Difference(NamedTuple):
    """`missing`: declared more often than received, with how often; `undeclared`: the reverse. Both by waybill, at most MAX_SHOWN."""

    declared: int
    received: int
    missing: dict[str, int]
    undeclared: dict[str, int]
    missing_count: int | None
    undeclared_count: int | None


async def declare(database: Database, feed: str, day: date, by: str, events: int, waybills: Mapping[str, int] | None) -> None:
    """The newest one counts; the ones before it are kept. Raises Problem 404 where a token outlives its feed."""
    packed = None if waybills is None else zlib.compress(msgspec.json.encode(_as_stored(waybills)))
    async with database.write() as tx:
        if not await sql.insert_manifest(tx, feed, day, by, events, packed):
            raise not_found("令牌所属的来源", "feed as the token names", "feed.unknown")


def _as_stored(waybills: Mapping[str, int]) -> Counter[str]:
    """Numbers in upper case; two that are one then are added up."""
    counted: Counter[str] = Counter()
    for waybill, events in waybills.items():
        counted[waybill.upper()] += events
    return counted


async def compare(database: Database, keyring: Keyring, feed: str, day: date, by: str) -> Difference:
    """Raises Problem 404 where nothing was declared. Reads the bodies of that day, which is written down."""
    async with database.write() as tx:
        manifest = await sql.manifest(tx, feed, day)
        if manifest is None:
            raise not_found("该日的申报数", "manifest of that day")
        received = await sql.received(tx, feed, day)
        if manifest["waybills"] is None:
            return Difference(manifest["events"], received, {}, {}, None, None)
        await bodies_read.insert_body_read(tx, f"{feed} {day.isoformat()}", by, "manifest")
        came = await _came(tx, keyring, feed, day)
    declared = Counter(msgspec.json.decode(zlib.decompress(manifest["waybills"]), type=dict[str, int]))
    missing, undeclared = declared - came, came - declared
    return Difference(manifest["events"], received, _shown(missing), _shown(undeclared), missing.total(), undeclared.total())


def _shown(counted: Counter[str]) -> dict[str, int]:
    return dict(sorted(counted.items())[:MAX_SHOWN])


async def _came(read: Read, keyring: Keyring, name: str, day: date) -> Counter[str]:
    """How often each waybill came; an item that could not be read names none."""
    came: Counter[str] = Counter()
    feed, secrets = await keys_of(read, keyring, name)
    async for row in sql.bodies(read, name, day):
        came.update(item.waybill_no for item in _items(as_it_came(feed, secrets, keyring, row)))
    return came


def _items(push: RawPush) -> list[Item]:
    try:
        format_ = push.feed.format
        items = canonical.parse(push, inflated(push.body)) if format_ == CANONICAL_FORMAT else NATIVE[format_].parse(push)
    except Unparseable:  # by a later version of ours: it was read when it came
        return []
    return [item for item in items if isinstance(item, Item)]
