"""`python -m services.registry.worker`: the relay of the registry's log; runs until a signal, drains, exits."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator

import structlog
import uvicorn
from fastapi import FastAPI

from services.registry import health
from services.registry.settings import Settings
from services.registry.starting import look_at, one_line
from shared.contracts.registry import TOPIC
from shared.db import Database
from shared.http import create_app
from shared.log import Relay, Stalled
from shared.settings import load
from shared.telemetry import configure

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> int:
    """-> the exit code: 1 asks the supervisor to start us anew."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await look_at(settings.database_url)
    database = await Database(settings.database_url, max_size=3, application_name="registry-worker").open()
    relay = Relay(database, settings.kafka_bootstrap, TOPIC)
    try:
        async with _health(settings, database, relay):
            await relay.run(stop)
    except Stalled as stalled:
        log.error("worker.stalled", reason=str(stalled))
        return 1
    finally:
        await database.close()
    return 0


@contextlib.asynccontextmanager
async def _health(settings: Settings, database: Database, relay: Relay) -> AsyncIterator[None]:
    """Health and metrics on `port`, where one is set; signals stay ours."""
    if not settings.port:
        yield
        return
    server = uvicorn.Server(uvicorn.Config(app(settings, database, relay), settings.host, settings.port, log_config=None, access_log=False))
    serving = asyncio.create_task(server._serve())
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def app(settings: Settings, database: Database, relay: Relay) -> FastAPI:
    async def moving() -> None:
        if not relay.healthy:
            raise health.NotReady("the relay has not moved for 30 s though the broker answers: the process starts anew")

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    return create_app(
        service="registry-worker",
        title="Tongcun registry relay",
        description="Carries the registry's log to Kafka.",
        lifespan=lifespan,
        routers=(),
        checks={
            "database": lambda: health.check_migrations(database),
            "broker": lambda: health.check_broker(settings.kafka_bootstrap),
            "relay": moving,
        },
        max_body_bytes=1024,
    )


def main() -> None:
    settings = load(Settings)
    configure("registry-worker", settings.log_level)
    with one_line():
        sys.exit(asyncio.run(run(settings)))


if __name__ == "__main__":
    main()
