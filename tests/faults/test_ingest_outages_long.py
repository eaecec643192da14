"""`make faults`: the broker away for ten minutes, and PostgreSQL away, while couriers go on pushing at an even rate."""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.embedded.installation import Dsns
from services.ingest.migrate import install
from services.ingest.settings import Settings
from shared import log
from shared.contracts.scan import TOPIC
from shared.db import Database
from tests.conftest import MakeDatabase
from tests.faults.harness import FIGURES, broker
from tests.gate import Gate
from tests.ingest_support import PARTITIONS, Process, configured, event, served

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

EVERY_S, BATCH = 0.05, 20
INPUT_PER_S = round(BATCH / EVERY_S)
BROKER_AWAY_S = 600
BACKLOG = INPUT_PER_S * 400  # reached before the broker is back
DATABASE_AWAY_S = 20


@dataclass
class Load:
    """Batches at an even rate, whatever the answers are; a batch that was not stored is pushed again, as couriers do."""

    process: Process
    acknowledged: set[str] = field(default_factory=set)
    answers: list[tuple[float, int, float]] = field(default_factory=list)  # (when, status, seconds)
    later: set[str] = field(default_factory=set)  # the codes of what was told to come again
    unsent: list[list[str]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self, feed: str) -> AsyncIterator["Load"]:
        stop = asyncio.Event()
        async with httpx.AsyncClient(base_url=self.process.url, timeout=20) as client, asyncio.TaskGroup() as group:
            headers = self.process.bearer("brand", ("feed", feed))

            async def push(refs: list[str]) -> None:
                started = time.monotonic()
                answer = await client.post("/v1/scans", json={"events": [event(event_ref=r, order_no=r) for r in refs]}, headers=headers)
                self.answers.append((started, answer.status_code, time.monotonic() - started))
                if answer.status_code == 200:
                    assert answer.json()["counts"]["rejected"] == 0
                    self.acknowledged |= set(refs)
                else:
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["retry-after"]) > 0
                    self.later.add(answer.json()["code"])
                    self.unsent.append(refs)

            async def rate() -> None:
                begun = time.monotonic()
                for n in itertools.count():
                    if stop.is_set():
                        return
                    refs = self.unsent.pop(0) if self.unsent and n % 2 else [f"{feed}-{n}-{i}" for i in range(BATCH)]
                    group.create_task(push(refs))
                    await asyncio.sleep(max(0.0, begun + (n + 1) * EVERY_S - time.monotonic()))

            group.create_task(rate())
            yield self
            stop.set()

    def since(self, at: float) -> list[tuple[float, int, float]]:
        return [answer for answer in self.answers if answer[0] >= at]


