"""A writer, a reader, a relay and a worker around a real PostgreSQL and a real broker: what the tests of the log share.

The reader's effect is a row per record in `effect`, without any unique key: what is taken twice, shows.
"""

import asyncio
import atexit
import contextlib
import functools
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from deploy.embedded.broker import command
from deploy.embedded.installation import Dsns, free_port
from deploy.embedded.runtime import chosen_broker
from deploy.embedded.supervisor import leashed
from deploy.kafka.broker import ApacheKafka
from deploy.kafka.node import Node
from shared.db import Database, Write
from shared.log import (
    READER_MUTABLE,
    WRITER_MUTABLE,
    Batch,
    Consumer,
    Entry,
    Position,
    Relay,
    Report,
    append,
    create_partitions,
    create_reader,
    heard,
    reader_tables,
    unpublished,
    writer_tables,
)
from shared.log.consume import Apply
from tests.conftest import MakeDatabase

ROOT = Path(__file__).parents[2]


WRITER_TABLES = ("log", "log_head", "log_relay", "log_consumer")
EFFECT = """
create table effect (
    seq bigint generated always as identity, partition int, batch_no bigint, position bigint, value bytea,
    who text default current_setting('application_name'))
"""


def wait_for_port(port: int, within_s: float = 20) -> None:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


# A test, or a module of them, with `log` once for each way in which a consumer gets its partitions.
EITHER_WAY = pytest.mark.parametrize("log", ["fixed", "shared"], indirect=True)
# The same where a group is joined again and again, each time for 3 s on the embedded broker: there it is among the long tests.
SHARED_OR_LONG = pytest.param("shared", marks=() if chosen_broker() is ApacheKafka else pytest.mark.long)
EITHER_WAY_IN_TIME = pytest.mark.parametrize("log", ["fixed", SHARED_OR_LONG], indirect=True)
FIGURES: list[str] = []  # what the tests have measured; printed at the end of the run (tests/faults/conftest.py)


def survived(what: str, faults: int, events: int, drained_s: float) -> None:
    """With 0 failures in N independent trials the 95 % upper bound is about 3/N: never "cannot lose data"."""
    bound = f"at 95 % at most 3/N = {min(1, 3 / faults):.0%} of such faults"
    FIGURES.append(f"{what}: N = {faults}, {events} events, drained in {drained_s:.1f} s, 0 lost, 0 doubled; {bound}")


class Broker(ABC):
    """A broker of the test's own; `reborn` is empty, with the same cluster id and address."""

    grows: bool  # whether a topic can get more partitions
    keeps: bool  # whether a kill loses nothing that was acknowledged
    port: int

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Soon it answers; `wait_for_port` to know."""
        output = None if os.environ.get("TONGCUN_TEST_SHOW") else subprocess.DEVNULL
        self._process = subprocess.Popen(leashed(self._command(), None, signal.SIGKILL), stdout=output, stderr=output)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def reborn(self) -> None:
        self.kill()
        self._forget()
        self.start()

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _forget(self) -> None: ...


class EmbeddedBroker(Broker):
    """In memory."""

    grows = keeps = False

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    def _command(self) -> list[str]:
        return command(self.port, "tongcun")

    def _forget(self) -> None: ...


class ApacheKafkaBroker(Broker):
    """A node that takes seconds to start, so the tests of a run share it, each with topics of its own (see `broker`)."""

    grows = keeps = True

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.port = free_port()
        self._node = Node(directory, secrets.token_hex(16), self.port, free_port())
        self._node.prepare()

    def _command(self) -> list[str]:
        return self._node.command

    def _forget(self) -> None:
        self._node.forget()


@contextlib.contextmanager
def broker(*, empty: bool = True) -> Iterator[Broker]:
    """One that answers, to be killed and stopped at will. `empty=False`: quicker on Apache Kafka, but there may be other tests' topics."""
    one = _shared_kafka() if chosen_broker() is ApacheKafka else EmbeddedBroker()
    if empty and one.alive:
        one.reborn()
    elif not one.alive:
        one.start()
    wait_for_port(one.port, within_s=60)
    try:
        yield one
    finally:
        if one.keeps and one.alive:
            one.signal(signal.SIGCONT)  # a test that failed may have left it stopped
        else:
            one.kill()


