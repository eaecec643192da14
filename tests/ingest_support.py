"""An ingest of one's own for a test: migrated database, keyring, tokens, the application over ASGI."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.embedded.installation import Dsns
from services.ingest.api import build
from services.ingest.brands import NATIVE
from services.ingest.migrate import install
from services.ingest.settings import Settings
from shared import auth, keyring
from shared.db import Database

PARTITIONS = 4
NOWHERE = "127.0.0.1:9"  # the API talks to no broker


@dataclass
class Ingest:
    """What a test needs to push and to look."""

    client: httpx.AsyncClient
    database: Database
    dsns: Dsns
    private: str
    settings: Settings
    service: Any

    def bearer(self, role: str, claim: tuple[str, str] | None = None) -> dict[str, str]:
        return {"authorization": "Bearer " + auth.issue(self.private, subject="test", roles=[role], ttl_s=600, claim=claim)}

    async def feed(self, name: str, format_: str, brands: list[str], mode: str = "live", namespace: str | None = None) -> str:
        """Create a feed; -> its secret ("" for a canonical one)."""
        body = {"feed": name, "format": format_, "brands": brands, "site_namespace": namespace, "mode": mode}
        made = await self.client.post("/v1/feeds", json=body, headers=self.bearer("admin"))
        assert made.status_code == 201, made.text
        return made.json()["secret"] or ""

    async def push(self, feed: str, format_: str, payload: Any, secret: str) -> httpx.Response:
        wire = NATIVE[format_].sign(payload, secret.encode())
        return await self.client.post(wire.path(feed), content=wire.body, headers={**wire.headers, "content-type": wire.content_type})

    async def scans(self, feed: str, *events: dict[str, Any]) -> httpx.Response:
        return await self.client.post("/v1/scans", json={"events": list(events)}, headers=self.bearer("brand", ("feed", feed)))

    async def receipt(self, answer: httpx.Response) -> dict[str, Any]:
        got = await self.client.get(f"/v1/receipts/{answer.headers['receipt-id']}", headers=self.bearer("auditor"))
        assert got.status_code == 200, got.text
        found: dict[str, Any] = got.json()
        return found

    async def log(self) -> list[Any]:
        """Every value of the log, by partition and position."""
        async with self.database.read() as read:
            return [row[0] for row in await read.fetch("select value from log order by partition, position")]


def event(**changes: Any) -> dict[str, Any]:
    """An event of the canonical API."""
    return {
        "brand": "zto",
        "waybill_no": "73100196611386",
        "action": "station_inbound",
        "raw_action": "INBOUND",
        "scanned_at": "2023-07-14T09:12:03+08:00",
        "site_name": "上王村便民服务点",
        **changes,
    }


def configured(directory: Path, dsns: Dsns, **more: Any) -> tuple[str, Settings]:
    """(the issuer's private key, settings), with key set and keyring made in `directory`."""
    private, jwks = auth.generate_keys()
    (directory / "jwks.json").write_text(jwks)
    keyring.create(directory / "keyring.json")
    values = {
        "database_url": dsns.app,
        "kafka_bootstrap": NOWHERE,
        "partitions": PARTITIONS,
        "jwks": str(directory / "jwks.json"),
        "keyring": str(directory / "keyring.json"),
    }
    return private, Settings.model_validate(values | more)


@contextlib.asynccontextmanager
async def running(directory: Path, dsns: Dsns, like: Ingest | None = None, **more: Any) -> AsyncIterator[Ingest]:
    """`like`: another process of the same installation."""
    await install(dsns.owner, PARTITIONS)
    private, settings = (like.private, like.settings) if like else configured(directory, dsns, **more)
    app = build(settings)
    database = await Database(dsns.app, max_size=2).open()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://ingest", headers={"If-Match": "*"}) as client,
    ):
        yield Ingest(client, database, dsns, private, settings, app.state.service)
    await database.close()


READY_S = 20


@dataclass
class Process:
    """A real `python -m services.ingest.api`."""

    url: str
    private: str
    settings: Settings
    process: asyncio.subprocess.Process

    def bearer(self, role: str, claim: tuple[str, str] | None = None) -> dict[str, str]:
        return {"authorization": "Bearer " + auth.issue(self.private, subject="test", roles=[role], ttl_s=3600, claim=claim)}


@contextlib.asynccontextmanager
async def served(private: str, settings: Settings, failpoint: str | None = None) -> AsyncIterator[Process]:
    """The API as its own process on a free port, ready. It may end by itself; what is left of it is stopped."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = settings.model_copy(update={"port": free.getsockname()[1]})
    variables = {f"TONGCUN_{name.upper()}": str(value) for name, value in settings.model_dump().items()}
    armed = {"TONGCUN_FAILPOINT": failpoint} if failpoint else {}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.ingest.api", env=os.environ | variables | armed)
    try:
        url = f"http://127.0.0.1:{settings.port}"
        await _ready(url)
        yield Process(url, private, settings, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(url: str) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(READY_S * 10):
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    raise TimeoutError(f"{url} is not ready after {READY_S} s")
