"""All SQL of ingest: the accepting transaction first, then feeds, then what is read."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime

import asyncpg
from asyncpg.pgproto.pgproto import UUID

from services.ingest.domain.receipts import Kept
from services.ingest.domain.verdicts import Candidate
from shared.db import Read, Write

# The accepting transaction.
# New event ids stay, ids that are there (or just being written by another commit, which this waits for) are left alone. Contents go there
# and ids come back as one value: for the driver to look at each of thousands took four times as long.
INSERT_EVENTS = """
with new as (
    insert into event (event_id, content)
    select event_id, substring($2::bytea from (32 * n - 31)::int for 32) from unnest($1::uuid[]) with ordinality offered(event_id, n)
    on conflict do nothing returning event_id
)
select coalesce(string_agg(uuid_send(event_id), ''), '') from new
"""
# The first content of ids that were there: a statement of its own, so that it sees what the insert has waited for.
CONTENTS = "select coalesce(string_agg(uuid_send(event_id) || content, ''), '') from event where event_id = any($1::uuid[])"
ID_BYTES, CONTENT_BYTES = 16, 32  # a UUID, a SHA-256
INSERT_VERSIONS = """
insert into event_version (event_id, content) select * from unnest($1::uuid[], $2::bytea[])
on conflict do nothing returning event_id, content
"""
PUSH_COLUMNS = (
    "receipt_id", "feed", "mode", "format", "received_at", "received_date", "verified", "payload_sha256", "key_id", "body",
    "received", "accepted", "duplicate", "conflict", "quarantined", "rejected", "verdicts", "event_ids", "flaws",
    "content_type", "signed", "scanned_to",
)  # fmt: skip
QUARANTINE_COLUMNS = ("receipt_id", "feed", "index", "code", "pointer", "received_at")
INSERT_REFUSED = """
insert into refused_push (feed, mode, kind, code, received_at, received_date, payload_sha256) values ($1, $2, $3, $4, $5, $6, $7)
"""


def _written(events: Collection[bytes]) -> list[str]:
    """As UUIDs: the driver, which looks whether what it is given is a list of lists, sees sooner that a text is none."""
    return b"".join(events).hex(",", ID_BYTES).split(",")


async def insert_events(tx: Write, first: Mapping[bytes, bytes]) -> set[bytes]:
    """Offer events in order of id; -> the new ones. Waits for a concurrent commit that offers the same id."""
    if not first:
        return set()
    new: bytes = await tx.fetchval(INSERT_EVENTS, _written(first), b"".join(first.values()))
    return {new[at : at + ID_BYTES] for at in range(0, len(new), ID_BYTES)}


async def contents(tx: Read, events: Sequence[bytes]) -> dict[bytes, bytes]:
    if not events:
        return {}
    known: bytes = await tx.fetchval(CONTENTS, _written(events))
    each = ID_BYTES + CONTENT_BYTES
    return {known[at : at + ID_BYTES]: known[at + ID_BYTES : at + each] for at in range(0, len(known), each)}


async def insert_versions(tx: Write, versions: Sequence[Candidate]) -> set[Candidate]:
    """Offer further contents of known events, sorted; -> the new ones."""
    if not versions:
        return set()
    rows = await tx.fetch(INSERT_VERSIONS, [UUID(event) for event, _ in versions], [content for _, content in versions])
    return {(row[0].bytes, row[1]) for row in rows}


async def insert_pushes(tx: Write, rows: Iterable[Sequence[object]]) -> None:
    await tx.copy_records_to_table("push", records=rows, columns=PUSH_COLUMNS)


async def insert_quarantine(tx: Write, rows: Sequence[Sequence[object]]) -> None:
    if rows:
        await tx.copy_records_to_table("quarantine", records=rows, columns=QUARANTINE_COLUMNS)


async def insert_refused(tx: Write, row: Sequence[object]) -> None:
    await tx.execute(INSERT_REFUSED, *row)


# Feeds.
_FEED = "select feed, format, brands, site_namespace, mode, silence_after_s, signature, allow_from from feed"
INSERT_FEED = """
insert into feed (feed, format, brands, site_namespace, mode, silence_after_s, signature, allow_from)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict do nothing returning feed
"""
UNKNOWN_FEEDS = "select name from unnest($1::text[]) name where not exists (select from feed where feed = name)"  # of a filter
UPDATE_COLUMNS = "update feed set file_columns = $2::jsonb where feed = $1"
COLUMNS_OF_FILE = "select file_columns::text from feed where feed = $1"
UPDATE_FEED = "update feed set mode = $2, silence_after_s = $3, signature = $4, allow_from = $5 where feed = $1"
# Serialises two changes of one feed, and refuses one of a feed that is not there. `no key`: a push of that feed is not held up, whose
# foreign key locks the row, too.
LOCK_FEED = f"{_FEED} where feed = $1 for no key update"
# Also of those that are on their way out: an overlap of 0 leaves none of them.
RETIRE_SECRETS = """
update feed_secret set retires_at = now() + make_interval(secs => $2)
where feed = $1 and coalesce(retires_at, 'infinity') > now() + make_interval(secs => $2)
"""
ADD_SECRET = "insert into feed_secret (feed, key_id, ciphertext) values ($1, $2, $3) returning secret_id"  # noqa: S105 - SQL, no password
FEEDS = f"{_FEED} where feed > $1 order by feed limit $2"
FEED = f"{_FEED} where feed = $1"
# What a process must know of one feed to take its pushes: the feed and its living secrets.
FEED_WITH_SECRETS = """
select f.feed, f.format, f.brands, f.site_namespace, f.mode, f.silence_after_s, f.signature, f.allow_from, s.key_ids, s.ciphertexts
from feed f cross join lateral (
    select array_agg(key_id order by secret_id) as key_ids, array_agg(ciphertext order by secret_id) as ciphertexts
    from feed_secret where feed = f.feed and (retires_at is null or retires_at > now())
) s
where f.feed = $1
"""
NEWEST_SECRET = "select feed, key_id, ciphertext from feed_secret order by secret_id desc limit 1"  # noqa: S105 - SQL, no password
# Receipts' ids rise with time; bodies that were dropped tell nothing of the keyring.
NEWEST_PUSH = "select receipt_id, key_id, body from push where octet_length(body) > 0 order by receipt_id desc limit 1"


async def insert_feed(tx: Write, row: Sequence[object]) -> bool:
    """Whether the name was free."""
    return await tx.fetchval(INSERT_FEED, *row) is not None


async def update_columns(tx: Write, feed: str, columns: str) -> None:
    await tx.execute(UPDATE_COLUMNS, feed, columns)


async def columns(read: Read, feed: str) -> str | None:
    """JSON, as it was saved."""
    found: str | None = await read.fetchval(COLUMNS_OF_FILE, feed)
    return found


async def update_feed(tx: Write, row: Sequence[object]) -> None:
    await tx.execute(UPDATE_FEED, *row)


async def lock_feed(tx: Write, feed: str) -> asyncpg.Record | None:
    """The feed, held until the commit; None where there is no such feed."""
    return await tx.fetchrow(LOCK_FEED, feed)


async def retire_secrets(tx: Write, feed: str, overlap_s: int) -> None:
    await tx.execute(RETIRE_SECRETS, feed, overlap_s)


async def insert_secret(tx: Write, feed: str, key_id: str, ciphertext: bytes) -> int:
    secret_id: int = await tx.fetchval(ADD_SECRET, feed, key_id, ciphertext)
    return secret_id


async def feeds(read: Read, after: str, limit: int) -> list[asyncpg.Record]:
    return await read.fetch(FEEDS, after, limit)


async def feed(read: Read, name: str) -> asyncpg.Record | None:
    return await read.fetchrow(FEED, name)


async def unknown_feeds(read: Read, names: Sequence[str]) -> list[str]:
    return [row[0] for row in await read.fetch(UNKNOWN_FEEDS, names)]


async def feed_with_secrets(read: Read, name: str) -> asyncpg.Record | None:
    return await read.fetchrow(FEED_WITH_SECRETS, name)


async def newest_secret(read: Read) -> asyncpg.Record | None:
    return await read.fetchrow(NEWEST_SECRET)


async def newest_push(read: Read) -> asyncpg.Record | None:
    return await read.fetchrow(NEWEST_PUSH)


# What is read. `$feed`/`$brand`: whose rows the caller may see; null: all. A brand sees the feeds that speak for it alone.
RECEIPT = """
select p.receipt_id, p.feed, p.received_at, p.received, p.accepted, p.duplicate, p.conflict, p.quarantined, p.rejected, p.verdicts,
    p.event_ids, p.flaws
