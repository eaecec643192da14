"""`make faults`: many kills, zombies, two of each, a topic made anew, a writer put back to an older copy."""

import asyncio
import contextlib
import random
import signal
from collections.abc import Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from shared import failpoints
from shared.log import Closed
from tests.faults.harness import EITHER_WAY, FIGURES, WRITER_TABLES, Log, as_owner, survived
from tests.faults.processes import Process, processes, writing

pytest_plugins = ("tests.faults.log_fixtures",)
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

KILLS = 50
DRAIN_S = 60


async def proven(log: Log, what: str, faults: int, within_s: float = DRAIN_S) -> None:
    drained_s = await log.drained(within_s)
    await log.watermark_is_true()
    events = await log.verify()
    survived(f"{what}, in a group" if log.shared else what, faults, events, drained_s)


@contextlib.contextmanager
def started(*them: Process) -> Iterator[None]:
    with processes(*them):
        for one in them:
            one.start()
        yield


@EITHER_WAY
async def test_fifty_kills_at_random(log: Log) -> None:
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    relay, worker = Process("relay", log), Process("worker", log)
    with started(relay, worker):
        async with writing(log):
            for _ in range(KILLS):
                victim = dice.choice([relay, worker])
                if dice.random() < 0.2:
                    log.broker.reborn()
                elif dice.random() < 0.5:
                    name = dice.choice([n for n in failpoints.NAMES if n.startswith(victim.role)])
                    victim.kill()
                    victim.start(TONGCUN_FAILPOINT=f"{name}:{dice.randint(1, 9)}")
                    await victim.died(within_s=20)
                    victim.start()
                else:
                    await asyncio.sleep(dice.uniform(0, 2))
                    victim.kill()
                    victim.start()
        await proven(log, f"killed at random (seed {seed})", KILLS)


@EITHER_WAY
@pytest.mark.parametrize("roles", [("relay", "relay", "worker"), ("relay", "worker", "worker"), ("relay", "relay", "worker", "worker")])
async def test_two_of_each(log: Log, roles: tuple[str, ...]) -> None:
    them = [Process(role, log) for role in roles]
    with started(*them):
        async with writing(log):
            for _ in range(3):
                await asyncio.sleep(3)
                them[0].kill()
                them[0].start()
        await proven(log, f"at once: {roles}", 3)


@pytest.mark.parametrize("role", ["relay", "worker"])
async def test_a_zombie_wakes_up_after_another_has_taken_over(log: Log, role: str) -> None:
    """Stopped by SIGSTOP wherever it is, for longer than every time-out; then it goes on as if nothing had happened."""
    relay, worker, zombie = Process("relay", log), Process("worker", log), Process(role, log)
    with started(*(p for p in (relay, worker, zombie) if p.role != role), zombie):
        async with writing(log):
            for _ in range(3):
                await asyncio.sleep(2)
                zombie.signal(signal.SIGSTOP)
                successor = Process(role, log)
                with started(successor):
                    await asyncio.sleep(7)
                    zombie.signal(signal.SIGCONT)
                    await asyncio.sleep(2)
        await proven(log, f"zombie {role}", 3)


@EITHER_WAY
@pytest.mark.parametrize("role", ["worker", "writer"])
async def test_a_process_stopped_inside_a_copy_is_got_rid_of(log: Log, role: str) -> None:
    """Its session holds row locks beyond every time-out of PostgreSQL; whoever has waited for 5 s ends it."""
    relay, worker = Process("relay", log), Process("worker", log)
    zombie = Process(role, log, TONGCUN_TEST_STOP="5")
    with started(relay, zombie), processes(worker):
        async with writing(log):
            async with asyncio.timeout(30):
                while not zombie.stopped:
                    await asyncio.sleep(0.05)
            worker.start()
            at = await log.heads()
            await asyncio.sleep(22 if log.shared else 12)  # the group gives its partitions to the other when its session is over
            heads, consumed = await log.heads(), await log.consumed()
            assert all(heads[p] > at[p] for p in at), f"appending stood still: {at} -> {heads}"
            assert all(consumed[p] >= at[p] for p in at), f"consuming stood still: {at}, {consumed}"
            zombie.signal(signal.SIGCONT)
            await asyncio.sleep(2)
            zombie.kill()
        await proven(log, f"{role} stopped inside a COPY", 1)


@EITHER_WAY
async def test_the_topic_is_made_anew(log: Log) -> None:
    relay, worker = Process("relay", log), Process("worker", log)
    with started(relay, worker):
        async with writing(log):
            for _ in range(4):
                await asyncio.sleep(4)
                admin = AIOKafkaAdminClient(bootstrap_servers=log.broker.bootstrap)
                async with asyncio.timeout(20):
                    await admin.start()
                    await admin.delete_topics([log.topic])
                    await admin.close()
        await proven(log, "topic deleted", 4)


@EITHER_WAY
async def test_the_broker_hangs_and_goes_away(log: Log) -> None:
    relay, worker = Process("relay", log), Process("worker", log)
    with started(relay, worker):
        async with writing(log):
            await asyncio.sleep(2)
            log.broker.signal(signal.SIGSTOP)
            await asyncio.sleep(25)
            log.broker.signal(signal.SIGCONT)
            await asyncio.sleep(2)
            log.broker.kill()
            await asyncio.sleep(25)
            log.broker.start()
        await proven(log, "broker hung, then away", 2)


async def test_a_writer_put_back_to_an_older_copy_is_closed_by_the_first_report(log: Log) -> None:
    """What the reader has beyond the copy, it keeps; what the restored writer says instead, it never takes."""
    relay, worker = Process("relay", log), Process("worker", log)
    with started(relay, worker):
        await log.append([b"before"] * 400)
        await log.drained()
        await as_owner(log.writer_owner, *(f"create table {t}_copy as table {t}" for t in WRITER_TABLES))
        await log.append([b"lost by the restore"] * 400)
        await log.drained()
        worker.kill()
        restore = [s for t in WRITER_TABLES for s in (f"delete from {t}", f"insert into {t} table {t}_copy")]
        await as_owner(log.writer_owner, "begin;" + ";".join(restore) + ";commit")
        await log.append([b"said instead"] * 800)
        worker.start()
        closed_s = await all_closed(log)
        with pytest.raises(Closed, match="their histories differ"):
            await log.append([b"refused"])
        await asyncio.sleep(5)
    taken = await log.reader.pool.fetch("select value, count(*), count(distinct (partition, position)) from effect group by 1 order by 1")
    FIGURES.append(f"writer put back to an older copy: closed {closed_s:.1f} s after the worker's start")
    assert [tuple(row) for row in taken] == [(b"before", 400, 400), (b"lost by the restore", 400, 400)]


async def all_closed(log: Log) -> float:
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        while await log.writer.pool.fetchval("select bool_or(not closed) from log_head"):
            await asyncio.sleep(0.02)
    return asyncio.get_running_loop().time() - began
