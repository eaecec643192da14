"""Two dozen kills at commit boundaries, and the broker born again empty meanwhile: nothing lost, nothing doubled, order kept."""

import asyncio

from shared import failpoints
from tests.conftest import MakeDatabase
from tests.faults.harness import Broker, Log, broker, databases, new_log, survived
from tests.faults.processes import Process, processes, writing

RELAY = [name for name in failpoints.NAMES if name.startswith("relay.")]
WORKER = [name for name in failpoints.NAMES if name.startswith("worker.")]
PASSES = (1, 2, 5)  # at which pass of the failpoint it strikes: the first after a start, and in full flow
REBIRTHS = 3


async def die_at_each(process: Process, names: list[str]) -> int:
    """Start it armed, again and again -> how often it died; then start it unarmed."""
    for passes in PASSES:
        for name in names:
            process.start(TONGCUN_FAILPOINT=f"{name}:{passes}")
            assert await process.died(within_s=30), f"{process.role} never passed {name} {passes} times"
    process.start()
    return process.deaths


async def bear_again(kafka: Broker, done: asyncio.Event) -> None:
    for _ in range(REBIRTHS):
        await asyncio.sleep(4)
        kafka.reborn()
    done.set()


async def test_killed_at_every_commit_boundary(make_database: MakeDatabase) -> None:
    with broker() as kafka:
        async with new_log(await databases(make_database), kafka, partitions=3) as log:
            relay, worker = Process("relay", log), Process("worker", log)
            with processes(relay, worker):
                deaths = await kill_while_writing(log, relay, worker)
                drained_s = await log.drained(within_s=40)
                await log.watermark_is_true()
            events = await log.verify()
    kills = deaths + REBIRTHS
    survived("killed at commit boundaries, broker born again", kills, events, drained_s)
    assert deaths == len(PASSES) * (len(RELAY) + len(WORKER))


async def kill_while_writing(log: Log, relay: Process, worker: Process) -> int:
    reborn = asyncio.Event()
    async with writing(log) as written, asyncio.timeout(80):
        deaths = await asyncio.gather(die_at_each(relay, RELAY), die_at_each(worker, WORKER), bear_again(log.broker, reborn))
        assert written[0] > 1000, "the writer was not in flow"
    assert reborn.is_set()
    return deaths[0] + deaths[1]