from push p join feed f using (feed)
where p.receipt_id = $1 and ($2::text is null or p.feed = $2) and ($3::text is null or f.brands = array[$3])
"""
# Which of these receipts were committed, after a commit whose answer was lost.
STORED = "select receipt_id, verdicts, event_ids, flaws from push where receipt_id = any($1::text[])"
# One row per Shanghai day of receipt, feed and mode, in that order; pushes that were refused count beside those that were stored.
# `balanced` counts the items of the page's pushes again: the columns that are added up say the same, or somebody has changed them.
COMPLETENESS = """
with stored as (
    select received_date, feed, mode, count(*) as pushes, sum(received) as received, sum(accepted) as accepted,
        sum(duplicate) as duplicate, sum(conflict) as conflict, sum(quarantined) as quarantined, sum(rejected) as rejected
    from push
    where ($1::date is null or received_date >= $1) and ($2::date is null or received_date < $2) and ($3::text[] is null or feed = any($3))
    group by 1, 2, 3
), refused as (
    select received_date, feed, mode,
        count(*) filter (where kind = 'unauthenticated') as unauthenticated, count(*) filter (where kind = 'unparseable') as unparseable,
        count(*) filter (where kind = 'paused') as paused
    from refused_push
    where ($1::date is null or received_date >= $1) and ($2::date is null or received_date < $2) and ($3::text[] is null or feed = any($3))
    group by 1, 2, 3
), once_more as (
    select on_date as received_date, feed, mode, coalesce(sum(published) filter (where kind = 'redriven'), 0) as redriven,
        coalesce(sum(published) filter (where kind = 'remapped'), 0) as remapped
    from again
    where ($1::date is null or on_date >= $1) and ($2::date is null or on_date < $2) and ($3::text[] is null or feed = any($3))
    group by 1, 2, 3
), page as (
    select received_date, feed, mode,
        coalesce(pushes, 0) + coalesce(unauthenticated, 0) + coalesce(unparseable, 0) + coalesce(paused, 0) as pushes,
        coalesce(unauthenticated, 0) as unauthenticated, coalesce(unparseable, 0) as unparseable, coalesce(paused, 0) as paused,
        coalesce(received, 0) as received, coalesce(accepted, 0) as accepted, coalesce(duplicate, 0) as duplicate,
        coalesce(conflict, 0) as conflict, coalesce(quarantined, 0) as quarantined, coalesce(rejected, 0) as rejected,
        coalesce(redriven, 0) as redriven, coalesce(remapped, 0) as remapped
    from stored full join refused using (received_date, feed, mode) full join once_more using (received_date, feed, mode)
    where ($4::text is null or feed = $4) and ($5::text is null or feed in (select f.feed from feed f where f.brands = array[$5]))
        and ($6::date is null or (received_date, feed, mode) > ($6, $7, $8))
    order by received_date, feed, mode limit $9
)
select page.*, (
    select m.events from manifest m where (m.feed, m.received_date) = (page.feed, page.received_date) and (
        page.mode = 'live'  -- a feed that changed its mode that day has two rows, and declared once
        or not exists (select from push p where (p.received_date, p.feed, p.mode) = (page.received_date, page.feed, 'live'))
    )
    order by m.manifest_id desc limit 1
) as declared, (
    select (length(told), regexp_count(told, 'a'), regexp_count(told, 'd'), regexp_count(told, 'c'), regexp_count(told, 'q'),
        regexp_count(told, 'r')) = (page.received, page.accepted, page.duplicate, page.conflict, page.quarantined, page.rejected)
    from (
        select coalesce(string_agg(p.verdicts, ''), '') as told from push p
        where (p.received_date, p.feed, p.mode) = (page.received_date, page.feed, page.mode)
    ) letters
) as balanced
from page order by received_date, feed, mode
"""
QUARANTINE = """
select q.quarantine_id, q.receipt_id, q.feed, q.index, q.code, q.pointer, q.received_at, coalesce(o.outcome, 'open') as status
from quarantine q join feed f using (feed) left join quarantine_outcome o using (quarantine_id)
where ($1::text[] is null or q.feed = any($1)) and ($2::text[] is null or q.code = any($2))
    and ($3::timestamptz is null or q.received_at >= $3) and ($4::timestamptz is null or q.received_at < $4)
    and ($5::text is null or q.feed = $5) and ($6::text is null or f.brands = array[$6]) and ($7::bigint is null or q.quarantine_id < $7)
    and ($8::text is null or coalesce(o.outcome, 'open') = $8)