@functools.cache
def _shared_kafka() -> ApacheKafkaBroker:
    """Its process dies with ours."""
    directory = tempfile.TemporaryDirectory(prefix="tongcun-kafka-")
    one = ApacheKafkaBroker(Path(directory.name))
    atexit.register(directory.cleanup)
    atexit.register(one.kill)
    return one


@dataclass
class Log:
    """One topic: its writer's and its reader's databases, open in this process, too."""

    topic: str
    broker: Broker
    partitions: int
    writer: Database
    reader: Database
    writer_owner: str  # DSN
    shared: bool = False  # whether its consumers share the partitions in a group

    @property
    def group(self) -> str:
        return f"{self.topic}.subsidy"

    async def append(self, values: Sequence[bytes], partition: int | None = None) -> list[int]:
        """One transaction; without a partition the values go round."""
        entries = [Entry(i % self.partitions if partition is None else partition, b"key", v) for i, v in enumerate(values)]
        async with self.writer.write() as tx:
            return await append(self.writer, tx, self.topic, entries)

    async def report(self, positions: Sequence[Position]) -> Report:
        """The report without the HTTP in between."""
        return await heard(self.writer, "subsidy", self.topic, positions)

    async def drained(self, within_s: float = 30) -> float:
        """Wait until the reader has every position -> seconds that it took. Raises TimeoutError with what is missing."""
        began = time.monotonic()
        while time.monotonic() < began + within_s:
            behind = await self.behind()
            if not behind:
                return time.monotonic() - began
            await asyncio.sleep(0.05)
        raise TimeoutError(f"after {within_s} s these are behind (partition: consumed, head): {behind}")

    async def consumed(self) -> dict[int, int]:
        return {r[0]: r[1] for r in await self.reader.pool.fetch("select partition, next_position from consumed")}

    async def heads(self) -> dict[int, int]:
        return {r[0]: r[1] for r in await self.writer.pool.fetch("select partition, next_position from log_head")}

    async def behind(self) -> dict[int, tuple[int, int]]:
        heads = await self.heads()
        consumed = await self.consumed()
        return {p: (consumed[p], at) for p, at in heads.items() if consumed[p] != at}

    def relay(self) -> Relay:
        return Relay(self.writer, self.broker.bootstrap, self.topic)

    def consumer(self, apply: Apply | None = None, **options: Any) -> Consumer:
        """Of all partitions, fixed or as its group shares them, with the report straight to the writer; the options may say otherwise."""
        partitions = None if self.shared else range(self.partitions)
        settings: dict[str, Any] = {"report": self.report, "group": self.group, "partitions": partitions, **options}
        return Consumer(self.reader, self.broker.bootstrap, self.topic, apply or record_effect, **settings)

    async def places(self) -> list[Position]:
        rows = await self.reader.pool.fetch("select partition, next_position, encode(chain, 'hex'), asks from consumed order by 1")
        return [Position(*row) for row in rows]

    async def until_consumed(self, partition: int, position: int) -> None:
        async with asyncio.timeout(15):
            while (await self.consumed())[partition] < position:
                await asyncio.sleep(0.02)

    async def until_adopted(self) -> None:
        async with asyncio.timeout(15):
            while any(place.chain is None for place in await self.places()):
                await asyncio.sleep(0.02)

    async def until_published(self) -> None:
        async with asyncio.timeout(15):
            while await self._unpublished():
                await asyncio.sleep(0.02)

    async def _unpublished(self) -> int:
        async with self.writer.read() as read:
            return await unpublished(read, self.topic)

    async def verify(self) -> int:
        """Nothing lost, nothing doubled, nothing changed, in order, in numbered batches -> how many records."""
        count = 0
        for partition in range(self.partitions):
            said = await self.writer.pool.fetch("select position, value from log where partition = $1 order by position", partition)
            done = await self.reader.pool.fetch("select position, value, batch_no from effect where partition = $1 order by seq", partition)
            assert [r["position"] for r in said] == list(range(len(said))), "the log has a gap"
            positions = [r["position"] for r in done]
            assert len(set(positions)) == len(positions), f"doubled in {partition}: {len(positions) - len(set(positions))}"
            assert len(positions) == len(said), f"lost in {partition}: {len(said) - len(positions)} of {len(said)}"
            assert positions == sorted(positions), f"order in {partition}"
            assert [r["value"] for r in done] == [r["value"] for r in said]
            assert [r["batch_no"] for r in done] == sorted(r["batch_no"] for r in done)
            count += len(said)
        return count

    async def watermark_is_true(self) -> None:
        """Everything that was appended before the watermark has been taken; an append of ours commits within a quarter of a second."""
        reached = await self.reader.pool.fetchval("select reached from watermark")
        if reached is None:
            return
        consumed = await self.consumed()
        committed = await self.writer.pool.fetch(
            "select partition, max(position) from log where appended_at < $1::timestamptz - interval '250 ms' group by 1", reached
        )
        ahead = {p: (consumed[p], at) for p, at in committed if consumed[p] <= at}
        assert not ahead, f"watermark {reached} is ahead of (partition: consumed, appended): {ahead}"


