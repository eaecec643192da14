"""What tests run against: the real PostgreSQL and broker of the embedded runtime, started once, in a directory of their own.

`pytest --broker kafka`: the same tests on Apache Kafka in the broker's place, here and in every process that they start.

installation   where it is: ports, secrets, dsn()
postgres       the server
broker         .bootstrap, await .kill(), await .restart(): born again empty at the same address with the same cluster id
make_database  await make_database("ingest") -> Dsns(owner, app): an empty database, for the test to migrate
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from deploy.embedded.broker import Broker
from deploy.embedded.installation import Dsns, Installation, create_database
from deploy.embedded.postgres import Postgres
from deploy.embedded.runtime import BROKERS, Runtime, chosen_broker, embedded
from deploy.embedded.supervisor import CannotStart
from deploy.kafka.broker import ApacheKafka
from deploy.kafka.jars import class_path, version

MakeDatabase = Callable[[str], Awaitable[Dsns]]

# `ci` is the default and repeats exactly; HYPOTHESIS_PROFILE=explore looks further, with new examples each time; `make quick`: `quick`.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=200)
settings.register_profile("quick", derandomize=True, deadline=None, max_examples=25)
settings.register_profile("explore", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broker", choices=sorted(BROKERS), help="what carries the log; default: TONGCUN_BROKER, else the embedded one")


def pytest_configure(config: pytest.Config) -> None:
    """The choice is an environment variable, so that it reaches the platform in processes of their own."""
    if chosen := config.getoption("--broker"):
        os.environ["TONGCUN_BROKER"] = chosen
    try:
        if chosen_broker() is ApacheKafka:
            class_path()
    except CannotStart as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header() -> str:
    return f"broker: Apache Kafka {version()}" if chosen_broker() is ApacheKafka else "broker: embedded"


@pytest.fixture(scope="session")
def var() -> Iterator[Path]:
    """Not pytest's own temporary directory: that is closed to the user that PostgreSQL runs under when we are root."""
    path = Path(tempfile.mkdtemp(prefix="tongcun-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
async def runtime(var: Path) -> AsyncIterator[Runtime]:
    async with embedded(var) as started:
        yield started


@pytest.fixture(scope="session")
def installation(runtime: Runtime) -> Installation:
    return runtime.installation


@pytest.fixture(scope="session")
def postgres(runtime: Runtime) -> Postgres:
    return runtime.postgres


@pytest.fixture(scope="session")
def broker(runtime: Runtime) -> Broker:
    return runtime.broker


@pytest.fixture(scope="session")
def make_database(installation: Installation) -> MakeDatabase:
    """Its roles are `<hint>_owner` and `<hint>_app`, as the service's migrations expect them; the database's name is new each time."""
    numbers = itertools.count(1)

    async def make(hint: str) -> Dsns:
        return await create_database(installation, hint, f"test_{hint}_{next(numbers)}")

    return make
