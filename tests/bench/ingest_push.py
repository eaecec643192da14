"""`ingest.push`: single native ZTO pushes over HTTP, each signed, to their commit; requests/s against the real API.

Floor: an endpoint of the same stack that reads the body and answers (bare.py), in as many processes. Floor and figure are taken in turns,
and the medians are told.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from deploy.embedded.installation import Dsns
from services.ingest.brands import zto
from tests.bench.ingest_accept import PROCESSES, SENDERS, checkpoint
from tests.bench.stream import send
from tests.ingest_support import configured, served

ROUNDS = 5
SECRET = "bench-secret"
HEAD = "POST /v1/push/bench HTTP/1.1\nHost: bench\nContent-Type: application/x-www-form-urlencoded\nContent-Length: %d\n\n"
STORED = b'"status":true'


def bodies(count: int, first: int) -> list[bytes]:
    """Four scans of each parcel, as the county's villages send them; each once."""
    made = []
    for n in range(first, first + count):
        scan = {
            "billCode": f"{73_100_000_000_000 + n // 4}",
            "action": ("ARRIVAL", "DISPATCH", "INBOUND", "DEPARTURE_SIGNED")[n % 4],
            "actionTime": f"2023-07-{10 + n % 19} {10 + n % 10}:{n // 7 % 60:02}:{n // 11 % 60:02}",
            "facilityName": f"第{n % 71}村便民服务点",
            "desc": "快件已被【村便民服务点】代收",
        }
        made.append(zto.sign(scan, SECRET.encode()).body)
    return made


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[str]:
    """The floor's URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.bare", str(port), str(PROCESSES), env=os.environ)
    try:
        async with httpx.AsyncClient() as client:
            for _ in range(200):
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"http://127.0.0.1:{port}/readyz")
                    break
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def run(directory: Path, dsns: Dsns, superuser: str, *, partitions: int = 8, pushes: int = 60_000) -> list[dict[str, Any]]:
    """The figure, for `make bench`. `dsns`: a migrated database of ingest; `directory`: an empty one for keys."""
    warm, measured = bodies(pushes // 2, 10_000_000), bodies(pushes, 0)
    private, settings = configured(
        directory, dsns, log_level="warning", backlog_events=1_000_000_000, partitions=partitions, processes=PROCESSES
    )

    def stored(answer: bytes) -> None:
        if STORED not in answer:
            raise RuntimeError(f"not stored: {answer[:200]!r}")

    async with served(private, settings) as api, httpx.AsyncClient(base_url=api.url) as client, bare() as floor_url:
        feed = {"feed": "bench", "format": "zto", "brands": ["zto"], "mode": "live", "secret": SECRET}
        (await client.post("/v1/feeds", json=feed, headers=api.bearer("admin"))).raise_for_status()
        await send(api.url, HEAD, warm, SENDERS, stored)
        await send(floor_url, HEAD, warm[:2_000], SENDERS, stored)
        await checkpoint(superuser)
        rounds = []
        for turn in range(ROUNDS):
            part = measured[turn * pushes // ROUNDS : (turn + 1) * pushes // ROUNDS]
            floor = await send(floor_url, HEAD, part, SENDERS, stored)
            value = await send(api.url, HEAD, part, SENDERS, stored)
            rounds.append((value / floor, value, floor))
    ratio, value, floor = map(statistics.median, zip(*rounds, strict=True))
    return [{"name": "ingest.push", "value": round(value), "unit": "push/s", "floor": round(floor), "ratio": round(ratio, 3)}]
