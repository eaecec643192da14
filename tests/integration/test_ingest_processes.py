"""The processes as they run: pushed over HTTP, carried by the worker, stopped by a signal; what is missing is one line on the terminal."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx
import pytest
from pydantic import BaseModel

from deploy.embedded.broker import Broker
from deploy.embedded.installation import Dsns
from services.ingest.brands import NATIVE, pages
from services.ingest.migrate import install
from services.ingest.settings import Settings, WorkerSettings
from shared import keyring
from tests.ingest_support import PARTITIONS, configured, running, served

HEAD_AND_RELAYED = "select array[sum(h.next_position), sum(r.next_position)] from log_head h join log_relay r using (topic, partition)"
MakeDatabase = Callable[[str], Awaitable[Dsns]]


UNSET = "unset"


async def started(module: str, settings: BaseModel, **changed: str) -> asyncio.subprocess.Process:
    given = {f"TONGCUN_{name.upper()}": str(value) for name, value in settings.model_dump().items()} | changed
    kept = {name: value for name, value in given.items() if value != UNSET}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=os.environ | kept, stderr=asyncio.subprocess.PIPE)


async def test_a_sample_of_each_sender_is_pushed_and_the_worker_carries_it(
    make_database: MakeDatabase, broker: Broker, tmp_path: Path
) -> None:
    dsns = await make_database("ingest")
    await install(dsns.owner, PARTITIONS)
    private, settings = configured(tmp_path, dsns, kafka_bootstrap=broker.bootstrap, log_level="warning")
    async with served(private, settings) as api:
        async with httpx.AsyncClient(base_url=api.url) as client:
            answers = {f: await _answer_to_the_sample(client, api.bearer("admin"), f) for f in NATIVE}
        page = Path("docs/brands.md").read_text(encoding="utf-8")
        for format_, told in answers.items():
            _, _, section = page.partition(f"`--format {format_}`")
            section = section.partition('<a id="')[0]
            assert told.status_code == 200
            assert f"- stored: HTTP 200 `{told.headers['content-type']}` `{_at_the_pages_time(format_, told.text)}`" in section
    worker = await started("services.ingest.worker", WorkerSettings(**settings.model_dump(include=set(WorkerSettings.model_fields))))
    try:
        await _published(dsns)
    finally:
        worker.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(worker.wait(), 20) == 0


async def _answer_to_the_sample(client: httpx.AsyncClient, admin: dict[str, str], format_: str) -> httpx.Response:
    module, secret = NATIVE[format_], pages.SECRET.decode()
    brands = ["ems"] if format_ == "ems" else list(module.BRANDS)
    body = {"feed": f"try-{format_}", "format": format_, "brands": brands, "mode": "live", "secret": secret}
    made = await client.post("/v1/feeds", json=body, headers=admin)
    assert made.status_code == 201, made.text
    wire = module.sign(module.SAMPLE, secret.encode())
    headers = {"content-type": wire.content_type, **wire.headers}
    return await client.post(wire.path(f"try-{format_}"), content=wire.body, headers=headers)


def _at_the_pages_time(format_: str, answer: str) -> str:
    """Kdniao's answer tells the time."""
    return re.sub(r'(?<="UpdateTime":")[^"]*', "2023-07-14 09:12:04", answer) if format_ == "kdniao" else answer


def _samples() -> int:
    return sum(len(f.parse(pages.sample_push(name, f.sign(f.SAMPLE, pages.SECRET)))) for name, f in NATIVE.items())


async def _published(dsns: Dsns) -> None:
    pg = await asyncpg.connect(dsns.app)
    for _ in range(200):
        places = await pg.fetchval(HEAD_AND_RELAYED)
        if places == [_samples()] * 2:
            break
        await asyncio.sleep(0.1)
    await pg.close()
    assert places == [_samples()] * 2, "every position is published"


@pytest.mark.parametrize(
    ("changed", "said", "code"),
    [
        ({"TONGCUN_KEYRING": UNSET}, "TONGCUN_KEYRING is not set", 2),
        ({"TONGCUN_KEYRING": "/nowhere/keyring.json"}, "restore it from its backup", 2),
        ({"TONGCUN_BACKLOG_EVENTS": "many"}, "TONGCUN_BACKLOG_EVENTS", 2),
        ({"TONGCUN_KEYRNG": "x"}, "did you mean TONGCUN_KEYRING?", 2),
        ({"TONGCUN_PARTITIONS": "7"}, "was not installed with 7 partitions", 2),
        ({"TONGCUN_DATABASE_URL": "postgresql://a:b@127.0.0.1:9/c"}, "PostgreSQL does not take us", 1),
    ],
)
async def test_what_keeps_the_api_from_starting_is_one_line(
    installed: tuple[str, Settings], changed: dict[str, str], said: str, code: int
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = await started("services.ingest.api", installed[1], TONGCUN_PORT=port, **changed)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == code
    assert said in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_a_fresh_keyring_over_old_data_keeps_the_api_from_starting(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest")) as ingest:
        await ingest.feed("keyed", "zto", ["zto"])
    keyring.create(tmp_path / "fresh.json")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = await started("services.ingest.api", ingest.settings, TONGCUN_PORT=port, TONGCUN_KEYRING=str(tmp_path / "fresh.json"))
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert errors.decode() == "the keyring is not the one that this database was written with: restore that one from its backup\n"


@pytest.fixture(scope="module")
async def installed(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Settings]:
    dsns = await make_database("ingest")
    await install(dsns.owner, PARTITIONS)
    return configured(tmp_path_factory.mktemp("processes"), dsns)
