"""log_broker   a broker for each test: some bear it again
log          an empty log of two partitions, with its reader; @EITHER_WAY runs a test twice: with fixed partitions, and in a group
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import MakeDatabase
from tests.faults.harness import Broker, Databases, Log, broker, databases, new_log


@pytest.fixture
def log_broker() -> Iterator[Broker]:
    with broker(empty=False) as one:
        yield one


@pytest.fixture(scope="module")
async def log_databases(make_database: MakeDatabase) -> Databases:
    return await databases(make_database)


@pytest.fixture
async def log(request: pytest.FixtureRequest, log_databases: Databases, log_broker: Broker) -> AsyncIterator[Log]:
    async with new_log(log_databases, log_broker, partitions=2, shared=getattr(request, "param", "fixed") == "shared") as one:
        yield one