@contextlib.asynccontextmanager
async def relaying(settings: Settings, bootstrap: str) -> AsyncIterator[None]:
    """A real `python -m services.ingest.worker`."""
    named = {"TONGCUN_DATABASE_URL": settings.database_url, "TONGCUN_PARTITIONS": str(settings.partitions), "TONGCUN_JWKS": settings.jwks}
    environment = os.environ | named | {"TONGCUN_KAFKA_BOOTSTRAP": bootstrap, "TONGCUN_LOG_LEVEL": "error"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.ingest.worker", env=environment)
    try:
        yield
        assert process.returncode is None, "the relay has ended"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def published(database: Database, at_most: int, within_s: float) -> None:
    """Until no more than `at_most` events are in the log and not in Kafka."""
    async with asyncio.timeout(within_s):
        while True:
            async with database.read() as read:
                if await log.unpublished(read, TOPIC) <= at_most:
                    return
            await asyncio.sleep(0.05)


async def once_in_log(dsns: Dsns, refs: set[str]) -> None:
    pg = await asyncpg.connect(dsns.owner)
    found = Counter(json.loads(row[0])["order_no"] for row in await pg.fetch("select value from log"))
    await pg.close()
    assert set(found) >= refs, "acknowledged and not in the log"
    assert set(found.values()) == {1}, "twice in the log"


async def make_feed(process: Process, name: str) -> None:
    async with httpx.AsyncClient(base_url=process.url) as client:
        body = {"feed": name, "format": "canonical", "brands": ["zto"], "mode": "live"}
        (await client.post("/v1/feeds", json=body, headers=process.bearer("admin"))).raise_for_status()


async def test_the_broker_is_away_for_ten_minutes(make_database: MakeDatabase, tmp_path: Path) -> None:
    dsns = await make_database("ingest")
    await install(dsns.owner, PARTITIONS)
    private, settings = configured(tmp_path, dsns, log_level="error", backlog_events=BACKLOG)
    database = await Database(dsns.app, max_size=1).open()
    with broker() as one:
        async with served(private, settings) as process, relaying(settings, one.bootstrap):
            await make_feed(process, "outage")
            async with Load(process).running("outage") as load:
                await asyncio.sleep(5)
                await published(database, INPUT_PER_S, 30)
                one.kill()
                gone_at = time.monotonic()
                await asyncio.sleep(BROKER_AWAY_S)
                async with database.read() as read:
                    backlog = await log.unpublished(read, TOPIC)
                during = load.since(gone_at)
                one.start()
                back_at = time.monotonic()
                before = len(load.acknowledged)
                await published(database, INPUT_PER_S, 120)
                drained_s = time.monotonic() - back_at
                drained = backlog + len(load.acknowledged) - before
            await published(database, 0, 30)
    await database.close()
    taken = [at for at, status, _ in during if status == 200]
    refused = [at for at, status, _ in during if status == 503]
    assert load.later == {"log.backlog"}
    assert min(refused) >= gone_at + BACKLOG / INPUT_PER_S - 10, "told to come later before the backlog was full"
    assert max(taken) - gone_at < BACKLOG / INPUT_PER_S + 20, "taken beyond the limit"
    await once_in_log(dsns, load.acknowledged)
    assert drained / drained_s >= 2 * INPUT_PER_S
    slowest = max(took_s for _, _, took_s in during)
    FIGURES.append(
        f"broker away for {BROKER_AWAY_S} s at {INPUT_PER_S} events/s: {len(taken)} pushes taken (backlog limit {BACKLOG} events, reached "
        f"{backlog}), then {len(refused)} told to come later, slowest answer {slowest:.2f} s; back, {drained} events drained in "
        f"{drained_s:.1f} s = {drained / drained_s / INPUT_PER_S:.0f} × the input; {len(load.acknowledged)} acknowledged, 0 lost, 0 doubled"
    )


async def test_postgresql_is_away_under_load(make_database: MakeDatabase, tmp_path: Path) -> None:
    dsns = await make_database("ingest")
    await install(dsns.owner, PARTITIONS)
    async with Gate(dsns.app) as gate:
        private, settings = configured(tmp_path, dsns, log_level="error", database_url=gate.dsn)
        async with served(private, settings) as process:
            await make_feed(process, "away")
            async with Load(process).running("away") as load:
                await asyncio.sleep(5)
                assert {status for _, status, _ in load.answers} == {200}
                gate.close_all()
                gone_at = time.monotonic()
                await asyncio.sleep(DATABASE_AWAY_S)
                during = [a for a in load.since(gone_at) if a[1] == 503]
                gate.open_again()
                back_at = time.monotonic()
                async with asyncio.timeout(30):
                    while not any(status == 200 for _, status, _ in load.since(back_at)):
                        await asyncio.sleep(0.05)
                back_s = time.monotonic() - back_at
                await asyncio.sleep(5)
    await once_in_log(dsns, load.acknowledged)
    slowest = max(took_s for _, _, took_s in during)
    assert len(during) > DATABASE_AWAY_S / EVERY_S * 0.9
    assert slowest <= 1, "a retry answer came late"
    FIGURES.append(
        f"PostgreSQL away for {DATABASE_AWAY_S} s at {INPUT_PER_S} events/s: {len(during)} pushes told to come later, the slowest after "
        f"{slowest:.3f} s; taken again {back_s:.2f} s after it was back; {len(load.acknowledged)} acknowledged, 0 lost, 0 doubled"
    )
