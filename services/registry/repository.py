"""All SQL of the registry. History is insert-only: a snapshot is what a record was believed to be from its revision on."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

import asyncpg
import msgspec

from services.registry.domain.history import Recorded
from shared.contracts.programme import Inspection, Programme
from shared.contracts.registry import AnyRecord, Division, Incident, Merchant, Operator, Station, record_id
from shared.db import Read, Write

_decode: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)

R = TypeVar("R", Division, Operator, Station, Merchant, Incident, Programme, Inspection)
H = TypeVar("H", Station, Merchant)  # whose past is shown
KINDS: dict[type[AnyRecord], str] = {
    Division: "division", Operator: "operator", Station: "station", Merchant: "merchant", Incident: "incident",
    Programme: "programme", Inspection: "inspection",
}  # fmt: skip


class Revision(NamedTuple):
    revision: int
    recorded_at: datetime


class Found(NamedTuple):
    """A snapshot and the write that recorded it."""

    record: AnyRecord
    recorded_at: datetime


# Which migration the schema is at.
SCHEMA_VERSION = "select version_num from alembic_version"
# The newest revision.
NEWEST = "select revision, recorded_at from revision order by revision desc limit 1"
# known_at resolves down: the last revision recorded at or before it.
AT_TIME = "select revision, recorded_at from revision where recorded_at <= $1 order by recorded_at desc limit 1"
AT_NUMBER = "select revision, recorded_at from revision where revision = $1"
# What one record was believed to be at a revision.
ONE = """
select s.document::text as document, r.recorded_at from snapshot s join revision r using (revision)
where s.kind = $1 and s.id = $2 and s.revision <= $3
order by s.revision desc limit 1
"""
# The same for several records: one step into the index each, however often they were changed.
_THEN = """
select given.id, s.document::text as document, (select recorded_at from revision r where r.revision = s.revision) as recorded_at
from given left join lateral (
    select document, revision from snapshot where kind = $1 and id = given.id and revision <= $2 order by revision desc limit 1
) s on true
order by length(given.id), given.id
"""
SOME = "with given as (select distinct unnest($3::text[]) as id)" + _THEN
# … for the first $5 (null: all) that have ever been under one of the terms, in order of registration, behind the id $4 (null: all).
_UNDER = """
with given as (
    select distinct found.id, length(found.id) from unnest($3::text[]) t(term) cross join lateral (
        select id from trace
        where term = t.term and (length(id), id) > (coalesce(length($4::text), 0), coalesce($4, ''))
        order by length(id), id limit $5
    ) found order by length(found.id), found.id limit $5
)
"""
UNDER = _UNDER + _THEN
# Everything that one record was ever believed to be, up to a revision, and who recorded it why.
PAST = """
select s.document::text as document, r.recorded_at, r.actor, r.reason from snapshot s join revision r using (revision)
where s.kind = $1 and s.id = $2 and s.revision <= $3
order by s.revision
"""
# Who recorded what: revisions below $1, newest first; $2 actor, $3 record, $4 and $5 when.
REVISIONS = """
select r.revision, r.recorded_at, r.actor, r.reason, s.kinds, s.ids, s.versions
from revision r cross join lateral (
    select coalesce(array_agg(kind order by kind, id), '{}') as kinds, coalesce(array_agg(id order by kind, id), '{}') as ids,
        coalesce(array_agg((document->>'version')::int order by kind, id), '{}') as versions
    from (select * from snapshot where revision = r.revision order by kind, id limit 1000) changed
) s
where r.revision < $1 and ($2::text is null or r.actor = $2) and ($4::timestamptz is null or r.recorded_at >= $4)
    and ($5::timestamptz is null or r.recorded_at < $5)
    and ($3::text is null or exists (select from snapshot t where t.id = $3 and t.revision = r.revision))
