"""Consume: from Kafka to the reader's PostgreSQL, each position exactly once and in order.

One transaction per batch: `before` (the gate), the compare-and-set on `consumed.version`, then `apply`. A zombie, a second worker or a
hand-over that came too late loses the comparison and writes nothing. Kafka's offset is only a hint where to seek.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared import failpoints, kafka
from shared.db import Database, Write
from shared.log import metrics
from shared.log.chain import select
from shared.log.errors import Diverged, NotStored, Overtaken
from shared.log.follow import Follower
from shared.log.report import Reporter
from shared.log.running import again, guarded, pause, supervise
from shared.log.turns import OFFSETS, Turn, Turns, listen, mirror, tell

log = structlog.get_logger(__name__)

MAX_RECORDS = 5_000  # of one partition in one transaction
AT_ONCE = 2  # transactions of one consumer
POLL_S = 0.2
FETCH_S = 15  # a fetch has POLL_S to bring something; one that does not end at all is a dead client
PATIENCE_S = 3.0  # how long a position may be missing before we ask for it; doubles with each ask
MAX_PATIENCE_S = 60.0

WHERE = "select next_position, chain, kafka_offset, version from consumed where topic = $1 and partition = $2"
# The compare-and-set: no row means that somebody else is further.
TAKE = """
update consumed set next_position = $4, chain = $5, kafka_offset = $6, version = version + 1
where topic = $1 and partition = $2 and version = $3 returning version
"""
# Nothing was taken, so nothing is numbered: only the hint where to read on.
MOVE_HINT = "update consumed set kafka_offset = $4 where topic = $1 and partition = $2 and version = $3 returning version"
ASK = "update consumed set asks = asks + 1 where topic = $1 and partition = $2"


class Record(NamedTuple):
    position: int
    value: bytes
    decoded: Any  # what `decode` made of the value; None without it


class Batch(NamedTuple):
    """What one transaction takes. `records` is empty when it runs because of `has_work`."""

    partition: int
    batch_no: int  # the new consumed.version
    next_position: int  # after this batch
    records: Sequence[Record]


Before = Callable[[Write, int], Awaitable[None]]
Apply = Callable[[Write, Batch], Awaitable[None]]
HasWork = Callable[[int], Awaitable[bool]]
Decode = Callable[[bytes], Any]


@dataclass
class Place:
    """How far one partition is: in PostgreSQL (`version`), or in what was fetched ahead of it."""

    next_position: int
    chain: bytes
    offset: int
    version: int


@dataclass
class Patience:
    """Decides when a position has been missing for too long. Pure: the clock is a parameter."""

    since: float
    limit_s: float = PATIENCE_S

    def calm(self, now: float) -> None:
        """Nothing is missing."""
        self.since = now

    def satisfied(self, now: float) -> None:
        """Something was taken."""
        self.since, self.limit_s = now, PATIENCE_S

    def exhausted(self, now: float, broker_answered: float) -> bool:
        """Whether to act. Only the time up to the sign of life counts: while the broker is silent nobody can have anything."""
        if broker_answered - self.since <= self.limit_s:
            return False
        self.since = now
        return True

    def asked(self) -> None:
        self.limit_s = min(2 * self.limit_s, MAX_PATIENCE_S)


def sign_of_life(now: float, delivered: float, polled: float, answered: float) -> float:
    """Until when the broker had a chance to give us what is missing from one partition. Pure.

    While it delivers other partitions, only its answers for this one count (`polled`): a busy broker brings it later, and to ask would only
    make it busier. When it delivers nothing, any answer counts (`answered`): a topic that is gone is never polled with success.
    """
    return polled if now - delivered < PATIENCE_S else max(polled, answered)


@dataclass
class Fetched:
    """One poll of one partition, with the place after it."""

    records: list[Record]
    place: Place
    moved: bool = field(default=False)  # whether Kafka gave anything, even what we skip


class Consumer:
    """A reader of one topic: of the partitions that it is given, or that Kafka's consumer group gives it."""

    def __init__(
        self,
        database: Database,
        bootstrap: str,
        topic: str,
        apply: Apply,
        report: Reporter,
        *,
        group: str,
        partitions: Sequence[int] | None,
        before: Before | None = None,
        has_work: HasWork | None = None,
        decode: Decode | None = None,
    ) -> None:
        """Without `partitions` all consumers of Kafka's `group` share them; with `partitions` it only mirrors how far we are.

        `before` runs first in each transaction, before anything is compared; `decode` must answer for every value, for one that it cannot
        read with something that `apply` puts into quarantine. The pool needs AT_ONCE + 3 connections.
        """
        self._database, self._bootstrap, self._topic = database, bootstrap, topic
        self._apply, self._before, self._has_work, self._decode = apply, before, has_work, decode
        self._group = group
        self._partitions = None if partitions is None else tuple(partitions)
        self._follower = Follower(database, bootstrap, topic, report, self._partitions)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._delivered_at = 0.0  # when Kafka last brought anything, of any partition

    @property
    def healthy(self) -> bool:
        """False shortly before `run` raises Stalled."""
        return self._follower.healthy

    @property
    def partitions(self) -> frozenset[int] | None:
        """Those that are ours now; None while the group has not said which."""
        return self._follower.ours

    @property
    def diverged(self) -> dict[int, str]:
        """The partitions that stand until an operator has repaired them, and why."""
        return self._follower.diverged

    async def run(self, stop: asyncio.Event) -> None:
        """Until the stop. Raises Stalled when the process should start anew; mends everything else by itself."""
        await supervise(
            stop,
            {
                f"consume {self._topic}": lambda: self._session(stop),
                f"report {self._topic}": lambda: self._follower.session(stop),
            },
        )

    async def _session(self, stop: asyncio.Event) -> None:
        offsets = {row["partition"]: row["kafka_offset"] for row in await self._database.pool.fetch(OFFSETS, self._topic)}
        await kafka.ensure_topic(self._bootstrap, self._topic, len(offsets))
        turns = Turns(self._topic, offsets)
        async with kafka.consumer(self._bootstrap, self._group) as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(turns.end_with(stop))
            tasks.create_task(self._follower.until_renewed(stop))
            tasks.create_task(mirror(self._database, client, self._topic, turns, stop))
            listening = tasks.create_task(guarded(listen, client, self._topic, turns))
            if self._partitions is None:
                turns.shared(client)
            else:
                turns.fixed(client, self._partitions)
            while turn := await turns.next():
                await self._turn(client, turn)
                if stop.is_set():  # the last word; after a rebalance it would not be ours to say
                    await tell(self._database, client, self._topic, turn)
            listening.cancel()

    async def _turn(self, client: AIOKafkaConsumer, turn: Turn) -> None:
        """Whoever has the partitions next may begin before we have ended: the compare-and-set is between us."""
        with self._follower.following(turn.partitions):
            async with asyncio.TaskGroup() as tasks:
                for tp in turn.tps:
                    tasks.create_task(guarded(self._partition, client, tp, turn.over))
                await turn.over.wait()

    async def _partition(self, client: AIOKafkaConsumer, tp: TopicPartition, over: asyncio.Event) -> None:
        while not over.is_set():
            place = await self._where(tp)
            if place is None:  # the first report has not brought the log's origin yet
                await pause(over, POLL_S)
                continue
            if over.is_set():  # then the client may not have the partition any more
                return
            client.seek(tp, place.offset)
            try:
                await self._take(client, tp, place, over)
            except Overtaken:
                metrics.OVERTAKEN.labels(self._topic, "consumer").inc()
                log.info("consumer.overtaken", topic=tp.topic, partition=tp.partition)
            except NotStored as fault:
                await again(f"take {tp.topic}", fault.__cause__ or fault, over)
            except Diverged as parted:
                self._follower.set_diverged(tp.partition, str(parted))
                return

    async def _where(self, tp: TopicPartition) -> Place | None:
        row = await self._database.pool.fetchrow(WHERE, *tp)
        return Place(row["next_position"], row["chain"], row["kafka_offset"], row["version"]) if row and row["chain"] else None

    async def _take(self, client: AIOKafkaConsumer, tp: TopicPartition, place: Place, over: asyncio.Event) -> None:
        """Store batch after batch, fetching and decoding the next one meanwhile. Ends with the turn or with an exception."""
        patience = Patience(time.monotonic())
        fetching = asyncio.create_task(guarded(self._fetch, client, tp, place, patience))
        ending = asyncio.create_task(over.wait())
        busy = False
        try:
            while True:
                await asyncio.wait({fetching, ending}, timeout=0 if busy else None, return_when=asyncio.FIRST_COMPLETED)
                if over.is_set():  # whatever was fetched since may be of another turn
                    return
                busy = False
                fetched = None
                if fetching.done():
                    fetched = fetching.result()
                    fetching = asyncio.create_task(guarded(self._fetch, client, tp, fetched.place, patience))
                if fetched and fetched.records:
                    place = await self._store(tp, place, fetched.place, fetched.records)
                elif self._has_work and await self._has_work(tp.partition):
                    place = await self._store(tp, place, fetched.place if fetched else place, [])
                    busy = True
                elif fetched and fetched.moved:
                    place = await self._move_hint(tp, place, fetched.place)
        finally:
            fetching.cancel()
            ending.cancel()
            await asyncio.gather(fetching, ending, return_exceptions=True)

    async def _fetch(self, client: AIOKafkaConsumer, tp: TopicPartition, place: Place, patience: Patience) -> Fetched:
        """What comes after `place`, decoded."""
        async with asyncio.timeout(FETCH_S):
            got = (await client.getmany(tp, timeout_ms=int(POLL_S * 1000), max_records=MAX_RECORDS)).get(tp, [])
        failpoints.hit("worker.after_fetch")
        now = time.monotonic()
        if got:
            self._delivered_at = now
        chosen, position, chain, last = select(got, place.next_position, place.chain)
        offset = got[-1].offset + 1 if got else place.offset
        if chosen:
            patience.satisfied(now)
        elif last >= position or not got:
            offset = await self._missing(client, tp, position, offset, patience, now)
        else:
            patience.calm(now)  # repeats: what we want may follow
        metrics.SKIPPED.labels(self._topic).inc(len(got) - len(chosen))
        decode = self._decode or _undecoded
        values = [record.value or b"" for record in chosen]
        records = [Record(at, value, decode(value)) for at, value in enumerate(values, place.next_position)]
        return Fetched(records, Place(position, chain, offset, place.version), moved=offset != place.offset)

    async def _missing(
        self, client: AIOKafkaConsumer, tp: TopicPartition, position: int, offset: int, patience: Patience, now: float
    ) -> int:
        """Nothing that we can take has come -> where to read on. After PATIENCE_S, if the writer says that it was published: ask for it."""
        if self._follower.published.get(tp.partition, 0) <= position:
            patience.calm(now)
        elif patience.exhausted(now, sign_of_life(now, self._delivered_at, _polled_at(client, tp), self._follower.answered_at)):
            if (client.highwater(tp) or 0) < offset:  # a new topic. Kafka would reset us; the embedded broker says nothing at all
                log.warning("consumer.past_the_end", topic=tp.topic, partition=tp.partition, kafka_offset=offset)
                client.seek(tp, 0)
                return 0
            patience.asked()
            metrics.ASKS.labels(self._topic).inc()
            log.warning("consumer.asks", topic=tp.topic, partition=tp.partition, position=position)
            async with self._database.write() as tx, self._database.unblocked(tx):
                await tx.execute(ASK, *tp)
        return offset

    async def _store(self, tp: TopicPartition, place: Place, after: Place, records: Sequence[Record]) -> Place:
        """One transaction -> the place with its new version. Raises Overtaken, Diverged, NotStored."""
        try:
            async with self._slots, self._database.write() as tx:
                version = await self._write(tx, tp, place, after, records)
        except (Overtaken, Diverged):
            raise
        except Exception as fault:
            raise NotStored from fault
        failpoints.hit("worker.after_commit")
        metrics.TAKEN.labels(self._topic).inc(len(records))
        return Place(after.next_position, after.chain, after.offset, version)

    async def _write(self, tx: Write, tp: TopicPartition, place: Place, after: Place, records: Sequence[Record]) -> int:
        """The new place, and the effects -> the new version."""
        async with self._database.unblocked(tx):
            if self._before:
                await self._before(tx, tp.partition)
            version: int | None = await tx.fetchval(TAKE, *tp, place.version, after.next_position, after.chain, after.offset)
        failpoints.hit("worker.after_cas")
        if version is None:
            raise Overtaken
        await self._apply(tx, Batch(tp.partition, version, after.next_position, records))
        failpoints.hit("worker.before_commit")
        return version

    async def _move_hint(self, tp: TopicPartition, place: Place, after: Place) -> Place:
        async with self._database.write() as tx, self._database.unblocked(tx):
            if await tx.fetchval(MOVE_HINT, *tp, place.version, after.offset) is None:
                raise Overtaken
        return Place(place.next_position, place.chain, after.offset, place.version)


def _polled_at(client: AIOKafkaConsumer, tp: TopicPartition) -> float:
    """When Kafka last answered a fetch of this partition, on the monotonic clock."""
    polled_ms = client.last_poll_timestamp(tp)
    return time.monotonic() - (time.time() - polled_ms / 1000) if polled_ms else 0.0


def _undecoded(value: bytes) -> None:
    return None
