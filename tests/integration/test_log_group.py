"""Several workers, one log: they share its partitions by Kafka's consumer group, which mirrors how far they are.

Who has which partition is Kafka's business and may be wrong for a while; what is written is PostgreSQL's, and never is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

import shared.log.turns
from deploy.kafka.node import group_lag
from shared.db import Write
from shared.kafka import CONSUMER
from shared.log import Batch, Consumer
from tests.faults.harness import EITHER_WAY, Log, record_effect, running, until

pytest_plugins = ("tests.faults.log_fixtures",)
SHARED = pytest.mark.parametrize("log", ["shared"], indirect=True)


class Worker:
    """A consumer in this process that can be stopped alone."""

    def __init__(self, log: Log) -> None:
        self.consumer: Consumer = log.consumer()
        self._stop = asyncio.Event()
        self._ran = asyncio.create_task(self.consumer.run(self._stop))

    @property
    def partitions(self) -> frozenset[int] | None:
        return self.consumer.partitions

    async def stop(self) -> None:
        self._stop.set()
        async with asyncio.timeout(15):
            await self._ran


@contextlib.asynccontextmanager
async def workers(log: Log, n: int) -> AsyncIterator[list[Worker]]:
    them = [Worker(log) for _ in range(n)]
    try:
        yield them
    finally:
        await asyncio.gather(*(one.stop() for one in them))


def shared_by(them: list[Worker], *sizes: int) -> bool:
    """Whether all partitions are given out, each once, in shares of these sizes."""
    given = [one.partitions for one in them]
    parts = [p for share in given for p in share or ()]
    return sorted(len(share) for share in given if share is not None) == sorted(sizes) and len(set(parts)) == len(parts)


@SHARED
class TestSharing:
    async def test_two_workers_have_a_partition_each_and_a_third_waits_its_turn(self, log: Log) -> None:
        async with running(log.relay().run), workers(log, 3) as them:
            await until(lambda: shared_by(them, 0, 1, 1), within_s=30)
            await log.append([b"a"] * 100)
            await log.drained()
            spare = next(one for one in them if not one.partitions)
            for one in them:
                if one is not spare:
                    await one.stop()
            await until(lambda: shared_by([spare], 2), within_s=30)
            await log.append([b"b"] * 100)
            await log.drained()
        assert await log.verify() == 200

    async def test_one_more_worker_takes_its_share(self, log: Log) -> None:
        async with running(log.relay().run), workers(log, 1) as first:
            await until(lambda: shared_by(first, 2), within_s=30)
            async with workers(log, 1) as second:
                await until(lambda: shared_by(first + second, 1, 1), within_s=30)
                await log.append([b"a"] * 100)
                await log.drained()
        assert await log.verify() == 100

    async def test_a_batch_that_fails_leaves_the_others_and_the_group_alone(self, log: Log) -> None:
        """Else every try would take all partitions from everybody."""
        failing = [True]

        async def apply(tx: Write, batch: Batch) -> None:
            if failing[0] and batch.partition == 0:
                raise ZeroDivisionError
            await record_effect(tx, batch)

        consumer = log.consumer(apply)
        turns: list[frozenset[int] | None] = []
        async with running(log.relay().run, consumer.run):
            await log.append([b"a"] * 100)
            await log.until_consumed(1, 50)
            for _ in range(20):
                turns.append(consumer.partitions)
                await asyncio.sleep(0.1)
            failing[0] = False
            await log.drained()
        assert set(turns) == {frozenset({0, 1})}
        assert await log.verify() == 100


async def mirrored(log: Log) -> dict[int, int]:
    """What the group's offsets say, as the lag tools read them."""
    async with AIOKafkaConsumer(bootstrap_servers=log.broker.bootstrap, **CONSUMER, group_id=log.group) as reader:
        return {p: await reader.committed(TopicPartition(log.topic, p)) or 0 for p in range(log.partitions)}


async def lag(log: Log) -> dict[int, int]:
    """What the group's lag tool shows, where there is one; else how many records stand behind the group's offsets."""
    if log.broker.keeps:
        shown = await asyncio.to_thread(group_lag, log.broker.bootstrap, log.group)
        return {partition: behind for (_, partition), behind in shown.items()}
    async with AIOKafkaConsumer(bootstrap_servers=log.broker.bootstrap, **CONSUMER) as reader:
        offsets = {TopicPartition(log.topic, p): offset for p, offset in (await mirrored(log)).items()}
        reader.assign(list(offsets))
        for tp, offset in offsets.items():
            reader.seek(tp, offset)
        found = dict.fromkeys(range(log.partitions), 0)
        while got := await reader.getmany(timeout_ms=1000):
            for tp, records in got.items():
                found[tp.partition] += len(records)
        return found


@EITHER_WAY
class TestMirror:
    async def test_the_group_shows_the_lag_that_we_have(self, log: Log) -> None:
        async with running(log.relay().run):
            async with running(log.consumer().run):
                await log.append([b"a"] * 100)
                await log.drained()
            await log.append([b"b"] * 30)
            await log.until_published()
        ours = {p: head - at for p, (at, head) in (await log.behind()).items()}
        assert ours == {0: 15, 1: 15}
        assert await lag(log) == ours

    async def test_it_follows_while_we_work(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared.log.turns, "MIRROR_EVERY_S", 0.2)
        async with running(log.relay().run, log.consumer().run):
            for _ in range(3):
                await log.append([b"a"] * 20)
                await log.drained()
                places = await log.reader.pool.fetch("select partition, kafka_offset from consumed")
                async with asyncio.timeout(15):
                    while await mirrored(log) != dict(map(tuple, places)):
                        await asyncio.sleep(0.1)

    async def test_nobody_reads_it(self, log: Log) -> None:
        """A group that says anything whatever costs nothing and skips nothing."""
        async with AIOKafkaConsumer(bootstrap_servers=log.broker.bootstrap, **CONSUMER, group_id=log.group) as liar:
            async with running(log.relay().run):
                await log.append([b"a"] * 100)
                await log.until_published()
            tps = [TopicPartition(log.topic, p) for p in range(log.partitions)]
            liar.assign(tps)
            await liar.commit(dict.fromkeys(tps, 1_000_000))
        async with running(log.consumer().run):
            await log.drained()
        assert await log.verify() == 100
