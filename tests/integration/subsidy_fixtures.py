"""Fixtures of the subsidy tests (`pytest_plugins`): an installed database, and empty books in it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.subsidy.api import build
from services.subsidy.migrate import install
from services.subsidy.settings import POLICIES, Settings
from shared.auth import generate_keys
from tests.integration.subsidy_books import PARTITIONS, Books, audit, bearer, emptied


@pytest.fixture(scope="module")
async def subsidy_dsns(make_database: Any) -> Any:
    """An installed subsidy database -> Dsns(owner, app)."""
    dsns = await make_database("subsidy")
    await install(dsns.owner, PARTITIONS, POLICIES)
    return dsns


@pytest.fixture
async def books(subsidy_dsns: Any) -> AsyncIterator[Books]:
    """Empty books with the shipped policies and the small county; audited after the test."""
    async with emptied(subsidy_dsns) as made:
        yield made
        await made.drain()
        await audit(made)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """-> (private key of the issuer, path of the public key set)."""
    private, public = generate_keys()
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(public)
    return private, str(path)


@pytest.fixture
async def client(books: Books, subsidy_dsns: Any, keys: tuple[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """The API over the same books, as the auditor."""
    app = build(Settings(database_url=subsidy_dsns.app, kafka_bootstrap="unused:9092", jwks=keys[1]))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://subsidy", headers=bearer(keys[0], "auditor")) as made:
            yield made
