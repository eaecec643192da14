"""Turns: which partitions are ours, from when to when; fixed by `assign`, or as Kafka's consumer group gives them.

A turn fences nothing off: whoever believes too long that a partition is his loses the compare-and-set on `consumed.version`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from shared import kafka
from shared.db import Database
from shared.log.running import over, pause
from shared.log.tables import MAX_PARTITIONS

log = structlog.get_logger(__name__)

LISTEN_S = 1.0
MIRROR_EVERY_S = 5.0  # as often as Kafka's own clients commit; all of it each time, since offsets that nobody repeats expire
MIRRORED_S = 2  # to tell the group; nothing depends on it

# Where each partition is read on from.
OFFSETS = "select partition, kafka_offset from consumed where topic = $1"


class Turn:
    """The partitions that are ours until it is over."""

    def __init__(self, tps: Iterable[TopicPartition]) -> None:
        self.tps = frozenset(tps)
        self.over = asyncio.Event()

    @property
    def partitions(self) -> frozenset[int]:
        return frozenset(tp.partition for tp in self.tps)


class Turns(ConsumerRebalanceListener):  # type: ignore[misc]
    """One turn after the other, until the stop; one that is over before anybody looked is left out.

    As a listener it only notes what it is told: aiokafka swallows what a listener raises, and joins the group again only when it returns.
    """

    def __init__(self, topic: str, offsets: Mapping[int, int]) -> None:
        """`offsets` are those of the log's partitions, all of them: the topic may have more, which hold nothing of ours."""
        self._topic, self._offsets = topic, {TopicPartition(topic, p): offset for p, offset in offsets.items()}
        self._news = asyncio.Event()
        self._closed = False
        self.now: Turn | None = None  # None: nobody has given us anything

    def fixed(self, client: AIOKafkaConsumer, partitions: Sequence[int]) -> None:
        """One turn with these. Raises LookupError."""
        tps = [TopicPartition(self._topic, p) for p in partitions]
        if wrong := [tp.partition for tp in tps if tp not in self._offsets]:
            raise LookupError(f"{self._topic}/{wrong} is not in `consumed`: run the migration, or give the partitions that exist")
        client.assign(tps)
        for tp in tps:  # at once: it would ask the group where to begin, and fetch nothing as long as the group does not answer
            client.seek(tp, self._offsets[tp])
        self.on_partitions_assigned(tps)

    def shared(self, client: AIOKafkaConsumer) -> None:
        """Turns as the client's consumer group gives them."""
        client.subscribe([self._topic], listener=self)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        if self.now:
            self.now.over.set()
            self.now = None

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.on_partitions_revoked(())
        self.now = Turn(tp for tp in assigned if tp in self._offsets)
        self._news.set()

    async def end_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._closed = True
        self.on_partitions_revoked(())
        self._news.set()

    async def next(self) -> Turn | None:
        """The turn that holds now, as soon as there is one; None at the stop."""
        while not self._closed:
            await self._news.wait()
            self._news.clear()
            if self.now:
                log.info("consumer.turn", topic=self._topic, partitions=sorted(self.now.partitions))
                return self.now
        return None


async def listen(client: AIOKafkaConsumer, topic: str, turns: Turns) -> None:
    """Without end. What is wrong with its group a client tells only to who polls, and without partitions nobody else does."""
    nothing = TopicPartition(topic, MAX_PARTITIONS)  # no log has this one: to ask for all would take from the partitions that come
    while True:
        if turns.now and turns.now.tps:
            await asyncio.sleep(LISTEN_S)
        else:
            await client.getmany(nothing, timeout_ms=int(LISTEN_S * 1000))


async def mirror(database: Database, client: AIOKafkaConsumer, topic: str, turns: Turns, stop: asyncio.Event) -> None:
    """Until the stop tell Kafka's group what PostgreSQL says: for the usual lag tools, nobody of us reads it."""
    while not over(stop):
        if turns.now:
            await tell(database, client, topic, turns.now)
        await pause(stop, MIRROR_EVERY_S)


async def tell(database: Database, client: AIOKafkaConsumer, topic: str, turn: Turn) -> None:
    offsets = {TopicPartition(topic, row["partition"]): row["kafka_offset"] for row in await database.pool.fetch(OFFSETS, topic)}
    if turn.tps:
        await kafka.quietly(client.commit({tp: offsets[tp] for tp in turn.tps}), MIRRORED_S)
