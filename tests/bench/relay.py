"""`ingest.relay` (embedded broker), `ingest.relay.kafka`: events per second from the log in PostgreSQL to acknowledged by the broker, the
cursors moved.

The log is full when the relay starts, as a process of its own; that it sets up its clients counts. The floor is a bare producer with the
same settings in such a process: `send_batch` of the same keys, values and headers, ready in memory, to a topic of as many partitions, one
batch of each on its way at a time. It reads nothing and remembers nothing.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec
import uvloop
from aiokafka import AIOKafkaProducer

from deploy.embedded.installation import Dsns
from services.ingest.migrate import install
from shared import identity, kafka
from shared.contracts.scan import TOPIC
from shared.db import Database
from shared.log import Entry, Relay, append
from shared.log.chain import HEADER, link
from tests.bench.subsidy_worker import parcel

PARTITIONS = 8
PARCELS = 50_000  # six events each
APPENDED_AT_ONCE = 5_000
FLOOR_TOPIC = "tongcun.bench-floor.v1"
WITHIN_S = 300
POOL = 3  # as services.ingest.worker

ALL = "select partition, position, key, value, chain from log order by partition, position"
PUBLISHED = "select sum(next_position)::bigint from log_relay where topic = $1"


class Ready(NamedTuple):
    """A record as a batch takes it."""

    key: bytes
    value: bytes
    header: bytes


async def fill(database: Database, parcels: int) -> int:
    """-> how many events the log holds."""
    random, count = Random(7), 0
    entries: list[Entry] = []
    for n in range(parcels):
        for event in parcel(n, "R", random):
            key = identity.parcel_key(event.brand, event.waybill_no)
            entries.append(Entry(identity.partition_of(key, PARTITIONS), key, msgspec.json.encode(event)))
        if len(entries) >= APPENDED_AT_ONCE or n == parcels - 1:
            async with database.write() as tx:
                await append(database, tx, TOPIC, entries)
            count += len(entries)
            entries = []
    return count


async def bare(dsn: str, bootstrap: str) -> float:
    """-> seconds that it takes to send what the log holds."""
    database = await Database(dsn, max_size=1).open()
    ready: dict[int, list[Ready]] = {p: [] for p in range(PARTITIONS)}
    for partition, position, key, value, chain in await database.pool.fetch(ALL):
        ready[partition].append(Ready(key, value, link(position, chain)))
    await database.close()
    await kafka.ensure_topic(bootstrap, FLOOR_TOPIC, PARTITIONS)
    async with kafka.producer(bootstrap) as producer:
        await asyncio.gather(*(_send(producer, partition, records[:1]) for partition, records in ready.items()))  # until each has a leader
        started = time.perf_counter()
        await asyncio.gather(*(_send(producer, partition, records) for partition, records in ready.items()))
        return time.perf_counter() - started


async def _send(producer: AIOKafkaProducer, partition: int, records: Sequence[Ready]) -> None:
    sent = 0
    while sent < len(records):
        batch = producer.create_batch()
        while sent < len(records):
            key, value, header = records[sent]
            if batch.append(timestamp=None, key=key, value=value, headers=[(HEADER, header)]) is None:
                break
            sent += 1
        await (await producer.send_batch(batch, FLOOR_TOPIC, partition=partition))


async def relayed(dsn: str, bootstrap: str) -> float:
    """-> seconds from the start of the relay until its cursors stand at the heads."""
    database = await Database(dsn, max_size=POOL).open()
    async with database.read() as read:
        wanted = await read.fetchval("select sum(next_position)::bigint from log_head where topic = $1", TOPIC)
    stop = asyncio.Event()
    started = time.perf_counter()
    relay = asyncio.create_task(Relay(database, bootstrap, TOPIC).run(stop))
    async with asyncio.timeout(WITHIN_S):
        while await database.pool.fetchval(PUBLISHED, TOPIC) < wanted:
            await asyncio.sleep(0.02)
    took_s = time.perf_counter() - started
    stop.set()
    await relay
    await database.close()
    return took_s


ROLES: dict[str, Callable[[str, str], Awaitable[float]]] = {"bare": bare, "relayed": relayed}


async def _alone(role: str, dsn: str, bootstrap: str) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.relay", role, dsn, bootstrap, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return float(said)


async def run(dsns: Dsns, restart_broker: Callable[[], Awaitable[str]], name: str, *, parcels: int = PARCELS) -> list[dict[str, Any]]:
    """The figure called `name`. `dsns`: an empty database; `restart_broker` gives the bootstrap address of a broker without topics."""
    await install(dsns.owner, PARTITIONS)
    app = await Database(dsns.app, max_size=2).open()
    count = await fill(app, parcels)
    await app.close()
    floor = count / await _alone("bare", dsns.app, await restart_broker())
    value = count / await _alone("relayed", dsns.app, await restart_broker())
    return [{"name": name, "value": round(value), "unit": "events/s", "floor": round(floor), "ratio": round(value / floor, 3)}]


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # a topic just made has no leader yet, and the client says so
    sys.stdout.write(f"{uvloop.run(ROLES[sys.argv[1]](*sys.argv[2:]))}\n")  # type: ignore[arg-type]
