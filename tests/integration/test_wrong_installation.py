"""Another installation's volume, keyring, broker or server: one line that says what to do, a non-zero exit, and nothing is changed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from aiokafka.admin import NewTopic

from deploy.embedded.broker import Broker
from deploy.embedded.installation import Dsns, Installation
from services.ingest.migrate import install as install_ingest
from services.registry.migrate import install as install_registry
from services.subsidy.migrate import install as install_subsidy
from services.subsidy.settings import POLICIES
from shared import kafka, keyring, process
from shared.contracts.scan import TOPIC
from shared.keyring import KeyringError
from shared.log import PartitionMismatch
from shared.process import CannotRun
from tests.ingest_support import PARTITIONS, configured, running

MakeDatabase = Callable[[str], Awaitable[Dsns]]
TABLES = "select coalesce(array_agg(relname::text order by relname), '{}') from pg_class where relnamespace = 'public'::regnamespace"
# Without it a migration would run from the beginning, so a check that came too late would be seen.
FORGET_VERSION = "drop table alembic_version"


async def ask(dsn: str, sql: str) -> object:
    pg = await asyncpg.connect(dsn)
    try:
        return await pg.fetchval(sql)
    finally:
        await pg.close()


async def ended(module: str, environment: dict[str, str]) -> tuple[int | None, str]:
    """-> (exit code, what it wrote on standard error) of a process that must end by itself."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=os.environ | environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, errors = await asyncio.wait_for(started.communicate(), 60)
    finally:
        if started.returncode is None:
            started.kill()
    return started.returncode, errors.decode()


# PostgreSQL of another major version


