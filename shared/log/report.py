"""Report: each second a consumer says where it is; the writer says where its heads are, and finds out whether their histories are one.

`PUT /v1/log/consumers/{name}`: Positions → Report, both JSON. A stale report is always safe.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated

import asyncpg
import httpx
import msgspec

from shared.db import Database, Read, Write
from shared.log.errors import PartitionMismatch, ReportFailed
from shared.log.metrics import CLOSED
from shared.log.tables import MAX_PARTITIONS

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
REPORT_S = 2  # for the whole call
MAX_POSITION = 2**62

Whole = Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITION)]
Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a consumer is. `chain` (hex) is that of the position before `next_position`; null while it does not know the log's origin."""

    partition: Annotated[int, msgspec.Meta(ge=0, lt=MAX_PARTITIONS)]
    next_position: Whole
    chain: Hex | None
    asks: Whole


class Positions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    positions: Annotated[list[Position], msgspec.Meta(min_length=1, max_length=MAX_PARTITIONS)]


class Report(msgspec.Struct, frozen=True):
    """The writer's answer; the lists are indexed by partition.

    `heads` were all true at some moment not before `now`; `published` is what the relay has given to Kafka; `origins` (hex) stand before
    position 0; `parted` are the partitions whose reported history is not the log's: closed from here on.
    """

    heads: list[int]
    published: list[int]
    origins: list[Hex]
    parted: list[int]
    now: datetime


Reporter = Callable[[Sequence[Position]], Awaitable[Report]]


def positions_from_json(body: bytes) -> list[Position]:
    """Raises msgspec.ValidationError or msgspec.DecodeError, whose text says what is wrong."""
    positions = msgspec.json.decode(body, type=Positions).positions
    if len({p.partition for p in positions}) != len(positions):
        raise msgspec.ValidationError("a partition is reported twice")
    return positions


def report_to_json(report: Report) -> bytes:
    return msgspec.json.encode(report)


def http_reporter(client: httpx.AsyncClient, url: str, token: Callable[[], str]) -> Reporter:
    """Reports to `url` (…/v1/log/consumers/{name}) with a bearer token of the role `service`, made anew for each call."""

    async def report(positions: Sequence[Position]) -> Report:
        try:
            answer = await client.put(
                url,
                content=msgspec.json.encode(Positions(list(positions))),
                headers={"content-type": "application/json", "authorization": f"Bearer {token()}"},
                timeout=REPORT_S,
            )
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=Report)
        except (httpx.HTTPError, msgspec.MsgspecError) as fault:
            raise ReportFailed(f"{url}: {fault!r}") from fault

    return report


# The reported positions that the log does not confirm: it has no such entry, or another chain. A reader without an origin is at 0.
PARTED = """
select r.partition, r.next_position
from unnest($2::int[], $3::bigint[], $4::bytea[]) r(partition, next_position, chain)
join log_head h on h.topic = $1 and h.partition = r.partition
where case
    when r.next_position > 0 then not exists (
        select from log l where l.partition = r.partition and l.position = r.next_position - 1 and l.chain = r.chain)
    else r.chain <> h.origin
end
order by 1
"""
CLOSE = """
update log_head
set closed = true, reason = format('%s has %s entries, the log %s; their histories differ', $3::text, $4::bigint, next_position)
where topic = $1 and partition = $2 and not closed
"""
HEARD = """
insert into log_consumer as c (topic, partition, consumer, next_position, asks)
select $1, r.partition, $2, r.next_position, r.asks
from unnest($3::int[], $4::bigint[], $5::bigint[]) r(partition, next_position, asks) order by r.partition
on conflict (topic, partition, consumer) do update set next_position = excluded.next_position, asks = excluded.asks, seen_at = now()
"""
# now() is the start of the transaction, so older than this snapshot: whatever was committed before it is below these heads.
HEADS = """
select now() as now, h.partition, h.next_position as head, r.next_position as published, h.origin
from log_head h join log_relay r using (topic, partition) where topic = $1 order by 2
"""


async def heard(database: Database, consumer: str, topic: str, positions: Sequence[Position]) -> Report:
    """The writer's side. Closes the partitions whose history is not the reader's; remembers the others.

    Raises ValueError for a name that cannot be one, PartitionMismatch for partitions that the log does not have.
    """
    if not NAME.fullmatch(consumer):
        raise ValueError(f"a consumer's name matches {NAME.pattern}")
    ordered = sorted(positions, key=lambda p: p.partition)
    partitions, nexts = [p.partition for p in ordered], [p.next_position for p in ordered]
    chains = [bytes.fromhex(p.chain) if p.chain else None for p in ordered]
    async with database.write() as tx:
        async with database.unblocked(tx):
            parted = await tx.fetch(PARTED, topic, partitions, nexts, chains)
            for partition, next_position in parted:
                await tx.execute(CLOSE, topic, partition, consumer, next_position)
                CLOSED.labels(topic, partition).set(1)
            wrong = {row["partition"] for row in parted}
            good = [p for p in ordered if p.partition not in wrong]
            await tx.execute(HEARD, topic, consumer, [p.partition for p in good], [p.next_position for p in good], [p.asks for p in good])
        rows = await tx.fetch(HEADS, topic)
        if not rows or partitions[-1] >= len(rows):  # nothing of such a report is kept
            raise PartitionMismatch(f"{topic} has {len(rows)} partitions, {consumer} reports {partitions[-1]}: give both the same number")
    return Report(
        heads=[r["head"] for r in rows],
        published=[r["published"] for r in rows],
        origins=[r["origin"].hex() for r in rows],
        parted=sorted(wrong),
        now=rows[0]["now"],
    )


REOPEN = "update log_head set closed = false, reason = null where topic = $1 and partition = $2 and closed returning partition"
CONSUMERS = """
select c.consumer, c.partition, c.next_position, h.next_position - c.next_position as lag, c.asks, c.seen_at
from log_consumer c join log_head h using (topic, partition) where topic = $1 order by 1, 2
"""
REMOVE_CONSUMER = "delete from log_consumer where topic = $1 and consumer = $2 returning partition"


async def reopen(tx: Write, topic: str, partition: int) -> bool:
    """Whether it was closed. For an operator, once the log holds again what its readers have; else the next report closes it again."""
    return bool(await tx.fetch(REOPEN, topic, partition))


async def consumers(read: Read, topic: str) -> list[asyncpg.Record]:
    """-> rows (consumer, partition, next_position, lag, asks, seen_at)."""
    return await read.fetch(CONSUMERS, topic)


async def remove_consumer(tx: Write, topic: str, name: str) -> bool:
    """Whether there was one. The only way in which a consumer ends; one that still reports is there again a second later."""
    return bool(await tx.fetch(REMOVE_CONSUMER, topic, name))
