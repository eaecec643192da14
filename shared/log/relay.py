"""Relay: from the writer's PostgreSQL to Kafka.

It publishes from its cursors and moves them by compare-and-set on their version (a rewind may return to the same number). It may publish
anything twice, never skip anything: consumers take each position once. It goes back
  - to the slowest consumer's report when an acknowledged offset does not rise: the topic was born again, or its tail is gone;
  - to the asker's position when a consumer asks: its head is gone, or what was acknowledged never arrived.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer

from shared import failpoints, kafka
from shared.db import LOST, Database
from shared.log import metrics
from shared.log.chain import HEADER, link
from shared.log.errors import Stalled
from shared.log.running import over, pause, supervise

log = structlog.get_logger(__name__)

POLL_S = 0.03  # NOTIFY would serialise the commits of the writer
STILL_S = 3  # a cursor that somebody else has moved must have been still for this long before we move it
ANSWER_S = 15  # for one round of sends: a broker that was born again may never answer one, and then only a new producer helps
STALLED_S = 30
MAX_ROWS = 2_000  # of one partition in one round
RECORD_BYTES = 64  # of a record beside its key and value, with its header
MAX_BYTES = kafka.MAX_BATCH_BYTES - 1_024  # of the records of one batch; the rest is the batch's own

# The cursors of a topic with their heads and what each consumer has reported.
STATE = """
select r.partition, r.next_position, r.kafka_offset, r.asks, r.version, h.next_position as head, h.closed, c.consumers, c.positions, c.asked
from log_relay r
join log_head h using (topic, partition)
cross join lateral (
    select array_agg(consumer) as consumers, array_agg(next_position) as positions, array_agg(asks) as asked
    from log_consumer where topic = r.topic and partition = r.partition
) c
where r.topic = $1
"""
# What follows the cursors of all partitions, of each as much as one batch takes, by the numbers and by the bytes; always one row at least.
NEW_ROWS = """
select c.partition, l.position, l.key, l.value, l.chain
from unnest($1::int[], $2::bigint[]) c(partition, next_position)
cross join lateral (
    select *, sum(size) over (order by position) as bytes from (
        select position, key, value, chain, octet_length(key) + octet_length(value) + $5::int as size from log
        where partition = c.partition and position >= c.next_position order by position limit $3
    ) page
) l
where l.bytes <= $4 or l.bytes = l.size
order by 1, 2
"""
# The compare-and-set, for all partitions of a round. Cursors are locked in order, so that two relays never wait for each other.
ADVANCE = """
with mine as (
    select r.partition, n.next_position, n.kafka_offset, n.asks
    from log_relay r
    join unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[]) n(partition, version, next_position, kafka_offset, asks)
      on r.partition = n.partition and r.version = n.version
    where r.topic = $1
    order by r.partition
    for update of r
)
update log_relay r set next_position = mine.next_position, kafka_offset = mine.kafka_offset, asks = mine.asks::jsonb, version = version + 1
from mine where r.topic = $1 and r.partition = mine.partition
returning r.partition
"""


@dataclass(frozen=True)
class Cursor:
    """What PostgreSQL says about one partition."""

    partition: int
    next_position: int
    kafka_offset: int  # of the last record that Kafka acknowledged; -1: we know nothing about Kafka
    answered: Mapping[str, int]  # the asks that we have answered, by consumer
    version: int
    head: int
    closed: bool
    readers: Mapping[str, tuple[int, int]]  # consumer: (next position, asks)

    @property
    def asks(self) -> dict[str, int]:
        return {name: asks for name, (_, asks) in self.readers.items()}

    @property
    def behind(self) -> bool:
        return not self.closed and self.next_position < self.head


@dataclass(frozen=True)
class Move:
    """Where the cursor at `version` goes."""

    partition: int
    version: int
    next_position: int
    kafka_offset: int
    asks: Mapping[str, int]
    sent: int = 0


def asked(cursor: Cursor) -> Move | None:
    """Back to the lowest position of those who ask. The offset stays: a topic that is lost at the same time must still be noticed."""
    askers = [at for name, (at, asks) in cursor.readers.items() if asks != cursor.answered.get(name, 0)]
    if not askers:
        return None
    return Move(cursor.partition, cursor.version, min(cursor.next_position, *askers), cursor.kafka_offset, cursor.asks)


def lost(cursor: Cursor) -> Move:
    """The topic is not the one that we knew: back to the slowest reader, or to the beginning if nobody has ever read."""
    slowest = min((at for at, _ in cursor.readers.values()), default=0)
    return Move(cursor.partition, cursor.version, min(cursor.next_position, slowest), -1, cursor.asks)


def sent(cursor: Cursor, count: int, first_offset: int) -> Move:
    """After `count` records from the cursor on were acknowledged at `first_offset` and the following."""
    if first_offset <= cursor.kafka_offset:
        return lost(cursor)
    return Move(cursor.partition, cursor.version, cursor.next_position + count, first_offset + count - 1, cursor.asks, sent=count)


class Relay:
    """The relay of all partitions of one topic. Any number may run: one works, the others stand by."""

    def __init__(self, database: Database, bootstrap: str, topic: str) -> None:
        self._database, self._bootstrap, self._topic = database, bootstrap, topic
        self._versions: dict[int, int] = {}  # as we left them
        self._not_before: dict[int, float] = {}  # on stand-by until then
        self._ahead: dict[int, list[asyncpg.Record]] = {}  # rows that were read while others were on their way
        self.healthy = True

    async def run(self, stop: asyncio.Event) -> None:
        """Until the stop. Raises Stalled when the process should start anew; mends everything else by itself."""
        await supervise(
            stop,
            {
                f"relay {self._topic}": lambda: self._session(stop),
                f"relay watch {self._topic}": lambda: self._watch(stop),
            },
        )

    async def _session(self, stop: asyncio.Event) -> None:
        self._versions, self._not_before, self._ahead = {}, {}, {}
        await kafka.ensure_topic(self._bootstrap, self._topic, len(await self._cursors()))
        async with kafka.producer(self._bootstrap) as producer:
            while not over(stop):
                if not await self.round(producer):
                    await pause(stop, POLL_S)

    async def round(self, producer: AIOKafkaProducer) -> bool:
        """One look at all partitions -> whether something moved."""
        cursors = self._ours(await self._cursors())
        rewinds = {c.partition: move for c in cursors if (move := asked(c))}
        behind = [c for c in cursors if c.behind and c.partition not in rewinds]
        moves = list(rewinds.values()) + (await self._publish(producer, behind) if behind else [])
        await self._advance(moves, {c.partition: c for c in cursors})
        return bool(moves)

    async def _cursors(self) -> list[Cursor]:
        return [_cursor(row) for row in await self._database.pool.fetch(STATE, self._topic)]

    def _ours(self, cursors: Sequence[Cursor]) -> list[Cursor]:
        """Without those that somebody else has moved lately."""
        now = time.monotonic()
        for c in cursors:
            if self._versions.setdefault(c.partition, c.version) != c.version:
                self._versions[c.partition] = c.version
                self._not_before[c.partition] = now + STILL_S
                metrics.OVERTAKEN.labels(self._topic, "relay").inc()
        return [c for c in cursors if self._not_before.get(c.partition, 0) <= now]

    async def _publish(self, producer: AIOKafkaProducer, behind: Sequence[Cursor]) -> list[Move]:
        rows = await self._rows(behind)
        failpoints.hit("relay.before_send")
        async with asyncio.timeout(ANSWER_S):
            _, moves = await asyncio.gather(self._read_ahead(behind, rows), self._send_all(producer, behind, rows))
        failpoints.hit("relay.after_send")
        if any(move.kafka_offset == -1 for move in moves):  # the embedded broker takes records for a topic that does not exist
            await kafka.ensure_topic(self._bootstrap, self._topic, max(self._versions) + 1)
        return moves

    async def _rows(self, behind: Sequence[Cursor]) -> dict[int, list[asyncpg.Record]]:
        """What follows each cursor: read ahead, unless the cursor has been moved meanwhile."""
        ahead, self._ahead = self._ahead, {}
        rows = {c.partition: found for c in behind if (found := ahead.get(c.partition)) and found[0]["position"] == c.next_position}
        missing = {c.partition: c.next_position for c in behind if c.partition not in rows}
        if missing:
            rows |= await self._read(missing)
        for c in behind:
            if not rows[c.partition] or rows[c.partition][0]["position"] != c.next_position:
                raise RuntimeError(f"the log {self._topic}/{c.partition} has lost position {c.next_position}: restore it from a backup")
        return rows

    async def _read_ahead(self, behind: Sequence[Cursor], rows: Mapping[int, list[asyncpg.Record]]) -> None:
        """Read what comes after `rows` while they are on their way: PostgreSQL and Kafka work at the same time."""
        after = {c.partition: rows[c.partition][-1]["position"] + 1 for c in behind}
        self._ahead = await self._read({c.partition: after[c.partition] for c in behind if after[c.partition] < c.head})

    async def _read(self, positions: Mapping[int, int]) -> dict[int, list[asyncpg.Record]]:
        rows: dict[int, list[asyncpg.Record]] = {partition: [] for partition in positions}
        if positions:
            for row in await self._database.pool.fetch(
                NEW_ROWS, list(positions), list(positions.values()), MAX_ROWS, MAX_BYTES, RECORD_BYTES
            ):
                rows[row["partition"]].append(row)
        return rows

    async def _send_all(self, producer: AIOKafkaProducer, behind: Sequence[Cursor], rows: Mapping[int, list[asyncpg.Record]]) -> list[Move]:
        return await asyncio.gather(*(self._send(producer, cursor, rows[cursor.partition]) for cursor in behind))

    async def _send(self, producer: AIOKafkaProducer, cursor: Cursor, rows: Sequence[asyncpg.Record]) -> Move:
        batch, count = producer.create_batch(), 0
        for _, position, key, value, chain in rows:
            if batch.append(timestamp=None, key=key, value=value, headers=[(HEADER, link(position, chain))]) is None:
                break  # full: the rest goes with the next round
            count += 1
        acknowledged = await (await producer.send_batch(batch, self._topic, partition=cursor.partition))
        return sent(cursor, count, acknowledged.offset)

    async def _advance(self, moves: Sequence[Move], before: Mapping[int, Cursor]) -> None:
        if not moves:
            return
        columns = [[m.partition, m.version, m.next_position, m.kafka_offset, json.dumps(dict(m.asks))] for m in moves]
        async with self._database.write() as tx, self._database.unblocked(tx):
            moved = {row["partition"] for row in await tx.fetch(ADVANCE, self._topic, *map(list, zip(*columns, strict=True)))}
        failpoints.hit("relay.after_advance")
        for move in moves:
            if move.partition not in moved:
                continue  # another relay is at work; the next look finds its version, and stands by
            self._versions[move.partition] = move.version + 1
            if move.sent:
                metrics.PUBLISHED.labels(self._topic).inc(move.sent)
            else:
                why = "lost" if move.kafka_offset == -1 else "asked"
                metrics.REWINDS.labels(self._topic, why).inc()
                log.warning("relay.rewinds", topic=self._topic, partition=move.partition, why=why,
                            from_position=before[move.partition].next_position, to_position=move.next_position)  # fmt: skip

    async def _watch(self, stop: asyncio.Event) -> None:
        """Show what is behind, and give up when it does not move although the broker answers."""
        seen: dict[int, tuple[int, float]] = {}  # partition: (version, since)
        while not over(stop):
            now = time.monotonic()
            try:
                cursors = await self._cursors()
            except LOST:  # without PostgreSQL nobody can move
                seen = {}
                await pause(stop, 1)
                continue
            for c in cursors:
                metrics.BACKLOG.labels(self._topic, c.partition).set(c.head - c.next_position)
                metrics.CLOSED.labels(self._topic, c.partition).set(c.closed)
                if not c.behind or seen.get(c.partition, (None,))[0] != c.version:
                    seen[c.partition] = c.version, now
            still_s = max((now - since for _, since in seen.values()), default=0)
            if still_s > 1 and not await kafka.answers(self._bootstrap):
                seen, still_s = {}, 0
            self.healthy = still_s <= STALLED_S
            if not self.healthy:
                raise Stalled(f"relay of {self._topic}: nothing moved for {still_s:.0f} s though the broker answers")
            await pause(stop, 1)


def _cursor(row: asyncpg.Record) -> Cursor:
    readers = zip(row["consumers"] or (), row["positions"] or (), row["asked"] or (), strict=True)
    return Cursor(
        partition=row["partition"],
        next_position=row["next_position"],
        kafka_offset=row["kafka_offset"],
        answered=json.loads(row["asks"]),
        version=row["version"],
        head=row["head"],
        closed=row["closed"],
        readers={name: (at, asks) for name, at, asks in readers},
    )
