"""A worker of a group ends, is killed, or stands still: the others have its partitions within a stated time, and it writes nothing more."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

import pytest

from shared.kafka import SESSION_S
from tests.faults.harness import FIGURES, Log
from tests.faults.processes import Process, processes

pytest_plugins = ("tests.faults.log_fixtures",)
pytestmark = pytest.mark.parametrize("log", ["shared"], indirect=True)

JOIN_S = 5  # all members notice, join again and seek: the embedded broker lets three seconds pass for whoever else may come
SLACK_S = 5  # for a loaded machine


async def at_work(log: Log, *names: str) -> None:
    """Until each of them has taken something of a round, and all of it is taken."""
    async with asyncio.timeout(60):
        while True:
            at = await log.reader.pool.fetchval("select coalesce(max(seq), 0) from effect")
            await log.append([b"round"] * 10)
            await log.drained(within_s=60)
            if {r["who"] for r in await log.reader.pool.fetch("select distinct who from effect where seq > $1", at)} == set(names):
                return
            await asyncio.sleep(0.3)


@contextlib.asynccontextmanager
async def two(log: Log) -> AsyncIterator[tuple[Process, Process]]:
    """Two workers that share the work. One after the other: nobody leaves the embedded broker's first generation, whose number is 0."""
    relay, one, other = Process("relay", log), Process("worker", log), Process("worker", log)
    with processes(relay, one, other):
        relay.start()
        one.start()
        await at_work(log, one.name)
        other.start()
        await at_work(log, one.name, other.name)
        yield one, other


async def handed_over(log: Log, what: str, within_s: float) -> None:
    """What is said from now on is taken, all of it, in time."""
    began = time.monotonic()
    await log.append([b"next"] * 100)
    await log.drained(within_s + SLACK_S)
    FIGURES.append(f"{what}: the other worker had everything {time.monotonic() - began:.1f} s later (stated: {within_s:.0f} s)")


async def test_a_worker_that_is_told_to_stop_or_is_killed_hands_over(log: Log) -> None:
    async with two(log) as (one, other):
        one.signal(signal.SIGTERM)
        await handed_over(log, "worker told to stop", JOIN_S)
        assert await one.died(within_s=5)
        one.start()
        await at_work(log, one.name, other.name)
        one.kill()
        await handed_over(log, "worker killed", SESSION_S + JOIN_S)
    assert await log.verify() > 200


async def test_a_zombie_writes_nothing_of_what_it_holds(log: Log) -> None:
    """It stands still with a batch in its hand until its session is long over and another has taken that batch; then it goes on."""
    relay, zombie, other = Process("relay", log), Process("worker", log, TONGCUN_TEST_STOP_AT="stop"), Process("worker", log)
    with processes(relay, zombie, other):
        relay.start()
        zombie.start()
        await log.append([b"a"] * 10)
        await log.drained(within_s=60)
        (position,) = await log.append([b"stop"], partition=0)
        await log.append([b"held"] * 10, partition=0)
        async with asyncio.timeout(15):
            while not zombie.stopped:
                await asyncio.sleep(0.02)
        other.start()
        await handed_over(log, "worker stopped by SIGSTOP", SESSION_S + JOIN_S + 5)
        zombie.signal(signal.SIGCONT)
        await at_work(log, zombie.name, other.name)
    writers = await log.reader.pool.fetch(
        "select distinct who from effect where partition = 0 and position between $1 and $1 + 10", position
    )
    assert [r["who"] for r in writers] == [other.name]
    assert await log.verify() > 100
