"""The auditor's recomputation of what incidents hold, over HTTP: the platform's API, and two logs that say so."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from deploy.demo.recompute import recompute
from services.subsidy.api import build
from services.subsidy.settings import Settings
from shared.auth import issue
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.registry import AnyRecord, RegistryChange
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from tests.incident_support import incident, policy, policy_text
from tests.integration.subsidy_books import PARTITIONS, Books, at, audit, bearer, emptied, scan
from tests.integration.test_subsidy_incidents import PAID, UNFILED, County

pytest_plugins = ("tests.integration.subsidy_fixtures",)


async def test_the_recomputation_comes_to_the_same_from_the_logs(
    subsidy_dsns: Any, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's word is taken for it: holds, releases and the station's suspicion come out of the logs, the rulings and the policy."""
    logs = {SCANS_TOPIC: [[] for _ in range(PARTITIONS)], REGISTRY_TOPIC: [[]]}  # type: dict[str, list[list[bytes]]]
    take = Books.take

    async def noted(self: Books, topic: str, partition: int, values: Sequence[bytes]) -> None:
        await take(self, topic, partition, values)
        logs[topic][partition].extend(values)

    monkeypatch.setattr(Books, "take", noted)
    charge = partial(incident, waybills=("W1", "W4"), kind="illegal_charge", incident_id="inc_2")
    async with emptied(subsidy_dsns, [policy()]) as books, contextlib.AsyncExitStack() as up:
        api = build(Settings(database_url=subsidy_dsns.app, kafka_bootstrap="unused:9092", jwks=keys[1]))
        subsidy, ingest, registry = [
            await up.enter_async_context(served(app)) for app in (api, log_of(logs[SCANS_TOPIC]), log_of(logs[REGISTRY_TOPIC]))
        ]
        await books.send(*(scan(f"W{n}", scanned_at=at(10 + n)) for n in range(1, 8)))
        await books.change(incident((at(15), "open"), station_id="stn_42", waybills=("W2",)))
        await books.change(
            incident((at(15), "open"), (at(16), "unfounded"), (at(17), "investigating"), station_id="stn_42", waybills=("W2",))
        )
        await books.change(charge((at(12), "open")))
        async with httpx.AsyncClient(base_url=subsidy, headers=bearer(keys[0], "auditor")) as client:
            county = County(client, keys[0])
            await county.release(reason_code="incident.open", waybill="W1")
            await county.release(reason_code="incident.open", waybill="W4")
            await books.drain()
            assert await county.parcel("W1") == PAID
        token = issue(keys[0], subject="audit", roles=["auditor"], ttl_s=60)
        report = await asyncio.to_thread(recompute, ingest, registry, subsidy, token, own_policies=[policy_text().encode()])
        assert report.differences == []
        assert (len(report.results), report.net_fen, report.count("held")) == (7, 4 * UNFILED, 3)
        logs[REGISTRY_TOPIC][0].append(change_of(charge((at(12), "open"), (at(20), "substantiated"))))  # the platform has not heard of it
        report = await asyncio.to_thread(recompute, ingest, registry, subsidy, token)
        assert any("W4" in line for line in report.differences)
        await audit(books)


def change_of(*records: AnyRecord) -> bytes:
    return msgspec.json.encode(RegistryChange(recorded_at=at(1), actor="test", reason=None, records=records))


def log_of(partitions: list[list[bytes]]) -> Starlette:
    """`GET /v1/log/{partition}` over what the consumer took, chained as the writer would have."""

    async def page(request: Request) -> JSONResponse:
        partition, start = int(request.path_params["partition"]), int(request.query_params.get("from_position", 0))
        if partition >= len(partitions):
            return JSONResponse({}, 404)
        chain, items = bytes(32), []
        for position, value in enumerate(partitions[partition]):
            chain = sha256(chain + sha256(value).digest()).digest()
            items.append({"position": position, "chain": chain.hex(), "value": value.decode()})
        return JSONResponse({"origin": bytes(32).hex(), "head": len(items), "items": items[start : start + 1000]})

    return Starlette(routes=[Route("/v1/log/{partition}", page)])


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The application on a free port of this machine -> its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running