order by q.quarantine_id desc limit $9
"""
NOW = "select now()"


async def receipt(read: Read, receipt_id: str, feed: str | None, brand: str | None) -> asyncpg.Record | None:
    return await read.fetchrow(RECEIPT, receipt_id, feed, brand)


async def stored(read: Read, receipts: Sequence[str]) -> dict[str, Kept]:
    """{receipt id: what is kept of its items}, of those that were committed."""
    return {row[0]: Kept(*row[1:]) for row in await read.fetch(STORED, receipts)}


async def completeness(
    read: Read,
    days: tuple[date | None, date | None],
    feeds: list[str] | None,
    tenant: tuple[str | None, str | None],
    after: tuple[date, str, str] | None,
    limit: int,
) -> list[asyncpg.Record]:
    return await read.fetch(COMPLETENESS, *days, feeds, *tenant, *(after or (None, None, None)), limit)


async def quarantined(
    read: Read,
    feeds: list[str] | None,
    codes: list[str] | None,
    received: tuple[datetime | None, datetime | None],
    tenant: tuple[str | None, str | None],
    before: int | None,
    status: str | None,
    limit: int,
) -> list[asyncpg.Record]:
    return await read.fetch(QUARANTINE, feeds, codes, *received, *tenant, before, status, limit)


async def now(read: Read) -> datetime:
    at: datetime = await read.fetchval(NOW)
    return at