async def record_effect(tx: Write, batch: Batch) -> None:
    rows = [(batch.partition, batch.batch_no, r.position, r.value) for r in batch.records]
    await tx.copy_records_to_table("effect", records=rows, columns=("partition", "batch_no", "position", "value"))


def ddl(*declare: Callable[[MetaData], None]) -> list[str]:
    metadata = MetaData()
    for tables in declare:
        tables(metadata)
    return [str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in metadata.sorted_tables]  # type: ignore[no-untyped-call]


async def as_owner(dsn: str, *statements: str) -> None:
    """What a migration does."""
    async with asyncio.timeout(20):
        pg = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                await pg.execute(statement)
        finally:
            await pg.close()


def grants(role: str, tables: Sequence[str]) -> str:
    return f"grant update, delete on {', '.join(tables)} to {role}"


class Databases(NamedTuple):
    """The writer's and the reader's, with their tables and grants, empty of logs."""

    ingest: Dsns
    subsidy: Dsns


async def databases(make_database: MakeDatabase) -> Databases:
    ingest, subsidy = await make_database("ingest"), await make_database("subsidy")
    await as_owner(ingest.owner, *ddl(writer_tables), grants("ingest_app", WRITER_MUTABLE))
    await as_owner(subsidy.owner, *ddl(reader_tables), EFFECT, grants("subsidy_app", READER_MUTABLE))
    return Databases(ingest, subsidy)


@contextlib.asynccontextmanager
async def new_log(there: Databases, kafka: Broker, partitions: int = 2, *, shared: bool = False) -> AsyncIterator[Log]:
    """An empty log on a topic of its own, with its reader; everything runs as the application roles."""
    await as_owner(there.ingest.owner, f"truncate {', '.join(WRITER_TABLES)}")
    await as_owner(there.subsidy.owner, "truncate consumed, watermark, effect")
    writer, reader = await Database(there.ingest.app).open(), await Database(there.subsidy.app).open()
    log = Log(f"tongcun.test-{secrets.token_hex(4)}.v1", kafka, partitions, writer, reader, there.ingest.owner, shared)
    try:
        async with writer.write() as tx:
            await create_partitions(tx, log.topic, partitions)
        async with reader.write() as tx:
            await create_reader(tx, log.topic, partitions)
        yield log
    finally:
        await writer.close()
        await reader.close()


async def until(condition: Callable[[], bool], within_s: float = 15) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(*runs: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[asyncio.Event]:
    """Relays and consumers in this process, stopped at the end; a Stalled one fails the test."""
    stop = asyncio.Event()
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        for run in runs:
            tasks.create_task(_until(run, stop))
        try:
            yield stop
        finally:
            stop.set()


async def _until(run: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
    await run(stop)
