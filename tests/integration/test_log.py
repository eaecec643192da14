"""The numbered log on a real PostgreSQL and a real broker: append, relay, consume, report."""

import asyncio
from collections.abc import Sequence

import asyncpg
import httpx
import pytest

from shared.kafka import TopicMismatch, answers, ensure_topic
from shared.log import (
    Closed,
    Entry,
    PartitionMismatch,
    Position,
    Report,
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
from shared.log.chain import extend
from tests.faults.harness import Broker, Log, running

pytest_plugins = ("tests.faults.log_fixtures",)


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
            rows = await read_log(read, 0, 0, 100)
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
            assert [r["position"] for r in await read_log(read, 0, 3, 4)] == [3, 4, 5, 6]
            assert await read_log(read, 0, 10, 4) == []
            assert len(await read_log(read, 1, 0, 1000)) == 9, "8 MB, and the one that crosses the line"
            found = await head(read, log.topic, 0)
            assert found is not None
            assert found.next_position == 10
            assert await head(read, log.topic, 9) is None
            assert await unpublished(read, log.topic) == 20


class TestInstallation:
    async def test_is_idempotent_and_refuses_another_number(self, log: Log) -> None:
        origins = await log.writer.pool.fetch("select origin from log_head order by partition")
        async with log.writer.write() as tx:
            await create_partitions(tx, log.topic, 2)
            with pytest.raises(PartitionMismatch, match="installed with 2 partitions and cannot become 3"):
                await create_partitions(tx, log.topic, 3)
            with pytest.raises(PartitionMismatch, match=f"keeps the log of {log.topic}; that of another"):
                await create_partitions(tx, "another", 2)
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

    async def test_a_topic_with_too_few_partitions_grows_or_is_refused(self, log: Log) -> None:
        await ensure_topic(log.broker.bootstrap, log.topic, 1)
        await ensure_topic(log.broker.bootstrap, log.topic, 1)
        if log.broker.grows:
            await ensure_topic(log.broker.bootstrap, log.topic, 2)
        else:
            with pytest.raises(TopicMismatch, match="has 1 partitions, the log 2: recreate the topic"):
                await ensure_topic(log.broker.bootstrap, log.topic, 2)

    async def test_a_broker_answers_or_not(self, log_broker: Broker) -> None:
        assert await answers(log_broker.bootstrap)
        log_broker.kill()
        assert not await answers(log_broker.bootstrap)


class TestReport:
    async def test_the_origin_is_taken_on_once_and_only_by_a_reader_that_has_taken_nothing(self, log: Log) -> None:
        async with running(log.consumer().run):
            await log.until_adopted()
        origins = {r[0]: r[1] for r in await log.writer.pool.fetch("select partition, encode(origin, 'hex') from log_head")}
        assert {p.partition: p.chain for p in await log.places()} == origins

    async def test_tells_heads_published_and_now(self, log: Log) -> None:
        await log.append([b"a", b"b", b"c"])
        report = await log.report(await log.places())
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
            consumer = log.consumer(report=report)
            await log.append([b"a"] * 10)
            async with running(log.relay().run, consumer.run):
                await log.drained()
        assert await log.verify() == 10

    async def test_a_place_above_the_head_closes_the_partition_until_it_is_reopened(self, log: Log) -> None:
        await log.append([b"a", b"a"])
        report = await log.report([Position(0, 5, "ab" * 32, 0), *(await log.places())[1:]])
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
            await heard(log.writer, "Robert'); drop table log", log.topic, await log.places())

    async def test_a_removed_consumer_holds_nothing_back(self, log: Log) -> None:
        await log.report(await log.places())
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

        consumer = log.consumer(report=report)
        async with running(log.relay().run, consumer.run):
            await log.until_adopted()
            away[0] = True
            await log.append([b"a"] * 10)
            await log.drained(5)
        assert await log.verify() == 10

    async def test_the_watermark_rises_and_is_never_ahead(self, log: Log) -> None:
        async with running(log.relay().run, log.consumer().run):
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
