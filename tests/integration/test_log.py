"""The numbered log on a real PostgreSQL and a real broker: append, relay, consume, report."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

import shared.kafka
import shared.log.follow
import shared.log.relay
from shared.db import Write
from shared.kafka import PRODUCER, TopicMismatch, answers, ensure_topic
from shared.log import (
    Batch,
    Closed,
    Consumer,
    Entry,
    PartitionMismatch,
    Position,
    Relay,
    Report,
    Stalled,
    TooLarge,
    append,
    consumers,
    create_partitions,
    create_reader,
    head,
    heard,
    http_reporter,
    lock_heads,
    positions_from_json,
    read_log,
    remove_consumer,
    reopen,
    report_to_json,
    unpublished,
)
from shared.log.chain import HEADER, extend, link
from tests.conftest import MakeDatabase
from tests.faults.harness import Broker, Databases, Log, broker, databases, new_log, record_effect, running


@pytest.fixture
def kafka() -> Iterator[Broker]:
    """A broker for each test: some bear it again."""
    with broker() as one:
        yield one


@pytest.fixture(scope="module")
async def there(make_database: MakeDatabase) -> Databases:
    return await databases(make_database)


@pytest.fixture
async def log(there: Databases, kafka: Broker) -> AsyncIterator[Log]:
    async with new_log(there, kafka, partitions=2) as one:
        yield one


def relay_of(log: Log) -> Relay:
    return Relay(log.writer, log.broker.bootstrap, log.topic)


def consumer_of(log: Log) -> Consumer:
    return Consumer(log.reader, log.broker.bootstrap, log.topic, record_effect, log.report, partitions=range(log.partitions))


async def places(log: Log) -> list[Position]:
    rows = await log.reader.pool.fetch("select partition, next_position, encode(chain, 'hex'), asks from consumed order by 1")
    return [Position(*row) for row in rows]


class TestAppend:
    async def test_numbers_each_partition_without_a_gap_in_the_order_of_the_entries(self, log: Log) -> None:
        assert await log.append([b"a", b"b", b"c", b"d", b"e"]) == [0, 0, 1, 1, 2]
        assert await log.append([b"f"], partition=1) == [2]

    async def test_a_rollback_leaves_no_gap(self, log: Log) -> None:
        await log.append([b"a"], partition=0)

        async def fail() -> None:
            async with log.writer.write() as tx:
                await append(log.writer, tx, log.topic, [Entry(0, b"k", b"lost")])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await log.append([b"b"], partition=0) == [1]

    async def test_positions_follow_the_order_of_commits(self, log: Log) -> None:
        async with log.writer.write() as first:
            await append(log.writer, first, log.topic, [Entry(0, b"k", b"first")])
            second = asyncio.create_task(log.append([b"second"], partition=0))
            await asyncio.sleep(0.1)
            assert not second.done(), "it waits for the head"
        assert await second == [1]

    async def test_concurrent_appends_share_no_number(self, log: Log) -> None:
        found = await asyncio.gather(*(log.append([b"%d" % i], partition=0) for i in range(40)))
        assert sorted(p for (p,) in found) == list(range(40))

    async def test_the_chain_proves_every_value(self, log: Log) -> None:
        await log.append([b"a", b"b", b"c"], partition=0)
        chain = await log.writer.pool.fetchval("select origin from log_head where partition = 0")
        async with log.writer.read() as read:
            rows = await read_log(read, log.topic, 0, 0, 100)
        for row in rows:
            chain = extend(chain, row["value"])
            assert row["chain"] == chain
        assert chain == await log.writer.pool.fetchval("select chain from log_head where partition = 0")

    async def test_origins_are_random(self, log: Log) -> None:
        assert await log.writer.pool.fetchval("select count(distinct origin) from log_head where length(origin) = 32") == 2

    async def test_refuses_what_could_never_be_published(self, log: Log) -> None:
        with pytest.raises(TooLarge, match="900001 bytes"):
            await log.append([b"x" * 899_998], partition=0)
        assert await log.append([b"x" * 899_997], partition=0) == [0]

    async def test_refuses_a_partition_that_is_not_there(self, log: Log) -> None:
        with pytest.raises(PartitionMismatch, match=r"no partition \[7\]"):
            await log.append([b"x"], partition=7)

    async def test_a_head_locked_first_stays_ours(self, log: Log) -> None:
        async with log.writer.write() as tx:
            heads = await lock_heads(log.writer, tx, log.topic, [0])
            other = asyncio.create_task(log.append([b"other"], partition=0))
            await asyncio.sleep(0.1)
            assert await append(log.writer, tx, log.topic, [Entry(0, b"k", b"mine")]) == [heads[0][0]] == [0]
        assert await other == [1]

    async def test_nothing_to_append_locks_nothing(self, log: Log) -> None:
        assert await log.append([]) == []


class TestReading:
    async def test_pages_by_number_and_by_bytes(self, log: Log) -> None:
        await log.append([b"%d" % i for i in range(10)], partition=0)
        await log.append([b"x" * 899_000] * 10, partition=1)
        async with log.writer.read() as read:
            assert [r["position"] for r in await read_log(read, log.topic, 0, 3, 4)] == [3, 4, 5, 6]
            assert await read_log(read, log.topic, 0, 10, 4) == []
            assert len(await read_log(read, log.topic, 1, 0, 1000)) == 9, "8 MB, and the one that crosses the line"
            assert (await head(read, log.topic, 0), await head(read, log.topic, 9)) == (10, None)
            assert await unpublished(read, log.topic) == 20


class TestInstallation:
    async def test_is_idempotent_and_refuses_another_number(self, log: Log) -> None:
        origins = await log.writer.pool.fetch("select origin from log_head order by partition")
        async with log.writer.write() as tx:
            await create_partitions(tx, log.topic, 2)
            with pytest.raises(PartitionMismatch, match="installed with 2 partitions and cannot become 3"):
                await create_partitions(tx, log.topic, 3)
        async with log.reader.write() as tx:
            await create_reader(tx, log.topic, 2)
            with pytest.raises(PartitionMismatch, match="set the number back to 2"):
                await create_reader(tx, log.topic, 1)
            with pytest.raises(PartitionMismatch, match="choose 1 to 4096"):
                await create_reader(tx, "another", 0)
        assert await log.writer.pool.fetch("select origin from log_head order by partition") == origins

    async def test_a_reader_with_another_number_is_told(self, log: Log) -> None:
        with pytest.raises(PartitionMismatch, match=r"has 2 partitions, subsidy reports 2"):
            await log.report([Position(2, 0, None, 0)])

    async def test_a_topic_with_too_few_partitions_is_refused(self, kafka: Broker) -> None:
        await ensure_topic(kafka.bootstrap, "small", 1)
        await ensure_topic(kafka.bootstrap, "small", 1)
        with pytest.raises(TopicMismatch, match="small has 1 partitions, the log 2"):
            await ensure_topic(kafka.bootstrap, "small", 2)

    async def test_a_broker_answers_or_not(self, kafka: Broker) -> None:
        assert await answers(kafka.bootstrap)
        kafka.kill()
        assert not await answers(kafka.bootstrap)


class TestExactlyOnce:
    async def test_everything_arrives_once_in_order(self, log: Log) -> None:
        async with running(relay_of(log).run, consumer_of(log).run):
            for i in range(20):
                await log.append([b"%d" % (100 * i + j) for j in range(100)])
            await log.drained()
        assert await log.verify() == 2000

    async def test_repeats_are_skipped_after_the_relay_went_back(self, log: Log) -> None:
        async with running(relay_of(log).run, consumer_of(log).run):
            await log.append([b"a"] * 100)
            await log.drained()
            await log.writer.pool.execute("update log_relay set next_position = 0, version = version + 1")
            await log.append([b"b"] * 100)
            await log.drained()
        assert await log.verify() == 200

    async def test_two_relays_and_two_workers_at_once(self, log: Log) -> None:
        both = [relay_of(log).run, relay_of(log).run, consumer_of(log).run, consumer_of(log).run]
        async with running(*both):
            for i in range(30):
                await log.append([b"%d" % (10 * i + j) for j in range(10)])
                await asyncio.sleep(0.02)
            await log.drained()
        assert await log.verify() == 300

    async def test_records_of_others_are_skipped(self, log: Log) -> None:
        async with running(relay_of(log).run, consumer_of(log).run):
            await log.append([b"a"], partition=0)
            await log.drained()
            async with AIOKafkaProducer(bootstrap_servers=log.broker.bootstrap, **PRODUCER) as stranger:
                await stranger.send_and_wait(log.topic, b"no header", partition=0)
                await stranger.send_and_wait(log.topic, b"far ahead", partition=0, headers=[(HEADER, link(99, b"x" * 32))])
            await log.append([b"b"], partition=0)
            await log.drained()
        assert await log.verify() == 2

    async def test_a_forged_next_record_stops_that_partition_alone(self, log: Log) -> None:
        consumer = consumer_of(log)
        async with running(relay_of(log).run, consumer.run):
            await log.append([b"a", b"a"])
            await log.drained()
            async with AIOKafkaProducer(bootstrap_servers=log.broker.bootstrap, **PRODUCER) as forger:
                await forger.send_and_wait(log.topic, b"forged", partition=0, headers=[(HEADER, link(1, b"x" * 32))])
            await until(lambda: bool(consumer.diverged))
            assert list(consumer.diverged) == [0]
            await log.append([b"b"], partition=1)
            await until_consumed(log, 1, 2)
        assert await log.verify() == 3

    async def test_an_apply_that_fails_takes_nothing_and_is_tried_again(self, log: Log) -> None:
        failures = iter([True, True])

        async def apply(tx: Write, batch: Batch) -> None:
            await record_effect(tx, batch)
            if next(failures, False):
                raise ZeroDivisionError

        consumer = Consumer(log.reader, log.broker.bootstrap, log.topic, apply, log.report, partitions=[0, 1])
        await log.append([b"a"] * 10, partition=0)
        async with running(relay_of(log).run, consumer.run):
            await log.drained()
        assert await log.verify() == 10
        assert next(failures, None) is None

    async def test_a_consumer_with_some_partitions_leaves_the_others(self, log: Log) -> None:
        consumer = Consumer(log.reader, log.broker.bootstrap, log.topic, record_effect, log.report, partitions=[1])
        await log.append([b"a"] * 10)
        async with running(relay_of(log).run, consumer.run):
            await until_consumed(log, 1, 5)
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

        consumer = Consumer(log.reader, log.broker.bootstrap, log.topic, apply, log.report, partitions=[0], before=before, decode=int)
        await log.append([b"1", b"2"], partition=0)
        async with running(relay_of(log).run, consumer.run):
            await log.drained()
        assert seen == [("before", 0, 1), ("apply", 0, 2, 2)], "version 1 came with the origin"

    async def test_work_without_records_is_numbered_and_moves_nothing(self, log: Log) -> None:
        left, batches = [3], []

        async def has_work(partition: int) -> bool:
            return left[0] > 0

        async def apply(tx: Write, batch: Batch) -> None:
            batches.append(batch)
            left[0] -= 1

        consumer = Consumer(log.reader, log.broker.bootstrap, log.topic, apply, log.report, partitions=[0], has_work=has_work)
        async with running(relay_of(log).run, consumer.run):
            await until(lambda: left[0] == 0)
            await asyncio.sleep(0.3)
        assert [(b.batch_no, b.next_position, list(b.records)) for b in batches] == [(2, 0, []), (3, 0, []), (4, 0, [])]


class TestGaps:
    async def test_a_position_that_never_arrived_is_asked_for_and_comes_again(self, log: Log) -> None:
        """The relay believes that it has published what Kafka does not have: its head was deleted, or an acknowledged send was lost."""
        await log.append([b"a"] * 20)
        await log.writer.pool.execute("update log_relay set next_position = 10")
        async with running(relay_of(log).run, consumer_of(log).run):
            await log.append([b"b"] * 20)
            assert await log.drained() > 2, "it has patience first"
        assert await log.verify() == 40
        assert [p.asks for p in await places(log)] == [1, 1]

    async def test_a_broker_born_again_empty_loses_nothing(self, log: Log) -> None:
        async with running(relay_of(log).run, consumer_of(log).run):
            await log.append([b"a"] * 100)
            await log.drained()
            log.broker.reborn()
            await log.append([b"b"] * 100)
            await log.drained()
        assert await log.verify() == 200

    async def test_a_topic_deleted_loses_nothing(self, log: Log) -> None:
        async with running(relay_of(log).run, consumer_of(log).run):
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
        relay = relay_of(log)
        async with running(relay.run):
            await log.append([b"a"] * 100)
            await published(log)
        log.broker.reborn()
        async with running(relay.run, consumer_of(log).run):
            await log.drained()
        assert await log.verify() == 100

    async def test_an_offset_past_the_end_is_no_gap(self, log: Log) -> None:
        """Kafka resets a reader who is too far; the embedded broker answers nothing at all."""
        await log.reader.pool.execute("update consumed set kafka_offset = 1000000")
        await log.append([b"a"] * 100)
        async with running(relay_of(log).run, consumer_of(log).run):
            await log.drained()
        assert await log.verify() == 100
        assert [p.asks for p in await places(log)] == [0, 0]


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
        async with running(relay_of(log).run, consumer_of(log).run):
            await log.drained()
        assert await log.verify() == 100
        assert len(made) == 2

    async def test_a_consumer_that_does_not_move_ends(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        async def apply(tx: Write, batch: Batch) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(shared.log.follow, "STALLED_S", 1)
        consumer = Consumer(log.reader, log.broker.bootstrap, log.topic, apply, log.report, partitions=[0, 1])
        await log.append([b"a"])
        async with running(relay_of(log).run):
            with pytest.raises(Stalled, match="nothing moved"):
                await asyncio.wait_for(consumer.run(asyncio.Event()), 20)
        assert not consumer.healthy

    async def test_a_relay_that_does_not_move_ends(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared.log.relay, "STALLED_S", 1)
        await ensure_topic(log.broker.bootstrap, log.topic, 1)
        await log.append([b"a"])
        relay = relay_of(log)
        with pytest.raises(Stalled, match="nothing moved"):
            await asyncio.wait_for(relay.run(asyncio.Event()), 20)
        assert not relay.healthy

    async def test_while_the_broker_is_silent_no_clock_runs(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shared.log.relay, "STALLED_S", 1)
        log.broker.kill()
        await log.append([b"a"] * 10)
        async with running(relay_of(log).run, consumer_of(log).run):
            await asyncio.sleep(4)
            log.broker.start()
            await log.drained()
        assert await log.verify() == 10


class TestReport:
    async def test_the_origin_is_taken_on_once_and_only_by_a_reader_that_has_taken_nothing(self, log: Log) -> None:
        async with running(consumer_of(log).run):
            await until_adopted(log)
        origins = {r[0]: r[1] for r in await log.writer.pool.fetch("select partition, encode(origin, 'hex') from log_head")}
        assert {p.partition: p.chain for p in await places(log)} == origins

    async def test_tells_heads_published_and_now(self, log: Log) -> None:
        await log.append([b"a", b"b", b"c"])
        report = await log.report(await places(log))
        assert (report.heads, report.published, report.parted) == ([2, 1], [0, 0], [])
        async with log.writer.read() as read:
            assert [(r["consumer"], r["partition"], r["lag"]) for r in await consumers(read, log.topic)] == [
                ("subsidy", 0, 2),
                ("subsidy", 1, 1),
            ]

    async def test_over_http(self, log: Log) -> None:
        async def put(request: httpx.Request) -> httpx.Response:
            name, positions = request.url.path.rpartition("/")[2], positions_from_json(request.content)
            return httpx.Response(200, content=report_to_json(await heard(log.writer, name, log.topic, positions)))

        async with httpx.AsyncClient(transport=httpx.MockTransport(put)) as client:
            report = http_reporter(client, "http://ingest/v1/log/consumers/subsidy", lambda: "t")
            consumer = Consumer(log.reader, log.broker.bootstrap, log.topic, record_effect, report, partitions=[0, 1])
            await log.append([b"a"] * 10)
            async with running(relay_of(log).run, consumer.run):
                await log.drained()
        assert await log.verify() == 10

    async def test_a_place_above_the_head_closes_the_partition_until_it_is_reopened(self, log: Log) -> None:
        await log.append([b"a", b"a"])
        report = await log.report([Position(0, 5, "ab" * 32, 0), *(await places(log))[1:]])
        assert report.parted == [0]
        with pytest.raises(Closed, match="subsidy has 5 entries, the log 1"):
            await log.append([b"b"], partition=0)
        assert await log.append([b"b"], partition=1) == [1]
        async with log.writer.write() as tx:
            await reopen(tx, log.topic, 0)
        assert await log.append([b"b"], partition=0) == [1]

    async def test_a_chain_that_is_not_in_the_log_closes_the_partition(self, log: Log) -> None:
        await log.append([b"a", b"b"], partition=0)
        chains = [r[0].hex() for r in await log.writer.pool.fetch("select chain from log where partition = 0 order by position")]
        assert (await log.report([Position(0, 1, chains[0], 0)])).parted == []
        assert (await log.report([Position(0, 1, chains[1], 0)])).parted == [0]

    async def test_another_installations_reader_closes_it_even_at_0(self, log: Log) -> None:
        assert (await log.report([Position(0, 0, "ab" * 32, 0)])).parted == [0]

    async def test_a_name_is_checked(self, log: Log) -> None:
        with pytest.raises(ValueError, match="matches"):
            await heard(log.writer, "Robert'); drop table log", log.topic, await places(log))

    async def test_a_removed_consumer_holds_nothing_back(self, log: Log) -> None:
        await log.report(await places(log))
        async with log.writer.write() as tx:
            assert await remove_consumer(tx, log.topic, "subsidy")
            assert not await remove_consumer(tx, log.topic, "subsidy")
            assert await consumers(tx, log.topic) == []

    async def test_a_writer_that_is_away_does_not_stop_the_consumer(self, log: Log) -> None:
        away = [False]

        async def report(positions: Sequence[Position]) -> Report:
            if away[0]:
                raise ConnectionRefusedError
            return await log.report(positions)

        consumer = Consumer(log.reader, log.broker.bootstrap, log.topic, record_effect, report, partitions=[0, 1])
        async with running(relay_of(log).run, consumer.run):
            await until_adopted(log)
            away[0] = True
            await log.append([b"a"] * 10)
            await log.drained(5)
        assert await log.verify() == 10

    async def test_the_watermark_rises_and_is_never_ahead(self, log: Log) -> None:
        async with running(relay_of(log).run, consumer_of(log).run):
            for _ in range(8):
                await log.append([b"a"] * 50)
                await asyncio.sleep(0.4)
                await log.watermark_is_true()
        assert await log.reader.pool.fetchval("select reached from watermark") is not None


class TestBlocked:
    async def test_a_session_that_sits_on_a_head_is_ended_after_5_s(self, log: Log) -> None:
        sitter = await asyncpg.connect(log.writer.dsn)
        try:
            await sitter.execute("begin")
            await sitter.execute("select * from log_head for update")
            began = asyncio.get_running_loop().time()
            assert await log.append([b"a"], partition=0) == [0]
            assert asyncio.get_running_loop().time() - began < 8
        finally:
            sitter.terminate()


async def until(condition: object, within_s: float = 15) -> None:
    assert callable(condition)
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


async def until_consumed(log: Log, partition: int, position: int) -> None:
    async with asyncio.timeout(15):
        while (await log.consumed())[partition] < position:
            await asyncio.sleep(0.02)


async def until_adopted(log: Log) -> None:
    async with asyncio.timeout(15):
        while any(p.chain is None for p in await places(log)):
            await asyncio.sleep(0.02)


async def published(log: Log) -> None:
    async with asyncio.timeout(15):
        while await unpublished(log.writer.pool, log.topic):
            await asyncio.sleep(0.02)
