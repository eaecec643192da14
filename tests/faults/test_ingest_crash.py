"""The API process is killed at its commit boundaries: what was acknowledged is stored, what comes again a duplicate, nothing is twice."""

import asyncio
import itertools
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from deploy.embedded.installation import Dsns
from services.ingest.migrate import install
from tests.ingest_support import PARTITIONS, Process, configured, event, served

KILLS = [(name, commits) for commits in (1, 2, 5) for name in ("ingest.before_commit", "ingest.after_commit")]
SENDERS = 6
BATCH = 3
MAX_PUSHES = 200  # of one sender, in which the process must have died


class Sender:
    """Pushes batches until the process is gone. Keeps its own account: nothing of the tested process is believed."""

    def __init__(self, name: str) -> None:
        self._numbers = itertools.count()
        self._name = name
        self.tried: list[list[dict[str, Any]]] = []
        self.acknowledged: set[str] = set()

    async def push_until_dead(self, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
        for _ in range(MAX_PUSHES):
            refs = [f"{self._name}-{next(self._numbers)}" for _ in range(BATCH)]
            batch = [event(event_ref=ref, order_no=ref) for ref in refs]
            self.tried.append(batch)
            try:
                answer = await client.post("/v1/scans", json={"events": batch}, headers=headers)
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                self.acknowledged |= {e["event_ref"] for e in batch}
        raise AssertionError("the process outlived its failpoint")


async def refs_in_log(dsns: Dsns) -> Counter[str]:
    """How often each event stands in the log, by the order number that a batch gives it."""
    pg = await asyncpg.connect(dsns.owner)
    values = [json.loads(row[0]) for row in await pg.fetch("select value from log")]
    await pg.close()
    return Counter(value["order_no"] for value in values)


async def again(process: Process, senders: list[Sender]) -> None:
    """Whoever heard nothing pushes again; an acknowledged event must turn out a duplicate."""
    async with httpx.AsyncClient(base_url=process.url, timeout=20) as client:
        headers = process.bearer("brand", ("feed", "crash"))
        for sender, batch in [(s, b) for s in senders for b in s.tried]:
            answer = (await client.post("/v1/scans", json={"events": batch}, headers=headers)).json()
            for told, sent in zip(answer["items"], batch, strict=True):
                assert told["verdict"] == "duplicate" or sent["event_ref"] not in sender.acknowledged, told
            sender.acknowledged |= {e["event_ref"] for e in batch}


async def test_killed_at_its_commit_boundaries_ingest_loses_and_doubles_nothing(
    make_database: Callable[[str], Awaitable[Dsns]], tmp_path: Path
) -> None:
    dsns = await make_database("ingest")
    await install(dsns.owner, PARTITIONS)
    private, settings = configured(tmp_path, dsns, log_level="error")
    every: set[str] = set()
    for name, commits in KILLS:
        senders = [Sender(f"{name}-{commits}-{i}") for i in range(SENDERS)]
        async with served(private, settings, f"{name}:{commits}") as process:
            async with httpx.AsyncClient(base_url=process.url, timeout=20) as client:
                made = {"feed": "crash", "format": "canonical", "brands": ["zto"], "mode": "live"}
                await client.post("/v1/feeds", json=made, headers=process.bearer("admin"))
                headers = process.bearer("brand", ("feed", "crash"))
                await asyncio.gather(*(s.push_until_dead(client, headers) for s in senders))
            assert await process.process.wait() == -signal.SIGKILL
        stored = await refs_in_log(dsns)
        for sender in senders:
            assert sender.acknowledged <= set(stored), f"lost after {name}:{commits}"
        async with served(private, settings) as process:
            await again(process, senders)
        every |= set().union(*(s.acknowledged for s in senders))
    stored = await refs_in_log(dsns)
    assert set(stored) == every
    assert set(stored.values()) == {1}, "nothing stands in the log twice"
