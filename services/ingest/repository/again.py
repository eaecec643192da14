"""SQL of what is sent to the log once more: quarantined items that can be read now, events that a corrected table reads differently."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from shared.db import Read, Write

LOCK = "select pg_advisory_xact_lock(hashtext('tongcun.ingest.again'))"  # two at once would count one item twice
# Of items that nobody has dealt with, oldest first. `$1`: ids, `$2`: feeds, `$3`: codes; null: any.
OPEN = """
select q.quarantine_id, q.receipt_id, q.index, q.code, q.pointer, p.feed, p.mode, p.format, p.received_at, p.verified, p.payload_sha256,
    p.key_id, p.content_type
from quarantine q join push p using (receipt_id)
where not exists (select from quarantine_outcome o where o.quarantine_id = q.quarantine_id)
    and ($1::bigint[] is null or q.quarantine_id = any($1)) and ($2::text is null or q.feed = $2) and ($3::text is null or q.code = $3)
order by q.quarantine_id limit $4
"""
BODY = "select body from push where receipt_id = $1"  # of a push once, however many of its items are open
ONE = """
select q.quarantine_id, q.receipt_id, q.index, q.code, q.pointer, q.received_at, p.feed, p.mode, p.format, p.verified, p.payload_sha256,
    p.key_id, p.body, p.content_type, o.outcome, o.at, o.by, o.reason
from quarantine q join push p using (receipt_id) join feed f on f.feed = q.feed left join quarantine_outcome o using (quarantine_id)
where q.quarantine_id = $1 and ($2::text is null or q.feed = $2) and ($3::text is null or f.brands = array[$3])
"""
KNOWN = "select quarantine_id from quarantine where quarantine_id = any($1::bigint[])"
# The retired ones, too: they opened old bodies.
ALL_SECRETS = "select key_id, ciphertext from feed_secret where feed = $1 order by secret_id"
INSERT_AGAIN = """
insert into again (by, reason, kind, feed, mode, on_date, items, published)
values ($1, $2, $3, $4, $5, (now() at time zone 'Asia/Shanghai')::date, $6, $7)
"""
INSERT_READ = "insert into body_read (receipt_id, by, why) values ($1, $2, $3)"
OUTCOME_COLUMNS = ("quarantine_id", "outcome", "by", "reason", "verdict", "event_id")
INSERT_REMAPPED = """
insert into remapped (event_id, content, mapping_version) select * from unnest($1::uuid[], $2::bytea[], $3::int[])
on conflict do nothing returning event_id, content
"""


async def lock(tx: Write) -> None:
    await tx.execute(LOCK)


async def open_items(read: Read, ids: Sequence[int] | None, feed: str | None, code: str | None, limit: int) -> list[asyncpg.Record]:
    return await read.fetch(OPEN, ids, feed, code, limit)


async def body(read: Read, receipt_id: str) -> bytes:
    found: bytes = await read.fetchval(BODY, receipt_id)
    return found


async def one(read: Read, quarantine_id: int, feed: str | None, brand: str | None) -> asyncpg.Record | None:
    return await read.fetchrow(ONE, quarantine_id, feed, brand)


async def known(read: Read, ids: Sequence[int]) -> set[int]:
    return {row[0] for row in await read.fetch(KNOWN, ids)}


async def all_secrets(read: Read, feed: str) -> list[asyncpg.Record]:
    return await read.fetch(ALL_SECRETS, feed)


async def insert_outcomes(tx: Write, rows: Sequence[tuple[Any, ...]]) -> None:
    await tx.copy_records_to_table("quarantine_outcome", records=rows, columns=OUTCOME_COLUMNS)


async def insert_again(tx: Write, by: str, reason: str, kind: str, feed: tuple[str, str], items: int, published: int) -> None:
    await tx.execute(INSERT_AGAIN, by, reason, kind, *feed, items, published)


async def insert_body_read(tx: Write, receipt_id: str, by: str, why: str) -> None:
    await tx.execute(INSERT_READ, receipt_id, by, why)


async def insert_remapped(tx: Write, rows: Sequence[tuple[str, bytes, int]]) -> set[tuple[str, bytes]]:
    """-> those that were not sent again with this version before."""
    ids, contents, versions = [UUID(e) for e, _, _ in rows], [c for _, c, _ in rows], [v for _, _, v in rows]
    return {(str(row[0]), row[1]) for row in await tx.fetch(INSERT_REMAPPED, ids, contents, versions)}
