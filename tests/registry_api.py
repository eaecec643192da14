"""The registry's API over real PostgreSQL, for its tests: one call per thing that a client does."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from services.registry import api
from services.registry.migrate import install
from services.registry.settings import Settings
from shared import keyring
from shared.auth import TENANT_ROLES, generate_keys, issue
from shared.db import Database
from tests.conftest import MakeDatabase

AUTHORITY = "运城市邮政管理局"
VILLAGE, OTHER_VILLAGE, TOWN, COMMUNITY = "140827100200", "140827100205", "140827100000", "140827104003"
JUNE = "2023-06-01T00:00:00+08:00"


def day(month: int, number: int, hour: int = 0) -> str:
    """A moment of 2023, as a client writes it."""
    return f"2023-{month:02d}-{number:02d}T{hour:02d}:00:00+08:00"


@dataclass
class Registry:
    client: httpx.AsyncClient
    database: Database
    owner_dsn: str
    app_dsn: str
    private_pem: str
    numbers: Iterator[int] = field(default_factory=count)  # one name is one operator's

    def token(self, role: str, **claim: str) -> dict[str, str]:
        """The header of a token; at most one claim, e.g. operator="opr_1"."""
        tenant = next(iter(claim.items()), (role, "nobody") if role in TENANT_ROLES else None)
        return {"Authorization": "Bearer " + issue(self.private_pem, subject=f"test:{role}", roles=[role], ttl_s=600, claim=tenant)}

    async def call(
        self, method: str, path: str, body: Any = None, *, role: str = "coordinator", expect: int | None = None, **claim: str
    ) -> Any:
        """The answer's JSON; fails where the status is not `expect` (a write: any 2xx)."""
        answer = await self.client.request(method, path, json=body, headers=self.token(role, **claim))
        assert answer.status_code == expect if expect else answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def get(self, path: str, *, role: str = "auditor", expect: int = 200, **params: Any) -> Any:
        answer = await self.client.get(path, params=params, headers=self.token(role))
        assert answer.status_code == expect, (path, answer.status_code, answer.text)
        return answer.json()

    async def operator(self, name: str | None = None, effective_at: str = day(1, 1)) -> str:
        name = name or f"垣曲邮快合作运营公司{next(self.numbers)}"
        answer = await self.call("POST", "/v1/operators", {"name": name, "effective_at": effective_at})
        return str(answer["operator_id"])

    async def station(self, **fields: Any) -> str:
        answer = await self.call("POST", "/v1/stations", station_body(**fields))
        return str(answer["station_id"])

    async def filing(self, station_id: str, filer_id: str, **fields: Any) -> str:
        answer = await self.call("POST", f"/v1/stations/{station_id}/filings", filing_body(filer_id=filer_id, **fields))
        return str(answer["filing_id"])

    async def move(self, filing_id: str, to: str, effective_at: str, **fields: Any) -> Any:
        return await self.call("POST", f"/v1/filings/{filing_id}/transitions", {"to": to, "effective_at": effective_at, **fields})


def station_body(**fields: Any) -> dict[str, Any]:
    base = {"name": "上王村便民服务点", "level": "village", "division_code": VILLAGE, "brands": ["zto"], "operating_status": "open"}
    return base | {"effective_at": day(3, 1)} | fields


def filing_body(**fields: Any) -> dict[str, Any]:
    return {"covers_brands": ["zto"], "authority": AUTHORITY, "opened_on": "2023-05-30", "effective_at": JUNE} | fields


@contextlib.asynccontextmanager
async def running(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    """A migrated, empty registry of its own, and a client of its API."""
    dsns = await make_database("registry")
    await install(dsns.owner)
    private_pem, jwks = generate_keys()
    with tempfile.TemporaryDirectory() as directory:
        keys = Path(directory) / "jwks.json"
        keys.write_text(jwks)
        keyring.create(Path(directory) / "keyring.json")
        known = {"jwks": str(keys), "keyring": str(Path(directory) / "keyring.json")}
        app = api.build(Settings(database_url=dsns.app, kafka_bootstrap="127.0.0.1:9", **known))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://registry", headers={"If-Match": "*"}) as client,
    ):
        yield Registry(client, app.state.database, dsns.owner, dsns.app, private_pem)
