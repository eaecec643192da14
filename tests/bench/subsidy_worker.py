"""`subsidy.worker.spread`, `.adjacent`, `.kafka`, `.2` and `.4`: events per second from records in the broker to committed payouts.

A parcel's scans come in at least six batches, for `.adjacent` together; `.kafka` is `.spread` with Apache Kafka in the broker's place;
`.2` and `.4` are `.spread` with so many worker processes, each with its share of the partitions: their floor is one process, same run.

The floor is a bare COPY of rows of the same shape into the same evidence table (its keys, its indexes, 1,000,000 rows in it), in batches
of the same size, on one connection. The worker is a process of its own, as in production; only the writer's answer to its report is
given here, since no ingest runs.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import uvloop

from services.subsidy.migrate import install
from services.subsidy.repository.batch import EVIDENCE_COLUMNS
from services.subsidy.service.evidence import Scan, read_value
from services.subsidy.settings import POLICIES
from services.subsidy.worker import POOL, consumers, without_cycles
from shared import identity, kafka
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.registry import Level
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.contracts.scan import ScanEvent
from shared.db import Database
from shared.log import Position, Report, Reporter
from shared.log.chain import HEADER, extend, link
from shared.sites import site_id
from tests.integration import subsidy_books as county

PARTITIONS = 4
PARCELS = 21_000  # more than BATCH in each partition: scans of a parcel are then never in one batch
BATCH = 5_000  # records of one transaction: shared.log.consume.MAX_RECORDS
PRELOADED = 1_000_000
ORIGIN = b"\7" * 32
STATIONS = [f"{name}村便民服务点" for name in map(str, range(1, 72))]
STAGES = ("picked_up", "departed", "arrived", "out_for_delivery", "station_inbound", "station_pickup")
OUT_OF_ORDER = 0.10  # of events


def parcel(n: int, series: str, random: Random) -> list[ScanEvent]:
    """Six scans of one parcel, in order, within three days of July 2023."""
    at = county.at(random.randint(1, 28), random.randint(6, 20), random.randint(0, 59)) + timedelta(seconds=random.randint(0, 59))
    events: list[ScanEvent] = []
    for stage, action in enumerate(STAGES):
        site = random.choice(STATIONS) if stage == 4 else (events[-1].site_name if stage == 5 else f"{action}·{random.randint(1, 40)}号")
        events.append(county.scan(f"{series}{n:09d}", action, at, site))
        at += timedelta(minutes=random.randint(20, 700))
    return events


def stream(parcels: Sequence[list[ScanEvent]], adjacent: bool, random: Random) -> dict[int, list[ScanEvent]]:
    """-> the scans of each partition in the order of the log."""
    found: dict[int, list[ScanEvent]] = {p: [] for p in range(PARTITIONS)}
    by_partition: dict[int, list[list[ScanEvent]]] = {p: [] for p in range(PARTITIONS)}
    for events in parcels:
        by_partition[identity.partition_of(identity.parcel_key("zto", events[0].waybill_no), PARTITIONS)].append(events)
    for partition, mine in by_partition.items():
        for events in mine:
            for i in range(len(events) - 1):
                if random.random() < OUT_OF_ORDER:  # changes places with the next one
                    events[i], events[i + 1] = events[i + 1], events[i]
        if adjacent:
            found[partition] = [e for events in mine for e in events]
            continue
        assert len(mine) > BATCH, "two scans of a parcel would share a batch"
        for stage in range(len(STAGES)):  # all parcels pass a stage before the next one: at least six batches
            found[partition] += [events[stage] for events in mine]
    return found


def _scan(event: ScanEvent) -> Scan:
    scan = read_value(msgspec.json.encode(event))
    assert isinstance(scan, Scan), "the bench tells only what can be read"
    return scan


def rows_of(events: Sequence[ScanEvent], partition: int, batch_no: int = 0) -> Iterator[tuple[object, ...]]:
    for position, event in enumerate(events):
        yield (*_scan(event).row, position, partition, batch_no)


async def publish(bootstrap: str, topic: str, values: dict[int, list[bytes]]) -> dict[int, bytes]:
    """Records as the relay makes them -> the last chain of each partition."""
    await kafka.ensure_topic(bootstrap, topic, len(values))
    chains = {}
    async with kafka.producer(bootstrap) as producer:
        for partition, mine in values.items():
            chain, n = ORIGIN, 0
            while n < len(mine):
                batch = producer.create_batch()
                while n < len(mine):
                    after = extend(chain, mine[n])
                    if batch.append(key=b"k", value=mine[n], timestamp=None, headers=[(HEADER, link(n, after))]) is None:
                        break
                    chain, n = after, n + 1
                await (await producer.send_batch(batch, topic, partition=partition))
            chains[partition] = chain
    return chains


# Rows of the same shape, made by the server: six scans of each parcel, at the same sites.
PRELOAD = """
insert into evidence (parcel_key, event_id, content, mapping_version, partition, batch_no, position, feed, action, scanned_at, site_id,
    verdict, receipt_id, raw_action, received_at, site_namespace, site_name, verified, payload_sha256)
select substr(sha256(convert_to('P' || n / 6, 'UTF8')), 1, 16), substr(sha256(convert_to('E' || n, 'UTF8')), 1, 16),
    sha256(convert_to('C' || n, 'UTF8')), 1, -2, 0, n, 'zto-yuanqu', ($1::text[])[1 + n % 6], at,
    ($2::bytea[])[1 + n % 71], 'accepted', 'rcp_a3', upper(($1::text[])[1 + n % 6]), at,
    'zto', ($3::text[])[1 + n % 71], 'hmac', sha256('push')
