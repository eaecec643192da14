"""`python -m tests.faults.runner relay|worker|writer`: one process of the log, to be killed or stopped by a test.

`TONGCUN_FAILPOINT=name:n` kills it at a commit boundary; `TONGCUN_TEST_STOP=n` stops it (SIGSTOP) in the middle of its n-th COPY,
`TONGCUN_TEST_STOP_AT=value` with that value in its hand, fetched and not yet stored.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence

import asyncpg

from shared.db import Database, Write
from shared.log import Batch, Consumer, Entry, Position, Relay, Report, append, heard
from tests.faults.harness import record_effect

WRITER, READER = os.environ["TONGCUN_TEST_WRITER"], os.environ["TONGCUN_TEST_READER"]
BROKER, TOPIC = os.environ["TONGCUN_TEST_BROKER"], os.environ["TONGCUN_TEST_TOPIC"]
PARTITIONS = int(os.environ["TONGCUN_TEST_PARTITIONS"])
STOP_AT = os.environ.get("TONGCUN_TEST_STOP_AT", "").encode()
stops = int(os.environ.get("TONGCUN_TEST_STOP", 0))


def halting(rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
    """The rows of a COPY, with a stop after enough of them that the server is in its midst."""
    global stops
    stops -= 1
    for i, row in enumerate(rows):
        if stops == 0 and i == len(rows) // 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        yield row


async def halting_effect(tx: Write, batch: Batch) -> None:
    """As record_effect; padding rows make the COPY long enough that it has begun on the server when we stop."""
    padding = [(-1, batch.batch_no, -1, b"x" * 1000)] * 2000 if stops == 1 else []
    rows = [(batch.partition, batch.batch_no, r.position, r.value) for r in batch.records]
    await tx.copy_records_to_table("effect", records=halting(padding + rows), columns=("partition", "batch_no", "position", "value"))


def halting_decode(value: bytes) -> None:
    if STOP_AT and value == STOP_AT:
        os.kill(os.getpid(), signal.SIGSTOP)


async def relay(stop: asyncio.Event) -> None:
    await Relay(await Database(WRITER).open(), BROKER, TOPIC).run(stop)


async def worker(stop: asyncio.Event) -> None:
    writer, reader = Database(WRITER), await Database(READER, application_name=f"worker {os.getpid()}").open()

    async def report(positions: Sequence[Position]) -> Report:
        try:
            writer.pool  # noqa: B018 - opened late: a worker starts while the writer is away
        except asyncpg.InterfaceError:
            await writer.open()
        return await heard(writer, "subsidy", TOPIC, positions)

    apply = halting_effect if stops else record_effect
    partitions = None if os.environ.get("TONGCUN_TEST_SHARED") else range(PARTITIONS)
    group = f"{TOPIC}.subsidy"
    await Consumer(reader, BROKER, TOPIC, apply, report, group=group, partitions=partitions, decode=halting_decode).run(stop)


async def writer(stop: asyncio.Event) -> None:
    """Appends until it stops in the middle of a COPY that holds all heads."""
    database = await Database(WRITER).open()
    n = 0
    while not stop.is_set():
        async with database.write() as tx:
            await append(database, tx, TOPIC, [Entry(p, b"key", b"w%d" % n) for p in range(PARTITIONS)])
            await tx.execute("create temp table if not exists t (v bytea)")
            await tx.copy_records_to_table("t", records=halting([(b"x" * 1000,)] * 2000), columns=("v",))
        n += 1
        await asyncio.sleep(0.05)


async def main(role: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await {"relay": relay, "worker": worker, "writer": writer}[role](stop)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
