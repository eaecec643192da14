"""Fixture of the tests of ingest's contract (`pytest_plugins`): an API with a canonical feed."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from deploy.embedded.installation import Dsns
from tests.ingest_support import Ingest, running


@pytest.fixture(scope="module")
async def ingest(make_database: Callable[[str], Awaitable[Dsns]], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running(tmp_path_factory.mktemp("contract"), await make_database("ingest")) as started:
        await started.feed("canon", "canonical", ["zto"], namespace="gp")
        yield started
