"""Fixtures of the subsidy tests (`pytest_plugins`): an installed database, and empty books in it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.subsidy.migrate import install
from services.subsidy.service.policies import activate, read_policies
from services.subsidy.settings import POLICIES
from shared.db import Database
from tests.integration.subsidy_books import PARTITIONS, Books, audit, county

RESET = """
truncate evidence, site, parcel, assessment, decision, payout, live_payout, posting, rollup, hold, hold_release, batch, registry_snapshot,
    reassessment, policy, period, watermark;
update books_head set revision = 0, recorded_at = '-infinity';
update consumed set next_position = 0, chain = null, kafka_offset = 0, asks = 0, version = 0;
"""


@pytest.fixture(scope="module")
async def subsidy_dsns(make_database: Any) -> Any:
    """An installed subsidy database -> Dsns(owner, app)."""
    dsns = await make_database("subsidy")
    await install(dsns.owner, PARTITIONS, POLICIES)
    return dsns


@pytest.fixture
async def books(subsidy_dsns: Any) -> AsyncIterator[Books]:
    """Empty books with the shipped policies and the small county; audited after the test."""
    owner = await Database(subsidy_dsns.owner, max_size=2).open()
    await owner.pool.execute(RESET)
    await activate(owner, read_policies(POLICIES))
    await owner.close()
    database = await Database(subsidy_dsns.app, max_size=6).open()
    made = Books(database)
    await made.change(*county(), drain=False)
    await made.drain()
    yield made
    try:
        await made.drain()
        await audit(made)
    finally:
        await database.close()
