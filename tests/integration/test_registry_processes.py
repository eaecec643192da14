"""The registry as processes: what is written arrives in Kafka, in order, though the worker is killed; a fault is one line."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.embedded.broker import Broker
from deploy.embedded.installation import free_port
from shared import keyring
from shared.auth import generate_keys
from shared.contracts.registry import TOPIC
from tests.conftest import MakeDatabase
from tests.registry_api import JUNE, Registry, day, running

WITHIN_S = 20


@contextlib.asynccontextmanager
async def process(module: str, dsn: str, bootstrap: str, jwks: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Ready when it is given; killed when the block ends, if it still runs."""
    settings = {"DATABASE_URL": dsn, "KAFKA_BOOTSTRAP": bootstrap, "JWKS": str(jwks), "PORT": str(port), "KEYRING": ring(jwks.parent)}
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TONGCUN_")} | {f"TONGCUN_{k}": v for k, v in settings.items()}
    started = await asyncio.create_subprocess_exec(sys.executable, "-m", f"services.registry.{module}", env=environ)
    try:
        await ready(port)
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


def ring(directory: Path) -> str:
    """A keyring in the directory, the same each time."""
    path = directory / "keyring.json"
    if not path.exists():
        keyring.create(path)
    return str(path)


async def ready(port: int) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(WITHIN_S):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)


async def written(registry: Registry) -> list[bytes]:
    items = (await registry.get("/v1/log/0", limit=1000))["items"]
    return [item["value"].encode() for item in items]


async def published(bootstrap: str, ours: list[bytes]) -> list[bytes]:
    """Our values in the topic, which other tests write to as well, each when it first appears; until the last one is there."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    found: list[bytes] = []
    await consumer.start()
    try:
        consumer.assign([TopicPartition(TOPIC, 0)])
        await consumer.seek_to_beginning()
        async with asyncio.timeout(WITHIN_S):
            while len(found) < len(ours):
                value = (await consumer.getone()).value or b""
                if value in ours and value not in found:
                    found.append(value)
    finally:
        await consumer.stop()
    return found


async def test_every_write_arrives_in_order_though_the_worker_is_killed(
    make_database: MakeDatabase, broker: Broker, tmp_path: Path
) -> None:
    jwks, port = tmp_path / "jwks.json", free_port(set())
    jwks.write_text(generate_keys()[1])
    async with running(make_database) as registry:
        station = await registry.station()
        async with process("worker", registry.app_dsn, broker.bootstrap, jwks, port) as first:
            await registry.call("PATCH", f"/v1/stations/{station}", {"name": "二", "effective_at": day(5, 1)})
            first.send_signal(signal.SIGKILL)
            await first.wait()
        await registry.call("PATCH", f"/v1/stations/{station}", {"name": "三", "effective_at": JUNE})
        async with process("worker", registry.app_dsn, broker.bootstrap, jwks, port) as second:
            ours = await written(registry)
            assert await published(broker.bootstrap, ours) == ours
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), WITHIN_S) == 0


async def test_the_api_serves_as_a_process_and_ends_on_a_signal(make_database: MakeDatabase, broker: Broker, tmp_path: Path) -> None:
    jwks, port = tmp_path / "jwks.json", free_port(set())
    jwks.write_text(generate_keys()[1])
    async with running(make_database) as registry, process("api", registry.app_dsn, broker.bootstrap, jwks, port) as api:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/")).json()["service"] == "registry"
            assert (await client.get("/v1/stations")).status_code == 401
        api.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(api.wait(), WITHIN_S) in (0, -signal.SIGTERM)


async def said_by(module: str, **settings: str) -> tuple[int, list[str]]:
    """-> (exit code, lines on standard error) of a process that cannot start."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TONGCUN_")} | {f"TONGCUN_{k}": v for k, v in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.registry.{module}", env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), WITHIN_S)
    return process.returncode or 0, said.decode().strip().splitlines()


@pytest.mark.parametrize("module", ["api", "worker", "migrate"])
async def test_what_is_in_the_way_is_one_line(module: str, tmp_path: Path) -> None:
    code, said = await said_by(module)
    assert (code, len(said)) == (2, 1)
    assert "URL is not set" in said[0]
    jwks = tmp_path / "jwks.json"
    jwks.write_text(generate_keys()[1])
    nobody = {
        "DATABASE_URL": "postgresql://x:y@127.0.0.1:9/none",
        "KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "JWKS": str(jwks),
        "KEYRING": ring(tmp_path),
    }
    if module == "migrate":
        nobody = {"OWNER_DATABASE_URL": nobody["DATABASE_URL"]}
    code, said = await said_by(module, **nobody)
    assert (code, len(said)) == (1, 1)
    assert "PostgreSQL" in said[0]


async def test_the_api_says_which_port_key_set_or_schema_is_wrong(make_database: MakeDatabase, tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(generate_keys()[1])
    async with running(make_database) as registry:
        good = {"DATABASE_URL": registry.app_dsn, "KAFKA_BOOTSTRAP": "127.0.0.1:9", "JWKS": str(jwks), "KEYRING": ring(tmp_path)}
        empty = (await make_database("registry")).app
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            wrong = {
                "PORT": (port, "TONGCUN_PORT"), "JWKS": ("/none", "/none"), "DATABASE_URL": (empty, "registry.migrate"),
                "KEYRING": ("/none", "restore it from its backup"),
            }  # fmt: skip
            for name, (value, word) in wrong.items():
                code, said = await said_by("api", **good | {name: value})
                assert (code, len(said)) == (2, 1), said
                assert word in said[0]
