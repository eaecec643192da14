"""`ingest.accept`: 100-event `/v1/scans` batches over HTTP to the acknowledgement, 20 % duplicates, against the real API.

Floor: bare `INSERT … ON CONFLICT RETURNING` of the same identity keys, 100 a statement and transaction, over as many connections as the
service's processes have together, into a table of the same shape in the same server. Both in a server that has run for a while, which
writes its log into segments that it has used before: as much is pushed before the clock starts as afterwards. Bodies are made before,
too; the client is as thin as it can be, since it shares the machine. Floor and figure are taken in turns, and the medians are told: the
speed of a virtual machine changes by the minute. A turn is long beside its beginning and end, when a commit finds few pushes to share it:
what is measured is a stream, not a burst.
"""

import asyncio
import contextlib
import random
import re
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec

from deploy.embedded.installation import Dsns
from shared import identity
from tests.bench.stream import send
from tests.ingest_support import configured, served

BATCH_EVENTS = 100
DUPLICATES = 0.2
SENDERS = 192  # connections that push at the same time: enough that no commit waits for senders
PROCESSES = 2  # of the API
ROUNDS = 5  # of floor and figure
FEED = "bench"

FLOOR_TABLE = "create table if not exists bench_identity (event_id uuid primary key, content bytea not null)"
FLOOR_INSERT = """
insert into bench_identity (event_id, content) select * from unnest($1::uuid[], $2::bytea[]) on conflict do nothing returning event_id
"""


@dataclass(frozen=True)
class Load:
    bodies: list[bytes]
    keys: list[tuple[list[UUID], list[bytes]]]  # the same events' identity keys, sorted within each batch


def load(batches: int, seed: int = 7) -> Load:
    """Events as a county's scanners send them; every fifth was sent before."""
    rng = random.Random(seed)
    sent: list[dict[str, Any]] = []
    bodies, keys = [], []
    for _ in range(batches):
        events = []
        for _ in range(BATCH_EVENTS):
            if sent and rng.random() < DUPLICATES:
                events.append(rng.choice(sent))
            else:
                events.append(_event(len(sent), rng))
                sent.append(events[-1])
        bodies.append(msgspec.json.encode({"events": events}))
        pairs = sorted({_key(e): _content(e) for e in events}.items())
        keys.append(([p[0] for p in pairs], [p[1] for p in pairs]))
    return Load(bodies, keys)


def _event(number: int, rng: random.Random) -> dict[str, Any]:
    return {
        "brand": "zto",
        "waybill_no": f"{73_100_000_000_000 + number // 4}",
        "action": ("arrived", "out_for_delivery", "station_inbound", "station_pickup")[number % 4],
        "raw_action": ("ARRIVAL", "DISPATCH", "INBOUND", "DEPARTURE_SIGNED")[number % 4],
        "scanned_at": f"2023-07-{rng.randrange(10, 29)}T{rng.randrange(10, 20)}:{rng.randrange(10, 60)}:{rng.randrange(10, 60)}+08:00",
        "site_name": f"第{rng.randrange(71)}村便民服务点",
        "destination": "140827100200",
        "weight_g": rng.randrange(100, 3000),
    }


def _key(event: dict[str, Any]) -> UUID:
    parcel = identity.parcel_key(event["brand"], event["waybill_no"])
    return identity.event_id("live", FEED, parcel, (event["raw_action"], event["scanned_at"], None, event["site_name"]))


def _content(event: dict[str, Any]) -> bytes:
    return _key(event).bytes * 2  # 32 bytes, as in the service


async def floor(pool: Sequence["asyncpg.Connection[asyncpg.Record]"], keys: Sequence[tuple[list[UUID], list[bytes]]]) -> float:
    """Events/s of the bare insert."""
    waiting = iter(keys)

    async def insert(pg: "asyncpg.Connection[asyncpg.Record]") -> None:
        for ids, contents in waiting:
            await pg.fetch(FLOOR_INSERT, ids, contents)

    started = time.perf_counter()
    await asyncio.gather(*(insert(pg) for pg in pool))
    return len(keys) * BATCH_EVENTS / (time.perf_counter() - started)


@contextlib.asynccontextmanager
async def connections(dsns: Dsns, count: int) -> AsyncIterator[list["asyncpg.Connection[asyncpg.Record]"]]:
    """With the floor's table there, and its statement prepared."""
    owner = await asyncpg.connect(dsns.owner)
    await owner.execute(FLOOR_TABLE)
    await owner.close()
    pool = [await asyncpg.connect(dsns.app) for _ in range(count)]
    for pg in pool:
        await pg.fetch(FLOOR_INSERT, [], [])
    yield pool
    for pg in pool:
        await pg.close()


async def push(url: str, token: str, bodies: Sequence[bytes]) -> tuple[float, int]:
    """(events/s, accepted) over SENDERS connections."""
    accepted = 0

    def seen(answer: bytes) -> None:
        nonlocal accepted
        found = re.search(rb'"accepted":(\d+)', answer)
        accepted += int(found[1]) if found else 0

    head = f"POST /v1/scans HTTP/1.1\nHost: bench\nAuthorization: {token}\nContent-Type: application/json\nContent-Length: %d\n\n"
    return await send(url, head, bodies, SENDERS, seen) * BATCH_EVENTS, accepted


def resident_mb(pid: int) -> float | None:
    """Of a process and its children, in memory; None where /proc does not tell."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(map(_resident_kb, [pid, *map(int, children)])) / 1024
    except OSError:
        return None


def _resident_kb(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


async def run(directory: Path, dsns: Dsns, superuser: str, *, partitions: int = 8, batches: int = 10_000) -> list[dict[str, Any]]:
    """The figure, for `make bench`. `dsns`: a migrated database of ingest; `directory`: an empty one for keys."""
    warm, measured = load(batches, seed=1), load(batches)
    private, settings = configured(
        directory, dsns, log_level="warning", backlog_events=1_000_000_000, partitions=partitions, processes=PROCESSES
    )
    async with served(private, settings) as api, httpx.AsyncClient(base_url=api.url) as client:
        feed = {"feed": FEED, "format": "canonical", "brands": ["zto"], "mode": "live"}
        (await client.post("/v1/feeds", json=feed, headers=api.bearer("admin"))).raise_for_status()
        token = api.bearer("brand", ("feed", FEED))["authorization"]
        await push(api.url, token, warm.bodies)
        await checkpoint(superuser)
        before = resident_mb(api.process.pid)
        rounds = []
        async with connections(dsns, settings.pool_size * settings.processes) as pool:
            for turn in range(ROUNDS):
                part = slice(turn * batches // ROUNDS, (turn + 1) * batches // ROUNDS)
                bare = await floor(pool, measured.keys[part])
                value, accepted = await push(api.url, token, measured.bodies[part])
                assert accepted, "nothing was new"
                rounds.append((value / bare, value, bare))
        after = resident_mb(api.process.pid)
    ratio, value, bare = map(statistics.median, zip(*rounds, strict=True))
    grown = None if before is None or after is None else round(after - before, 1)
    return [
        {"name": "ingest.accept", "value": round(value), "unit": "events/s", "floor": round(bare), "ratio": round(ratio, 3)},
        {"name": "ingest.rss", "value": grown, "unit": "MB", "floor": None, "ratio": None},  # of all processes, over the measured events
    ]


async def checkpoint(superuser: str) -> None:
    """Also what makes used segments of the server's log ready to be used again."""
    pg = await asyncpg.connect(superuser)
    await pg.execute("checkpoint")
    await pg.close()
