"""`explain.p99`: `GET /v1/parcels/{brand}/{waybill}/explain` by HTTP, against a primary-key select of the same parcels in the same run.

The books are those that the worker bench has made: real parcels, assessed by the real worker, beside a million scans of others. One request
at a time on both sides, in turns, so that whatever else the machine does happens to both.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import httpx

from shared.auth import generate_keys, issue
from shared.db import Database

ASKED = 1_500
WARM = 100
READY_S = 20
BY_KEY = "select * from parcel where parcel_key = $1"
SOME = "select parcel_key, brand, waybill_no from parcel order by parcel_key"


async def run(app_dsn: str, directory: Path) -> list[dict[str, Any]]:
    """`app_dsn`: books with parcels in them; `directory`: an empty one, for the public key."""
    private, jwks = generate_keys()
    (directory / "jwks.json").write_text(jwks, encoding="utf-8")
    token = issue(private, subject="bench", roles=["auditor"], ttl_s=3600)
    database = await Database(app_dsn, max_size=1).open()
    try:
        parcels = Random(7).choices(await database.pool.fetch(SOME), k=WARM + ASKED)
        async with served(app_dsn, directory / "jwks.json") as url, httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http:
            explained, selected = [], []
            for key, brand, waybill_no in parcels:
                started = time.perf_counter()
                await database.pool.fetchrow(BY_KEY, key)
                asked = time.perf_counter()
                (await http.get(f"{url}/v1/parcels/{brand}/{waybill_no}/explain")).raise_for_status()
                selected.append(asked - started)
                explained.append(time.perf_counter() - asked)
    finally:
        await database.close()
    value, floor = (statistics.quantiles(times[WARM:], n=100)[98] * 1000 for times in (explained, selected))
    ratio = round(value / floor, 1)
    return [{"name": "explain.p99", "value": round(value, 2), "unit": "ms", "floor": round(floor, 3), "ratio": ratio}]


@contextlib.asynccontextmanager
async def served(app_dsn: str, jwks: Path, service: str = "subsidy", **more: str) -> AsyncIterator[str]:
    """The service's API as its own process -> its address. `more`: settings that it has besides."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "DATABASE_URL": app_dsn,
        "KAFKA_BOOTSTRAP": "unused:9092",
        "JWKS": str(jwks),
        "PORT": str(port),
        "LOG_LEVEL": "warning",
    } | more
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}.api", env=os.environ | {f"TONGCUN_{name}": value for name, value in settings.items()}
    )
    try:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(READY_S), httpx.AsyncClient() as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"{url}/readyz")).status_code == httpx.codes.OK:
                        break
                await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await process.wait()