from generate_series(1, $4::int) n cross join lateral (select timestamptz '2023-07-01' + n % 2592000 * interval '1 s' as at) t
"""


async def preload(owner: Database) -> None:
    sites = [site_id("zto", None, name) for name in STATIONS]
    async with owner.write() as tx:
        await tx.execute(PRELOAD, list(STAGES), sites, STATIONS, PRELOADED)
    await owner.pool.execute("vacuum (analyze) evidence")


async def floor(app: Database, streams: dict[int, list[ScanEvent]]) -> float:
    """-> rows/s of bare COPY, one transaction a batch."""
    batches = []
    for partition, events in streams.items():
        rows = list(rows_of(events, partition))
        batches += [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    started = time.perf_counter()
    for rows in batches:
        async with app.write() as tx:
            await tx.copy_records_to_table("evidence", records=rows, columns=EVIDENCE_COLUMNS)
    return sum(map(len, batches)) / (time.perf_counter() - started)


def registry() -> list[Any]:
    """A hub, 71 village stations, their divisions and operator."""
    records = county.county()[:-1]
    hub = county.station("stn_hub", level=Level.COUNTY_HUB, aliases=[county.alias(f"arrived·{n}号") for n in range(1, 41)])
    villages = [
        county.station(f"stn_{n}", aliases=[county.alias(name)], filings=[county.filing(county.at(10))] if n % 3 == 0 else [])
        for n, name in enumerate(STATIONS)
    ]
    return [*records, hub, *villages]


async def measure(app_dsn: str, bootstrap: str, app: Database, streams: dict[int, list[ScanEvent]], processes: int = 1) -> float:
    """-> events/s from the start of the first worker's clients to the last commit."""
    heads = [len(streams[p]) for p in range(PARTITIONS)]
    async with app.write() as tx:
        await tx.execute("update consumed set next_position = 0, kafka_offset = 0, chain = $2 where topic = $1", SCANS_TOPIC, ORIGIN)
    await publish(bootstrap, SCANS_TOPIC, {p: [msgspec.json.encode(e) for e in events] for p, events in streams.items()})
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.subsidy_worker", app_dsn, bootstrap, ",".join(map(str, heads)),
            ",".join(str(p) for p in range(PARTITIONS) if p % processes == n), stdout=asyncio.subprocess.PIPE,
        )
        for n in range(processes)
    ]  # fmt: skip
    try:
        async with asyncio.timeout(300):
            began = [float(await worker.stdout.readline()) for worker in workers if worker.stdout]
            started = datetime.fromtimestamp(min(began), UTC)
            while await app.pool.fetchval("select coalesce(sum(next_position), 0) from consumed where topic = $1", SCANS_TOPIC) < sum(
                heads
            ):
                await asyncio.sleep(0.1)
            ended = await app.pool.fetchval("select max(recorded_at) from batch")
    finally:
        for worker in workers:
            worker.terminate()
            await worker.wait()
    elapsed_s: float = (ended - started).total_seconds()
    return sum(heads) / elapsed_s


async def run(owner_dsn: str, app_dsn: str, restart_broker: Any, names: Sequence[str], *, parcels: int = PARCELS) -> list[dict[str, Any]]:
    """The figures called `names`. `restart_broker`: async, gives the bootstrap address of a broker without topics. Takes about a minute."""
    random = Random(7)
    await install(owner_dsn, PARTITIONS, POLICIES)
    owner, app = await Database(owner_dsn, max_size=2).open(), await Database(app_dsn, max_size=4).open()
    try:
        await preload(owner)
        await county.Books(app, PARTITIONS).change(*registry())
        await owner.pool.execute("update consumed set next_position = 1, chain = $2 where topic = $1", REGISTRY_TOPIC, ORIGIN)
        bare = await floor(app, stream([parcel(n, "F", random) for n in range(parcels)], False, random))
        figures: list[dict[str, Any]] = []
        for name in names:
            series = name.rpartition(".")[2][0].upper()  # waybill numbers of its own
            bootstrap = await restart_broker()
            streams = stream([parcel(n, series, random) for n in range(parcels)], name == "subsidy.worker.adjacent", random)
            processes = int(last) if (last := name.rpartition(".")[2]).isdigit() else 1
            speed = await measure(app_dsn, bootstrap, app, streams, processes)
            below = figures[0]["value"] if processes > 1 else bare
            paid = await app.pool.fetchval("select count(*) from payout where kind = 'accrual'")
            assert paid >= parcels, f"{paid} payouts of {parcels} parcels"
            figures.append(
                {
                    "name": name,
                    "value": round(speed),
                    "unit": "events/s",
                    "floor": round(below),
                    "ratio": round(speed / below, 3),
                }
            )
        return figures
    finally:
        await owner.close()
        await app.close()


async def _worker(dsn: str, bootstrap: str, heads: list[int], mine: list[int]) -> None:
    """The worker's consumers, with a writer that only answers where its heads are."""
    without_cycles()
    database = await Database(dsn, max_size=POOL).open()
    stop = asyncio.Event()
    sys.stdout.write(f"{time.time()}\n")
    sys.stdout.flush()

    def answers(published: list[int]) -> Reporter:
        async def report(positions: Sequence[Position]) -> Report:
            return Report(published, published, [ORIGIN.hex()] * len(published), [], datetime.now(UTC))

        return report

    scans, *_ = consumers(database, bootstrap, answers(heads), answers([1]), mine)
    await scans.run(stop)


if __name__ == "__main__":
    uvloop.run(_worker(sys.argv[1], sys.argv[2], *([int(n) for n in text.split(",")] for text in sys.argv[3:5])))
