"""Several processes at one port: a push counts once whoever takes it, and what dies is replaced."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from deploy.embedded.installation import Dsns
from services.ingest.migrate import install
from tests.ingest_support import PARTITIONS, Process, configured, event, served

PROCESSES = 3
PUSHES = 60


@pytest.fixture
async def api(make_database: Callable[[str], Awaitable[Dsns]], tmp_path: Path) -> AsyncIterator[Process]:
    dsns = await make_database("ingest")
    await install(dsns.owner, PARTITIONS)
    private, settings = configured(tmp_path, dsns, log_level="warning", processes=PROCESSES)
    async with served(private, settings) as process:
        yield process


def children(pid: int) -> list[int]:
    """Those that serve: the parent also has multiprocessing's own helper."""
    command = ["ps", "-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "command="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(None, 2) for line in listed]
    return [int(row[0]) for row in rows if row[1] == str(pid) and "spawn_main" in row[2]]


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def push(url: str, headers: dict[str, str], number: int) -> int:
    """-> how many events were new. A connection of its own, as another sender's."""
    async with httpx.AsyncClient(base_url=url, transport=httpx.AsyncHTTPTransport(retries=20)) as client:
        answer = await client.post("/v1/scans", json={"events": [event(event_ref=str(number))]}, headers=headers)
        answer.raise_for_status()
        accepted: int = answer.json()["counts"]["accepted"]
        return accepted


async def test_processes_at_one_port_are_one_ingest(api: Process) -> None:
    headers = api.bearer("brand", ("feed", "many"))
    async with httpx.AsyncClient(base_url=api.url) as client:
        feed = {"feed": "many", "format": "canonical", "brands": ["zto"], "mode": "live"}
        (await client.post("/v1/feeds", json=feed, headers=api.bearer("admin"))).raise_for_status()

    pids = children(api.process.pid)
    assert len(pids) == PROCESSES
    new = await asyncio.gather(*(push(api.url, headers, n // 2) for n in range(PUSHES)))  # every event twice, at the same time
    assert sum(new) == PUSHES // 2

    async with httpx.AsyncClient(base_url=api.url) as client:
        metrics = (await client.get("/metrics")).text
    assert f'tongcun_ingest_events_total{{feed="many",verdict="accepted"}} {PUSHES / 2}' in metrics, "of all processes together"

    os.kill(pids[0], signal.SIGKILL)
    async with asyncio.timeout(30):
        while len(there := children(api.process.pid)) < PROCESSES or pids[0] in there:
            await asyncio.sleep(0.1)
    assert await push(api.url, headers, PUSHES) == 1


async def test_no_process_outlives_the_one_that_started_it(api: Process) -> None:
    pids = children(api.process.pid)
    assert len(pids) == PROCESSES
    api.process.kill()
    async with asyncio.timeout(10):
        while any(map(running, pids)):
            await asyncio.sleep(0.05)
