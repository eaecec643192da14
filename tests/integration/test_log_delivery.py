"""The numbered log on a real PostgreSQL and a real broker: from append to apply, exactly once, whatever happens in between."""

import asyncio
import signal

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

import shared.kafka
import shared.log.follow
import shared.log.relay
from shared.db import Write
from shared.kafka import PRODUCER
from shared.log import (
    Batch,
    Stalled,
)
from shared.log.chain import HEADER, link
from tests.faults.harness import EITHER_WAY, EITHER_WAY_IN_TIME, Log, record_effect, running, until

pytest_plugins = ("tests.faults.log_fixtures",)


async def delete_head(log: Log, upto: int) -> dict[int, int]:
    """Delete the records of each partition below this offset -> the first one that is left, by partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=log.broker.bootstrap)
    async with asyncio.timeout(20):
        await admin.start()
        try:
            left = await admin.delete_records({TopicPartition(log.topic, p): RecordsToDelete(upto) for p in range(log.partitions)})
        finally:
            await admin.close()
    return {tp.partition: offset for tp, offset in left.items()}


class TestExactlyOnce:
    @EITHER_WAY
    async def test_everything_arrives_once_in_order(self, log: Log) -> None:
        async with running(log.relay().run, log.consumer().run):
            for i in range(20):
                await log.append([b"%d" % (100 * i + j) for j in range(100)])
            await log.drained()
        assert await log.verify() == 2000

    async def test_repeats_are_skipped_after_the_relay_went_back(self, log: Log) -> None:
        async with running(log.relay().run, log.consumer().run):
            await log.append([b"a"] * 100)
            await log.drained()
            await log.writer.pool.execute("update log_relay set next_position = 0, version = version + 1")
            await log.append([b"b"] * 100)
            await log.drained()
        assert await log.verify() == 200

    async def test_two_relays_and_two_workers_at_once(self, log: Log) -> None:
        both = [log.relay().run, log.relay().run, log.consumer().run, log.consumer().run]
        async with running(*both):
            for i in range(30):
                await log.append([b"%d" % (10 * i + j) for j in range(10)])
                await asyncio.sleep(0.02)
            await log.drained()
        assert await log.verify() == 300

    async def test_records_of_others_are_skipped(self, log: Log) -> None:
        async with running(log.relay().run, log.consumer().run):
            await log.append([b"a"], partition=0)
            await log.drained()
            async with AIOKafkaProducer(bootstrap_servers=log.broker.bootstrap, **PRODUCER) as stranger:
                await stranger.send_and_wait(log.topic, b"no header", partition=0)
                await stranger.send_and_wait(log.topic, b"far ahead", partition=0, headers=[(HEADER, link(99, b"x" * 32))])
            await log.append([b"b"], partition=0)
            await log.drained()
        assert await log.verify() == 2

    @EITHER_WAY
    async def test_a_forged_next_record_stops_that_partition_alone(self, log: Log) -> None:
        consumer = log.consumer()
        async with running(log.relay().run, consumer.run):
            await log.append([b"a", b"a"])
            await log.drained()
            async with AIOKafkaProducer(bootstrap_servers=log.broker.bootstrap, **PRODUCER) as forger:
                await forger.send_and_wait(log.topic, b"forged", partition=0, headers=[(HEADER, link(1, b"x" * 32))])
            await until(lambda: bool(consumer.diverged))
            assert list(consumer.diverged) == [0]
            await log.append([b"b"], partition=1)
            await log.until_consumed(1, 2)
        assert await log.verify() == 3

    @EITHER_WAY
    async def test_an_apply_that_fails_takes_nothing_and_is_tried_again(self, log: Log) -> None:
        failures = iter([True, True])

        async def apply(tx: Write, batch: Batch) -> None:
            await record_effect(tx, batch)
            if next(failures, False):
                raise ZeroDivisionError

        consumer = log.consumer(apply)
        await log.append([b"a"] * 10, partition=0)
        async with running(log.relay().run, consumer.run):
            await log.drained()
        assert await log.verify() == 10
        assert next(failures, None) is None

    async def test_a_consumer_with_some_partitions_leaves_the_others(self, log: Log) -> None:
        consumer = log.consumer(partitions=[1])
        await log.append([b"a"] * 10)
        async with running(log.relay().run, consumer.run):
            await log.until_consumed(1, 5)
        assert await log.behind() == {0: (0, 5)}


class TestHooks:
    async def test_the_order_within_a_transaction_and_what_a_batch_says(self, log: Log) -> None:
        seen: list[tuple[object, ...]] = []

        async def before(tx: Write, partition: int) -> None:
            seen.append(("before", partition, await tx.fetchval("select version from consumed where partition = 0")))

        async def apply(tx: Write, batch: Batch) -> None:
            row = await tx.fetchrow("select version, next_position from consumed where partition = 0")
            assert row is not None
            seen.append(("apply", batch.partition, *row))
            assert (batch.batch_no, batch.next_position) == tuple(row)
            assert [(r.position, r.value, r.decoded) for r in batch.records] == [(0, b"1", 1), (1, b"2", 2)]

        consumer = log.consumer(apply, partitions=[0], before=before, decode=int)
        await log.append([b"1", b"2"], partition=0)
        async with running(log.relay().run, consumer.run):
            await log.drained()
        assert seen == [("before", 0, 1), ("apply", 0, 2, 2)], "version 1 came with the origin"

    async def test_work_without_records_is_numbered_and_moves_nothing(self, log: Log) -> None:
        left, batches = [3], []

        async def has_work(partition: int) -> bool:
            return left[0] > 0

        async def apply(tx: Write, batch: Batch) -> None:
            batches.append(batch)
            left[0] -= 1

        consumer = log.consumer(apply, partitions=[0], has_work=has_work)
        async with running(log.relay().run, consumer.run):
            await until(lambda: left[0] == 0)
            await asyncio.sleep(0.3)
        assert [(b.batch_no, b.next_position, list(b.records)) for b in batches] == [(2, 0, []), (3, 0, []), (4, 0, [])]


@EITHER_WAY_IN_TIME
class TestGaps:
    async def test_a_position_that_never_arrived_is_asked_for_and_comes_again(self, log: Log) -> None:
        """The relay believes that it has published what Kafka does not have: its head was deleted, or an acknowledged send was lost."""
        await log.append([b"a"] * 20)
        await log.writer.pool.execute("update log_relay set next_position = 10")
        async with running(log.relay().run, log.consumer().run):
            await log.append([b"b"] * 20)
            assert await log.drained() > 2, "it has patience first"
        assert await log.verify() == 40
        assert [p.asks for p in await log.places()] == [1, 1]

    async def test_a_broker_killed_and_started_loses_nothing(self, log: Log) -> None:
        """Apache Kafka goes on where it was; the embedded broker is empty."""
        async with running(log.relay().run, log.consumer().run):
            await log.append([b"a"] * 100)
            await log.drained()
            log.broker.kill()
            await log.append([b"b"] * 100)
            log.broker.start()
            await log.drained()
        assert await log.verify() == 200

    async def test_a_broker_born_again_empty_loses_nothing(self, log: Log) -> None:
        async with running(log.relay().run, log.consumer().run):
            await log.append([b"a"] * 100)
            await log.drained()
            log.broker.reborn()
            await log.append([b"b"] * 100)
            await log.drained()
        assert await log.verify() == 200

    async def test_the_head_of_the_topic_deleted_below_a_stopped_worker_comes_again(self, log: Log) -> None:
        """By a retention that is too short, or by hand; what follows the deleted records is still there, and a gap."""
        if not log.broker.keeps:
            pytest.skip("the embedded broker deletes no records")
        async with running(log.relay().run):
            async with running(log.consumer().run):
                await log.append([b"a"] * 100)
                await log.drained()
            await log.append([b"b"] * 100)
            await log.until_published()
            assert await delete_head(log, upto=90) == {0: 90, 1: 90}
            await log.append([b"c"] * 100)
            async with running(log.consumer().run):
                await log.drained()
        assert await log.verify() == 300
        assert [p.asks for p in await log.places()] == [1, 1]

    async def test_a_topic_deleted_loses_nothing(self, log: Log) -> None:
        async with running(log.relay().run, log.consumer().run):
            await log.append([b"a"] * 100)
            await log.drained()
            admin = AIOKafkaAdminClient(bootstrap_servers=log.broker.bootstrap)
            await admin.start()
            await admin.delete_topics([log.topic])
            await admin.close()
            await log.append([b"b"] * 100)
            await log.drained()
        assert await log.verify() == 200

    async def test_published_but_born_again_before_it_was_read(self, log: Log) -> None:
        relay = log.relay()
        async with running(relay.run):
            await log.append([b"a"] * 100)
            await log.until_published()
        log.broker.reborn()
        async with running(relay.run, log.consumer().run):
            await log.drained()
        assert await log.verify() == 100

    async def test_an_offset_past_the_end_is_no_gap(self, log: Log) -> None:
        """Kafka resets a reader who is too far; the embedded broker answers nothing at all."""
        await log.reader.pool.execute("update consumed set kafka_offset = 1000000")
        await log.append([b"a"] * 100)
        async with running(log.relay().run, log.consumer().run):
            await log.drained()
        assert await log.verify() == 100
        assert [p.asks for p in await log.places()] == [0, 0]


class TestWatchdog:
    async def test_a_kafka_client_that_brings_nothing_is_thrown_away(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[AIOKafkaConsumer] = []

        class FirstOneIsSilent(AIOKafkaConsumer):  # type: ignore[misc]
            def __init__(self, **settings: object) -> None:
                super().__init__(**settings)
                made.append(self)

            def seek(self, partition: TopicPartition, offset: int) -> None:
                super().seek(partition, offset)
                if made == [self]:
                    self.pause(partition)

        monkeypatch.setattr(shared.kafka, "AIOKafkaConsumer", FirstOneIsSilent)
        monkeypatch.setattr(shared.log.follow, "RENEW_S", 2)
        await log.append([b"a"] * 100)
        async with running(log.relay().run, log.consumer().run):
            await log.drained()
        assert await log.verify() == 100
        assert len(made) == 2

    async def test_a_consumer_that_does_not_move_ends(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        async def apply(tx: Write, batch: Batch) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(shared.log.follow, "STALLED_S", 1)
        consumer = log.consumer(apply)
        await log.append([b"a"])
        async with running(log.relay().run):
            with pytest.raises(Stalled, match="nothing moved"):
                await asyncio.wait_for(consumer.run(asyncio.Event()), 20)
        assert not consumer.healthy

    async def test_a_relay_that_does_not_move_ends(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared.log.relay, "STALLED_S", 1)
        monkeypatch.setattr(shared.log.relay, "ANSWER_S", 0)  # no send is ever answered in time
        await log.append([b"a"])
        relay = log.relay()
        with pytest.raises(Stalled, match="nothing moved"):
            await asyncio.wait_for(relay.run(asyncio.Event()), 20)
        assert not relay.healthy

    async def test_while_the_broker_is_silent_no_clock_runs(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared.log.relay, "STALLED_S", 4)
        log.broker.kill()
        await log.append([b"a"] * 10)
        async with running(log.relay().run, log.consumer().run):
            await asyncio.sleep(7)
            log.broker.start()
            await log.drained()
        assert await log.verify() == 10


class TestClients:
    async def test_a_client_that_does_not_stop_leaves_nothing_behind(self, log: Log) -> None:
        """Not even when we are cancelled while it tries: what goes on inside it would connect again, and be a member of the group."""
        leaving = asyncio.Event()

        async def use() -> None:
            async with shared.kafka.consumer(log.broker.bootstrap, log.group) as client:
                client.subscribe([log.topic])
                await asyncio.sleep(0.5)
                log.broker.signal(signal.SIGSTOP)
                leaving.set()

        await shared.kafka.ensure_topic(log.broker.bootstrap, log.topic, log.partitions)
        before = asyncio.all_tasks()
        task = asyncio.create_task(use())
        try:
            await leaving.wait()
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.wait({task}, timeout=15)
        finally:
            log.broker.signal(signal.SIGCONT)
        assert task.done()
        assert asyncio.all_tasks() <= before