async def test_no_migration_runs_on_another_major_version(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = (await make_database("ingest")).owner
    monkeypatch.setattr(process, "POSTGRES_MAJOR", 17)
    for install in (
        lambda: install_ingest(dsn, PARTITIONS),
        lambda: install_registry(dsn),
        lambda: install_subsidy(dsn, PARTITIONS, POLICIES),
    ):
        with pytest.raises(CannotRun, match=r"PostgreSQL 18 answers, Tongcun needs 17: dump .* restore"):
            await install()
    assert await ask(dsn, TABLES) == []


async def test_no_process_starts_on_another_major_version(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    dsns = await make_database("ingest")
    await install_ingest(dsns.owner, PARTITIONS)
    monkeypatch.setattr(process, "POSTGRES_MAJOR", 17)
    with pytest.raises(CannotRun, match="PostgreSQL 18 answers"):
        await process.first(dsns.app, lambda database: process.check_schema(database, "ingest"))


# A wrong password


@pytest.mark.parametrize("module", ["services.ingest.migrate", "services.registry.worker", "services.subsidy.api"])
async def test_a_wrong_password_is_one_line(installation: Installation, make_database: MakeDatabase, module: str) -> None:
    dsns = await make_database("ingest")
    wrong = dsns.app.replace(installation.secret("ingest_app"), "not-the-password")
    environment = {"TONGCUN_KAFKA_BOOTSTRAP": "127.0.0.1:9", "TONGCUN_JWKS": "/dev/null", "TONGCUN_DATABASE_URL": wrong}
    if module.endswith("migrate"):
        environment = {"TONGCUN_OWNER_DATABASE_URL": wrong}
    code, line = await ended(module, environment | _jwks(module))
    assert code == process.MISTAKE
    assert line.count("\n") == 1, line
    assert "password authentication failed" in line
    assert "put the old secret back" in line


def _jwks(module: str) -> dict[str, str]:
    """Only an API reads the key set before it looks at its database."""
    return {"TONGCUN_JWKS": "https://127.0.0.1:9/jwks.json"} if module.endswith("api") else {}


# A volume of another installation


async def test_another_number_of_partitions_changes_nothing(make_database: MakeDatabase) -> None:
    dsns = await make_database("ingest")
    await install_ingest(dsns.owner, PARTITIONS)
    await ask(dsns.owner, FORGET_VERSION)
    before = await ask(dsns.owner, TABLES)
    with pytest.raises(PartitionMismatch, match=f"was installed with {PARTITIONS} partitions .* set the number back to {PARTITIONS}"):
        await install_ingest(dsns.owner, PARTITIONS + 1)
    assert await ask(dsns.owner, TABLES) == before
    assert await ask(dsns.owner, "select count(*) from log_head") == PARTITIONS


async def test_another_number_of_partitions_changes_nothing_in_the_books(make_database: MakeDatabase) -> None:
    dsns = await make_database("subsidy")
    await install_subsidy(dsns.owner, PARTITIONS, POLICIES)
    await ask(dsns.owner, FORGET_VERSION)
    before = await ask(dsns.owner, TABLES)
    with pytest.raises(PartitionMismatch, match=f"set the number back to {PARTITIONS}"):
        await install_subsidy(dsns.owner, PARTITIONS + 1, POLICIES)
    assert await ask(dsns.owner, TABLES) == before


async def test_a_worker_told_of_another_number_of_partitions_does_not_start(make_database: MakeDatabase) -> None:
    dsns = await make_database("subsidy")
    await install_subsidy(dsns.owner, PARTITIONS, POLICIES)
    code, line = await ended("services.subsidy.worker", _worker(dsns, "127.0.0.1:9") | {"TONGCUN_PARTITIONS": str(PARTITIONS + 1)})
    assert code == process.MISTAKE
    assert f"set the number back to {PARTITIONS}" in line
    assert line.count("\n") == 1, line


async def test_another_keyring_changes_nothing(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest")) as ingest:
        await ingest.feed("keyed", "zto", ["zto"])
    keyring.create(tmp_path / "fresh.json")
    await ask(ingest.dsns.owner, FORGET_VERSION)
    before = await ask(ingest.dsns.owner, TABLES)
    with pytest.raises(KeyringError, match="restore that one from its backup"):
        await install_ingest(ingest.dsns.owner, PARTITIONS, str(tmp_path / "fresh.json"))
    assert await ask(ingest.dsns.owner, TABLES) == before


async def test_its_own_keyring_and_number_are_accepted_again(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest")) as ingest:
        await ingest.feed("keyed", "zto", ["zto"])
    await install_ingest(ingest.dsns.owner, PARTITIONS, ingest.settings.keyring)


# A broker of another installation


def _worker(dsns: Dsns, bootstrap: str) -> dict[str, str]:
    return {
        "TONGCUN_DATABASE_URL": dsns.app,
        "TONGCUN_KAFKA_BOOTSTRAP": bootstrap,
        "TONGCUN_PARTITIONS": str(PARTITIONS),
        "TONGCUN_JWKS": "unused",
        "TONGCUN_INGEST_URL": "http://127.0.0.1:9",
        "TONGCUN_REGISTRY_URL": "http://127.0.0.1:9",
        "TONGCUN_SERVICE_TOKEN": "unused",
    }


@pytest.fixture
async def empty_broker(broker: Broker) -> AsyncIterator[Broker]:
    """Without any topic, before and after."""
    await broker.restart()
    yield broker
    await broker.restart()


async def test_a_topic_with_fewer_partitions_is_left_alone(
    make_database: MakeDatabase, empty_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kafka.started(kafka._admin(empty_broker.bootstrap), "close") as admin:
        await admin.create_topics([NewTopic(TOPIC, PARTITIONS - 1, 1)])
    ours = f"has {PARTITIONS - 1} partitions, this installation {PARTITIONS}: .* delete the topic there, and the log fills it again"
    for _ in range(2):
        with pytest.raises(kafka.TopicMismatch, match=ours):
            await process.check_topic(empty_broker.bootstrap, TOPIC, PARTITIONS, within_s=0.5)
    dsns = await make_database("ingest")
    await install_ingest(dsns.owner, PARTITIONS)
    _, settings = configured(tmp_path, dsns, kafka_bootstrap=empty_broker.bootstrap)
    environment = {
        f"TONGCUN_{name}": str(getattr(settings, name.lower())) for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP", "PARTITIONS", "JWKS")
    }
    code, line = await ended("services.ingest.worker", environment)
    assert code == process.MISTAKE
    assert "give the address of its own broker" in line
    assert await kafka.count_partitions(empty_broker.bootstrap, TOPIC) == PARTITIONS - 1


async def test_a_topic_that_grows_meanwhile_is_waited_for(empty_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a topic was born again with one partition, whoever is first makes it whole."""
    counts = iter([1, 1, PARTITIONS])

    async def counted(*_: object) -> int:
        return next(counts)

    monkeypatch.setattr(kafka, "count_partitions", counted)
    await process.check_topic(empty_broker.bootstrap, TOPIC, PARTITIONS)


async def test_a_broker_without_topics_or_without_an_answer_is_no_mistake(empty_broker: Broker) -> None:
    await process.check_topic(empty_broker.bootstrap, TOPIC, PARTITIONS)
    assert await kafka.count_partitions(empty_broker.bootstrap, TOPIC) == 0
    assert await kafka.count_partitions("127.0.0.1:9", TOPIC) is None
    await process.check_topic("127.0.0.1:9", TOPIC, PARTITIONS)
