"""SQL of how feeds are doing, and of what their senders say that they sent."""

from collections.abc import AsyncIterator
from datetime import date

import asyncpg

from shared.db import Read, Write

HEALTH = """
select f.feed, f.format, f.brands, f.mode, f.silence_after_s, now() as now, last.received_at as last_push_at,
    newest.scanned_to as last_event_at,
    coalesce(hour.pushes, 0) + refused.pushes as pushes, refused.pushes as refused, coalesce(hour.events, 0) as events,
    coalesce(hour.rejected, 0) as rejected, hour.skew
from feed f
left join lateral (select received_at from push where feed = f.feed order by received_at desc limit 1) last on true
left join lateral (
    select scanned_to from push where feed = f.feed and scanned_to is not null order by received_at desc limit 1
) newest on true
left join lateral (
    select count(*) as pushes, sum(received) as events, sum(quarantined + rejected) as rejected, max(scanned_to - received_at) as skew
    from push where feed = f.feed and received_at > now() - interval '1 hour'
) hour on true
cross join lateral (
    select count(*) as pushes from refused_push
    where feed = f.feed and received_date >= (now() at time zone 'Asia/Shanghai' - interval '1 hour')::date
        and received_at > now() - interval '1 hour' and kind <> 'paused'
) refused
where $1::text is null or f.feed = $1
order by f.feed
"""
INSERT_MANIFEST = """
insert into manifest (feed, received_date, by, events, waybills) select feed, $2, $3, $4, $5 from feed where feed = $1 returning manifest_id
"""
MANIFEST = """
select events, waybills, at, by from manifest where feed = $1 and received_date = $2 order by manifest_id desc limit 1
"""
# Of one feed and day, in the modes that count and that do not alike: what its sender has sent, whatever became of it.
RECEIVED = "select coalesce(sum(received), 0)::bigint from push where feed = $1 and received_date = $2"
BODIES = """
select receipt_id, feed, mode, format, received_at, verified, key_id, body, content_type from push
where feed = $1 and received_date = $2 and ($3::text is null or receipt_id > $3) order by receipt_id limit $4
"""
PAGE = 200


async def health(read: Read, feed: str | None) -> list[asyncpg.Record]:
    return await read.fetch(HEALTH, feed)


async def insert_manifest(tx: Write, feed: str, day: date, by: str, events: int, waybills: bytes | None) -> bool:
    """Whether there is such a feed."""
    return await tx.fetchval(INSERT_MANIFEST, feed, day, by, events, waybills) is not None


async def manifest(read: Read, feed: str, day: date) -> asyncpg.Record | None:
    return await read.fetchrow(MANIFEST, feed, day)


async def received(read: Read, feed: str, day: date) -> int:
    found: int = await read.fetchval(RECEIVED, feed, day)
    return found


async def bodies(read: Read, feed: str, day: date) -> AsyncIterator[asyncpg.Record]:
    """Every push of that day, by receipt."""
    after = None
    while rows := await read.fetch(BODIES, feed, day, after, PAGE):
        for row in rows:
            yield row
        after = rows[-1]["receipt_id"]
