"""`python -m services.subsidy.worker`: follows the scans log, and on the owner of its partition 0 the registry log; until a signal."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import httpx
import structlog
import uvicorn
from fastapi import FastAPI

from services.subsidy.service.batch import ScanBatches
from services.subsidy.service.evidence import read_value
from services.subsidy.service.registry_apply import RegistryBatches, read_change
from services.subsidy.settings import WorkerSettings
from shared import telemetry
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.db import Database
from shared.http import create_app
from shared.log import Consumer, Reporter, Stalled, http_reporter
from shared.settings import load

log = structlog.get_logger(__name__)

CONSUMER = "subsidy"  # our name in the writers' tables
POOL = 10  # two transactions at once per consumer, their watchers, and the reports
MAX_BODY_BYTES = 1024


def consumers(database: Database, bootstrap: str, scans: Reporter, registry: Reporter, partitions: list[int]) -> list[Consumer]:
    """The scans consumer; on the owner of partition 0 also the registry's."""
    books = ScanBatches(database)
    found = [
        Consumer(
            database, bootstrap, SCANS_TOPIC, books.apply, scans,
            partitions=partitions, before=books.before, has_work=books.has_work, decode=read_value,
        )
    ]  # fmt: skip
    if 0 in partitions:
        changes = RegistryBatches(database)
        found.append(
            Consumer(
                database,
                bootstrap,
                REGISTRY_TOPIC,
                changes.apply,
                registry,
                partitions=[0],
                before=changes.before,
                decode=read_change,
            )
        )
    return found


async def run(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Until the stop. Raises Stalled when the process should start anew."""
    database = await Database(settings.database_url, max_size=POOL, application_name="subsidy-worker").open()
    try:
        async with httpx.AsyncClient() as client:
            scans, registry = (
                http_reporter(client, f"{url.rstrip('/')}/v1/log/consumers/{CONSUMER}", lambda: settings.service_token)
                for url in (settings.ingest_url, settings.registry_url)
            )
            following = consumers(database, settings.kafka_bootstrap, scans, registry, settings.owned)
            async with asyncio.TaskGroup() as tasks:
                health = tasks.create_task(_serve_health(settings, following)) if settings.port else None
                work = [tasks.create_task(consumer.run(stop)) for consumer in following]
                await asyncio.wait(work)
                if health:
                    health.cancel()
    finally:
        await database.close()


async def _serve_health(settings: WorkerSettings, following: list[Consumer]) -> None:
    """Health and metrics of a worker, where a port is given."""

    async def moving() -> None:
        if diverged := [f"{p}: {why}" for consumer in following for p, why in consumer.diverged.items()]:
            raise RuntimeError("; ".join(diverged))
        if not all(consumer.healthy for consumer in following):
            raise RuntimeError("there is something to be had and nothing moves; the process will start anew")

    app = create_app(
        service="subsidy-worker",
        title="Tongcun subsidy worker",
        description="Health and metrics of a worker.",
        lifespan=_nothing,
        routers=[],
        checks={"log": moving},
        max_body_bytes=MAX_BODY_BYTES,
    )
    await uvicorn.Server(uvicorn.Config(app, host=settings.host, port=settings.port, log_config=None)).serve()


@contextlib.asynccontextmanager
async def _nothing(app: FastAPI) -> AsyncIterator[None]:
    yield


async def main() -> int:
    settings = load(WorkerSettings)
    telemetry.configure("subsidy-worker", settings.log_level)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    code = 0
    try:
        await run(settings, stop)
    except* Stalled as stalled:
        log.error("worker.stalled", reasons=[str(e) for e in stalled.exceptions])
        code = 1
    return code


if __name__ == "__main__":
    import uvloop

    raise SystemExit(uvloop.run(main()))
