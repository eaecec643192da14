"""The subsidy worker as it is deployed, between a real log, a real broker and real books: kills, and two of it at once."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.embedded.installation import free_port
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.registry import AnyRecord, RegistryChange
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.contracts.scan import ScanEvent
from shared.db import Database
from shared.identity import parcel_key, partition_of
from shared.log import WRITER_MUTABLE, Entry, Relay, append, create_partitions, heard, positions_from_json, report_to_json, writer_tables
from tests.conftest import MakeDatabase
from tests.faults.harness import FIGURES, ROOT, Broker, as_owner, broker, ddl, grants, running
from tests.integration.subsidy_books import OPENED, PARTITIONS, RESET, Books, alias, at, audit, county, filing, scan, station
from tests.poison import KINDS

pytest_plugins = ("tests.integration.subsidy_fixtures",)
BOUNDARIES = ("worker.after_cas:3", "worker.before_commit:1", "worker.before_commit:7", "worker.after_commit:2", "worker.after_commit:6")


class Writer:
    """Both logs, each in a database of its own, their relays, and the address that the worker reports to."""

    def __init__(self, scans: Database, registry: Database, kafka: Broker) -> None:
        self.scans, self.registry, self.kafka = scans, registry, kafka
        self.port = free_port()

    async def tell(self, *events: ScanEvent) -> None:
        await self.log(entry_of(event) for event in events)

    async def log(self, entries: Iterable[Entry]) -> None:
        async with self.scans.write() as tx:
            await append(self.scans, tx, SCANS_TOPIC, list(entries))

    async def change(self, *records: AnyRecord) -> None:
        value = msgspec.json.encode(RegistryChange(recorded_at=OPENED, actor="test", reason=None, records=records))
        async with self.registry.write() as tx:
            await append(self.registry, tx, REGISTRY_TOPIC, [Entry(0, b"k", value)])

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async def reported(request: Request) -> Response:
            ingest = request.path_params["service"] == "ingest"
            database, topic = (self.scans, SCANS_TOPIC) if ingest else (self.registry, REGISTRY_TOPIC)
            report = await heard(database, request.path_params["name"], topic, positions_from_json(await request.body()))
            return Response(report_to_json(report), media_type="application/json")

        routes = [Route("/{service}/v1/log/consumers/{name}", reported, methods=["PUT"])]
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=self.port, log_config=None, lifespan="off"))
        logs = (self.scans, SCANS_TOPIC), (self.registry, REGISTRY_TOPIC)
        relays = [Relay(database, self.kafka.bootstrap, topic).run for database, topic in logs]
        async with running(*relays):
            serving = asyncio.create_task(server.serve())
            try:
                yield
            finally:
                server.should_exit = True
                await serving


def entry_of(event: ScanEvent) -> Entry:
    key = parcel_key(event.brand, event.waybill_no)
    return Entry(partition_of(key, PARTITIONS), key, msgspec.json.encode(event))


class Worker:
    """`python -m services.subsidy.worker`."""

    def __init__(self, dsn: str, writer: Writer, partitions: str = f"0-{PARTITIONS - 1}") -> None:
        self._environment = os.environ | {
            "TONGCUN_DATABASE_URL": dsn,
            "TONGCUN_KAFKA_BOOTSTRAP": writer.kafka.bootstrap,
            "TONGCUN_JWKS": "unused",
            "TONGCUN_INGEST_URL": f"http://127.0.0.1:{writer.port}/ingest",
            "TONGCUN_REGISTRY_URL": f"http://127.0.0.1:{writer.port}/registry",
            "TONGCUN_SERVICE_TOKEN": "unused",
            "TONGCUN_SCAN_PARTITIONS": partitions,  # of its own unless told otherwise: a kill then waits for no group
        }

    @contextlib.asynccontextmanager
    async def running(self, failpoint: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.subsidy.worker", cwd=ROOT, env=self._environment | {"TONGCUN_FAILPOINT": failpoint}
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.fixture(scope="module")
async def logs(make_database: MakeDatabase) -> list[Any]:
    """Of the scans, of the registry."""
    made = [await make_database(service) for service in ("ingest", "registry")]
    for service, dsns in zip(("ingest", "registry"), made, strict=True):
        await as_owner(dsns.owner, *ddl(writer_tables), grants(f"{service}_app", WRITER_MUTABLE))
    return made


@pytest.fixture
async def writer(logs: list[Any], subsidy_dsns: Any) -> AsyncIterator[Writer]:
    """Empty logs, a broker of their own, and empty books; the policies are active."""
    for dsns in logs:
        await as_owner(dsns.owner, "truncate log, log_head, log_relay, log_consumer")
    keep = RESET.replace("declaration_withdrawal, policy,", "declaration_withdrawal,").replace(
        "version = 0;", "version = case when topic = 'tongcun.registry.v1' then 1 else 0 end;"
    )
    await as_owner(subsidy_dsns.owner, keep, "insert into batch values (-1, 1, 0, null, 1, now()); update books_head set revision = 1")
    async with contextlib.AsyncExitStack() as opened:
        scans, registry = [await Database(dsns.app, max_size=16).open() for dsns in logs]
        opened.push_async_callback(scans.close)
        opened.push_async_callback(registry.close)
        for database, topic, partitions in (scans, SCANS_TOPIC, PARTITIONS), (registry, REGISTRY_TOPIC, 1):
            async with database.write() as tx:
                await create_partitions(tx, topic, partitions)
        with broker() as kafka:
            made = Writer(scans, registry, kafka)
            async with made.serving():
                yield made


@pytest.fixture
async def read_books(subsidy_dsns: Any) -> AsyncIterator[Books]:
    database = await Database(subsidy_dsns.app, max_size=4).open()
    yield Books(database)
    await database.close()


HEADS = "select topic, partition, next_position from log_head"
UNDONE = "select (select count(*) from reassessment where done_batch_no is null) as tasks, (select count(*) from watermark) as watermarks"


async def drained(writer: Writer, books: Books, within_s: float = 60) -> None:
    """Every position of both logs is on the books, and nothing is left to assess again."""
    async with asyncio.timeout(within_s):
        while True:
            told = [await log.pool.fetch(HEADS) for log in (writer.scans, writer.registry)]
            heads = sorted(tuple(head) for log in told for head in log)
            places = await books.database.pool.fetch("select topic, partition, next_position from consumed order by 1, 2")
            left = await books.rows(UNDONE)
            if heads == sorted(tuple(p) for p in places) and left == [{"tasks": 0, "watermarks": 2}]:
                return
            await asyncio.sleep(0.1)


def month(parcels: Iterable[int]) -> list[ScanEvent]:
    """Five scans of each parcel, of which one is elsewhere."""
    return [
        event
        for i in parcels
        for event in (
            scan(f"K{i}", "arrived", at(10), "县城"), scan(f"K{i}", "station_inbound", at(12 + i % 5)),
            scan(f"K{i}", "station_pickup", at(20)), scan(f"K{i}", "station_inbound", at(11), "陌生地方"),
            scan(f"K{i}", "returned" if i % 9 == 0 else "departed", at(21), None),
        )
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def telling(writer: Writer) -> AsyncIterator[list[ScanEvent]]:
    """Meanwhile tell four more parcels every 0.15 s, and once that a place has got a name -> what was told."""
    told: list[ScanEvent] = []
    enough = asyncio.Event()

    async def tell() -> None:
        for n in itertools.count():
            if enough.is_set():  # never in the middle: what was committed must be among what was told
                return
            events = month(range(4 * n, 4 * n + 4))
            await writer.tell(*events)
            told.extend(events)
            if n == 15:
                await writer.change(station(filings=[filing(at(13))], aliases=[alias("上王村便民服务点"), alias("陌生地方")], version=2))
            await asyncio.sleep(0.15)

    await writer.change(*county())
    task = asyncio.create_task(tell())
    try:
        yield told
    finally:
        enough.set()
        await task


async def everything_is_on_the_books(books: Books, events: Sequence[ScanEvent]) -> None:
    stored = await books.rows("select count(*) as n, count(distinct (partition, position)) as positions from evidence")
    assert stored == [{"n": len(events), "positions": len(events)}]
    await audit(books)


async def test_killed_at_every_commit_boundary(writer: Writer, subsidy_dsns: Any, read_books: Books) -> None:
    """Nothing lost, nothing doubled: the audit recomputes every parcel and both kinds of totals."""
    worker = Worker(subsidy_dsns.app, writer)
    async with telling(writer) as events:
        for boundary in BOUNDARIES:
            async with worker.running(boundary) as process, asyncio.timeout(60):
                assert await process.wait() == -signal.SIGKILL, boundary
    async with worker.running() as process:
        await drained(writer, read_books)
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    await everything_is_on_the_books(read_books, events)


async def test_two_workers_on_the_same_partitions_write_nothing_twice(writer: Writer, subsidy_dsns: Any, read_books: Books) -> None:
    worker = Worker(subsidy_dsns.app, writer)
    async with worker.running(), worker.running():
        async with telling(writer) as events:
            await asyncio.sleep(6)
        await drained(writer, read_books)
    await everything_is_on_the_books(read_books, events)


async def test_two_workers_of_a_group_share_both_logs_and_one_is_killed(writer: Writer, subsidy_dsns: Any, read_books: Books) -> None:
    worker = Worker(subsidy_dsns.app, writer, "group")
    async with worker.running() as one, worker.running():
        async with telling(writer) as events:
            await something_is_on_the_books(read_books)
            one.kill()
            await asyncio.sleep(3)
        await drained(writer, read_books)
    await everything_is_on_the_books(read_books, events)


@pytest.mark.parametrize(
    "apart", [100, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])], ids=lambda n: f"one in {n:,}"
)
async def test_poison_is_set_aside_once_whenever_the_worker_is_killed(
    apart: int, writer: Writer, subsidy_dsns: Any, read_books: Books
) -> None:
    """Every kind of value that cannot be read, one in so many: all set aside with their reasons, all others paid, nothing left to take."""
    await writer.change(*county())
    expected = []
    for n, (make, reason) in enumerate(KINDS.values()):
        entries = [entry_of(scan(f"K{n}-{i}")) for i in range(apart - 1)]
        spoilt = entries[n * 7 % len(entries)]
        expected.append((spoilt.partition, reason, sha256(make(spoilt.value)).digest()))
        await writer.log([*entries, Entry(spoilt.partition, spoilt.key, make(spoilt.value))])
    worker = Worker(subsidy_dsns.app, writer)
    for boundary in ("worker.before_commit:1", "worker.after_commit:2"):
        async with worker.running(boundary) as process, asyncio.timeout(60):
            assert await process.wait() == -signal.SIGKILL, boundary
    async with worker.running():
        await drained(writer, read_books, within_s=60 + apart / 20)
    aside = await read_books.rows("select partition, reason_code, sha256 from set_aside")
    assert sorted(tuple(row.values()) for row in aside) == sorted(expected)
    paid = await read_books.rows("select net_fen, count(*)::int as n from parcel group by 1")
    assert paid == [{"net_fen": 36, "n": len(KINDS) * (apart - 1)}]
    if apart == 100:
        await audit(read_books)
    FIGURES.append(
        f"poison: {len(KINDS)} kinds, one in {apart:,} of {len(KINDS) * apart:,} events: all set aside, lag 0 again, the rest paid"
    )


async def something_is_on_the_books(books: Books, within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not await books.rows("select from evidence limit 1"):
            await asyncio.sleep(0.1)