order by r.revision desc limit $6
"""
TRACED = "select distinct id from trace where term = any($1::text[]) order by id"
# recorded_at rises strictly with the revision even when the clock steps back. The head is locked, so nobody else inserts here.
NEXT_MOMENT = "select greatest(clock_timestamp(), max(recorded_at) + interval '1 microsecond') from revision"
# One write: the revision, what it changed ($5 kind, $6 id, $7 document) and where to find it again ($8 term, $9 id).
RECORD = """
with written as (insert into revision (revision, recorded_at, actor, reason) values ($1, $2, $3, $4)),
traced as (
    insert into trace (term, id) select term, id from unnest($8::text[], $9::text[]) t(term, id)
    on conflict do nothing
)
insert into snapshot (kind, id, revision, document)
select kind, id, $1, document::jsonb from unnest($5::text[], $6::text[], $7::text[]) s(kind, id, document)
"""
UNCLAIM = "delete from claim where station_id = any($1::text[])"
CLAIM = """
insert into claim (site, valid, station_id)
select site, tstzrange(valid_from, valid_to), station_id
from unnest($1::bytea[], $2::timestamptz[], $3::timestamptz[], $4::text[]) c(site, valid_from, valid_to, station_id)
"""


async def newest(read: Read) -> Revision | None:
    row = await read.fetchrow(NEWEST)
    return Revision(*row) if row else None


async def revision_at(read: Read, known_at: datetime) -> Revision | None:
    """The newest revision that was recorded by then; None before the first."""
    row = await read.fetchrow(AT_TIME, known_at)
    return Revision(*row) if row else None


async def revision_number(read: Read, revision: int) -> Revision | None:
    row = await read.fetchrow(AT_NUMBER, revision)
    return Revision(*row) if row else None


async def next_moment(tx: Write) -> datetime:
    """The recorded_at of the write that holds the head."""
    moment: datetime = await tx.fetchval(NEXT_MOMENT)
    return moment


async def one(read: Read, cls: type[R], id_: str, revision: int) -> R | None:
    found = await found_one(read, cls, id_, revision)
    return _typed(cls, found.record) if found else None


async def found_one(read: Read, cls: type[R], id_: str, revision: int) -> Found | None:
    row = await read.fetchrow(ONE, KINDS[cls], id_, revision)
    return Found(_decode.decode(row["document"]), row["recorded_at"]) if row else None


async def some(read: Read, cls: type[R], ids: Iterable[str], revision: int) -> list[R]:
    rows = await read.fetch(SOME, KINDS[cls], revision, list(ids))
    return [_typed(cls, _decode.decode(row["document"])) for row in rows if row["document"]]


async def under(
    read: Read, cls: type[R], terms: Iterable[str], revision: int, after: str | None = None, limit: int | None = None
) -> list[tuple[str, R | None, datetime]]:
    """-> (id, record, recorded_at) in order of registration; record None: not recorded yet at that revision. Only a hint: see `trace`."""
    rows = await read.fetch(UNDER, KINDS[cls], revision, list(terms), after, limit)
    return [(r["id"], _typed(cls, _decode.decode(r["document"])) if r["document"] else None, r["recorded_at"]) for r in rows]


async def every(read: Read, cls: type[R], revision: int) -> list[tuple[R, datetime]]:
    """-> (record, recorded_at) of a kind, in order of registration."""
    found = await under(read, cls, [kind_term(KINDS[cls])], revision)
    return [(record, recorded_at) for _, record, recorded_at in found if record]


async def past(read: Read, cls: type[H], id_: str, revision: int) -> list[Recorded[H]]:
    """Oldest first."""
    rows = await read.fetch(PAST, KINDS[cls], id_, revision)
    return [Recorded(r["recorded_at"], _typed(cls, _decode.decode(r["document"])), r["actor"], r["reason"]) for r in rows]


async def revisions(
    read: Read, below: int, actor: str | None, id_: str | None, first: datetime | None, end: datetime | None, limit: int
) -> list[asyncpg.Record]:
    return await read.fetch(REVISIONS, below, actor, id_, first, end, limit)


async def traced(read: Read, terms: Iterable[str]) -> list[str]:
    """The records that have ever had one of the terms."""
    return [row["id"] for row in await read.fetch(TRACED, list(terms))]


async def insert(
    tx: Write, revision: Revision, actor: str, reason: str | None, records: Sequence[AnyRecord], traces: Iterable[tuple[str, str]]
) -> None:
    """`traces`: (term, id); one that is there already is left alone."""
    keys, pairs = [record_id(r) for r in records], sorted(set(traces))
    await tx.execute(
        RECORD,
        revision.revision,
        revision.recorded_at,
        actor,
        reason,
        [kind for kind, _ in keys],
        [id_ for _, id_ in keys],
        [msgspec.json.encode(r).decode() for r in records],
        [term for term, _ in pairs],
        [id_ for _, id_ in pairs],
    )


async def claim(tx: Write, station_ids: Sequence[str], claims: Sequence[tuple[bytes, datetime, datetime | None, str]]) -> None:
    """What the stations claim from now on: (site, from, to, station)."""
    await tx.execute(UNCLAIM, station_ids)
    if claims:
        await tx.execute(CLAIM, *map(list, zip(*claims, strict=True)))


def kind_term(kind: str) -> str:
    """The term that every record of a kind is under."""
    return f"kind|{kind}"


def _typed(cls: type[R], record: AnyRecord) -> R:
    assert isinstance(record, cls)
    return record
