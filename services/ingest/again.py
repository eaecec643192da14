"""What is sent to the log once more, by a person, with a reason: quarantined items that can be read now, and events that a corrected code
table reads differently. Receipts stay as they were; identity keeps either from counting twice (docs/decisions/0015-again.md).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import asyncpg
import msgspec

from services.ingest import feeds
from services.ingest.accept import Draft, accept_again, body_aad
from services.ingest.brands import NATIVE
from services.ingest.brands.base import TOKEN, Feed, Mode, RawPush, Unparseable
from services.ingest.domain.items import Identified, Item, Unreadable, identify
from services.ingest.domain.masking import masked, words_of
from services.ingest.repository import again as sql
from shared import log
from shared.calendar import SHANGHAI
from shared.contracts.scan import CANONICAL, TOPIC, ScanEvent, decode_scan
from shared.db import Database, Read, Write
from shared.identity import parcel_key
from shared.keyring import Keyring
from shared.problems import Problem, invalid, not_found

MAX_REDRIVEN = 500  # of one request
MAX_READ_AGAIN = 20_000  # entries of the log in one request
PAGE = 1_000
Tenant = tuple[str | None, str | None]


class Choice(NamedTuple):
    """Which open items; None: any."""

    ids: Sequence[int] | None
    feed: str | None
    code: str | None


class Told(NamedTuple):
    """One quarantined item, and what it is now."""

    row: asyncpg.Record
    item: Identified | Unreadable


class Remapped(NamedTuple):
    """`changes`: (raw action, action before, action now) and how many events of each; `next_position`: where to go on, None: at the end."""

    read: int
    published: int
    changes: Counter[tuple[str, str, str]]
    next_position: int | None


async def redrive(
    database: Database, keyring: Keyring, partitions: int, choice: Choice, by: str, reason: str, *, dry_run: bool
) -> list[tuple[Told, str]]:
    """-> each item with its verdict; `quarantined`: it still cannot be read, and stays open. `dry_run`: nothing is written."""
    async with database.write() as tx:
        await sql.lock(tx)
        await _refuse_unknown(tx, choice)
        told = await _read_again(tx, keyring, await sql.open_items(tx, choice.ids, choice.feed, choice.code, MAX_REDRIVEN))
        readable = [one for one in told if isinstance(one.item, Identified)]
        if dry_run:
            return [(one, "readable" if isinstance(one.item, Identified) else "quarantined") for one in told]
        drafts = [_draft(await feeds.get(tx, one.row["feed"]), one) for one in readable]
        decided, entries = await accept_again(database, tx, drafts, partitions)
        verdicts = {one.row["quarantine_id"]: word for one, (word,) in zip(readable, decided, strict=True)}
        await _keep(tx, readable, verdicts, by, reason)
        await log.append(database, tx, TOPIC, entries)
    return [(one, verdicts.get(one.row["quarantine_id"], "quarantined")) for one in told]


async def _refuse_unknown(read: Read, choice: Choice) -> None:
    if choice.ids is not None and (unknown := set(choice.ids) - await sql.known(read, choice.ids)):
        raise invalid(
            "/quarantine_ids", "quarantine.unknown", f"没有隔离项 qua_{min(unknown)}。", f"There is no quarantined item qua_{min(unknown)}."
        )


async def _read_again(read: Read, keyring: Keyring, rows: Sequence[asyncpg.Record]) -> list[Told]:
    found = []
    for _, of_push in groupby(rows, key=lambda row: row["receipt_id"]):
        some = list(of_push)
        items = _items(await opened(read, keyring, {**some[0], "body": await sql.body(read, some[0]["receipt_id"])}))
        found += [Told(row, items(row)) for row in some]
    return found


def _items(push: RawPush) -> Callable[[asyncpg.Record], Identified | Unreadable]:
    """row -> what its item is now."""
    feed = push.feed
    try:
        items = NATIVE[feed.format].parse(push)
    except Unparseable as e:
        code = e.code
        return lambda row: Unreadable(row["index"], code, "")

    def now(row: asyncpg.Record) -> Identified | Unreadable:
        if row["index"] >= len(items):
            return Unreadable(row["index"], "item.gone", row["pointer"])
        item = items[row["index"]]
        return identify(item, feed.mode, feed.feed, feed.namespace(item.brand)) if isinstance(item, Item) else item

    return now


async def opened(read: Read, keyring: Keyring, row: Mapping[str, Any] | asyncpg.Record) -> RawPush:
    """A stored push as it came, with the settings that its feed has now and the mode that it had then."""
    return as_it_came(*await keys_of(read, keyring, row["feed"]), keyring, row)


async def keys_of(read: Read, keyring: Keyring, name: str) -> tuple[Feed, list[bytes]]:
    """A feed and every secret that it ever had: the retired ones opened old bodies."""
    feed = await feeds.get(read, name)
    return feed, [keyring.decrypt(key_id, data, feeds.secret_aad(name)) for key_id, data in await sql.all_secrets(read, name)]


def as_it_came(feed: Feed, secrets: Sequence[bytes], keyring: Keyring, row: Mapping[str, Any] | asyncpg.Record) -> RawPush:
    """Raises Problem 410 where the body is no longer kept."""
    if not row["body"]:
        raise Problem(410, "body.dropped", "原始报文已按保存期限删除。", "The body was dropped when its retention ended.")
    return RawPush(
        replace(feed, mode=row["mode"], format=row["format"]),
        keyring.decrypt(row["key_id"], row["body"], body_aad(row["receipt_id"])),
        row["content_type"] or "application/x-www-form-urlencoded",
        row["received_at"].astimezone(SHANGHAI),
        "" if row["verified"] == TOKEN else None,
        secrets=secrets,
    )


def _draft(feed: Feed, told: Told) -> Draft:
    row = told.row
    return Draft(
        receipt_id=row["receipt_id"],
        feed=replace(feed, mode=row["mode"], format=row["format"]),
        received_at=row["received_at"].astimezone(SHANGHAI),
        verified=row["verified"],
        payload_sha256=row["payload_sha256"],
        key_id=row["key_id"],
        body=b"",
        items=[told.item],
        unreadable="quarantined",
        content_type="",
    )


async def _keep(tx: Write, told: Sequence[Told], verdicts: Mapping[int, str], by: str, reason: str) -> None:
    rows = []
    for one in told:
        if isinstance(one.item, Identified):
            quarantine_id = one.row["quarantine_id"]
            rows.append((quarantine_id, "redriven", by, reason, verdicts[quarantine_id], one.item.event_text))
    await sql.insert_outcomes(tx, rows)
    for feed_mode, some in groupby(sorted(told, key=_feed_and_mode), key=_feed_and_mode):
        ids = [one.row["quarantine_id"] for one in some]
        new = sum(verdicts[i] != "duplicate" for i in ids) if feed_mode[1] == Mode.LIVE else 0
        await sql.insert_again(tx, by, reason, "redriven", feed_mode, len(ids), new)


def _feed_and_mode(told: Told) -> tuple[str, str]:
    return told.row["feed"], told.row["mode"]


async def dismiss(database: Database, ids: Sequence[int], by: str, reason: str) -> int:
    """Items that will never be read: closed with a reason. -> how many were open."""
    async with database.write() as tx:
        await sql.lock(tx)
        choice = Choice(ids, None, None)
        await _refuse_unknown(tx, choice)
        rows = await sql.open_items(tx, choice.ids, None, None, MAX_REDRIVEN)
        await sql.insert_outcomes(tx, [(row["quarantine_id"], "dismissed", by, reason, None, None) for row in rows])
    return len(rows)


async def inspect(database: Database, keyring: Keyring, quarantine_id: int, tenant: Tenant, by: str) -> tuple[asyncpg.Record, Any]:
    """-> (the item, its push's document with everybody's data masked). Whoever looks is written down first."""
    async with database.write() as tx:
        row = await sql.one(tx, quarantine_id, *tenant)
        if row is None:
            raise not_found("该隔离项", "quarantined item")
        await sql.insert_body_read(tx, row["receipt_id"], by, "quarantine.inspect")
        push = await opened(tx, keyring, row)
    format_ = NATIVE[row["format"]]
    return row, masked(format_.document(push), words_of(format_.SAMPLE))


async def remap(database: Database, feed_name: str, start: tuple[int, int], by: str, reason: str, *, dry_run: bool) -> Remapped:
    """Entries of one partition of the log, from a position on: of the feed's events whose code the table now reads differently, the same
    message with our new reading and the higher `mapping_version`. Each once, however often it is asked for.
    """
    async with database.write() as tx:
        feed = await feeds.get(tx, feed_name)
        if feed.format not in NATIVE:
            raise Problem(409, "feed.no_table", "canonical 来源没有编码表。", "A canonical feed has no code table.")
        partition, position = start
        if await log.head(tx, TOPIC, partition) is None:
            raise not_found("该分区", "partition", "log.partition_not_found")
        await sql.lock(tx)
        read, changed = 0, []
        while read < MAX_READ_AGAIN:
            entries = await log.read_log(tx, partition, position, PAGE)
            changed += [both for entry in entries if (both := _changed(feed, decode_scan(entry["value"])))]
            read, position = read + len(entries), position + len(entries)
            if len(entries) == 0:
                break
        end = len(entries) == 0
        counted = Counter((was.raw_action, was.action, now.action) for was, now in changed)
        if dry_run:
            return Remapped(read, 0, counted, None if end else position)
        fresh = await _once(tx, [now for _, now in changed])
        if fresh:
            await sql.insert_again(tx, by, reason, "remapped", (feed.feed, Mode.LIVE), len(fresh), len(fresh))
            await log.append(
                database, tx, TOPIC, [log.Entry(partition, parcel_key(e.brand, e.waybill_no), msgspec.json.encode(e)) for e in fresh]
            )
    return Remapped(read, len(fresh), counted, None if end else position)


def _changed(feed: Feed, event: ScanEvent) -> tuple[ScanEvent, ScanEvent] | None:
    format_ = NATIVE[feed.format]
    if event.feed != feed.feed or event.mapping_version == CANONICAL or event.mapping_version >= format_.MAPPING_VERSION:
        return None
    now = format_.reading(event.raw_action)
    return None if now == event.action else (event, msgspec.structs.replace(event, action=now, mapping_version=format_.MAPPING_VERSION))


async def _once(tx: Write, events: Sequence[ScanEvent]) -> list[ScanEvent]:
    if not events:
        return []
    each = {(e.event_id, bytes.fromhex(e.content)): e for e in events}
    new = await sql.insert_remapped(tx, [(*key, e.mapping_version) for key, e in each.items()])
    return [e for key, e in each.items() if key in new]
