"""`python -m services.subsidy.worker`: follows the scans log and the registry log, alone or with others like it; until a signal."""

import asyncio
import gc

import httpx

from services.subsidy.service.batch import ScanBatches
from services.subsidy.service.evidence import read_value
from services.subsidy.service.merging import keep_merged
from services.subsidy.service.registry_apply import RegistryBatches, read_change
from services.subsidy.settings import WorkerSettings
from shared import process, telemetry
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.db import Database
from shared.log import Consumer, Reporter, check_reader, http_reporter
from shared.settings import load

CONSUMER = "subsidy"  # our name in the writers' tables
POOL = 13  # two transactions at once per consumer, their watchers, the reports, the mirrors and the merging of totals


def consumers(database: Database, bootstrap: str, scans: Reporter, registry: Reporter, partitions: list[int] | None) -> list[Consumer]:
    """The scans consumer, and the registry's: all workers share both logs by Kafka's consumer groups, unless `partitions` of the scans log
    are given; then the owner of partition 0 follows the registry, too."""
    books, changes = ScanBatches(database), RegistryBatches(database)
    found = [
        Consumer(
            database, bootstrap, SCANS_TOPIC, books.apply, scans, group=group_of(SCANS_TOPIC),
            partitions=partitions, before=books.before, has_work=books.has_work, decode=read_value,
        )
    ]  # fmt: skip
    if partitions is None or 0 in partitions:
        found.append(
            Consumer(
                database, bootstrap, REGISTRY_TOPIC, changes.apply, registry, group=group_of(REGISTRY_TOPIC),
                partitions=None if partitions is None else [0], before=changes.before, decode=read_change,
            )
        )  # fmt: skip
    return found


def group_of(topic: str) -> str:
    """Begins like the topic, so that one prefix in Kafka's access rules covers both."""
    return f"{topic}.{CONSUMER}"


def without_cycles() -> None:
    """A batch is tens of thousands of tuples that die with it and form no cycle: the collector must not walk them every 700 allocations."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


async def run(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Until the stop. Raises Stalled when the process should start anew."""
    database = await Database(settings.database_url, max_size=POOL, application_name="subsidy-worker").open()
    try:
        await check_start(database, settings)
        async with httpx.AsyncClient() as client:
            scans, registry = (
                http_reporter(client, f"{url.rstrip('/')}/v1/log/consumers/{CONSUMER}", lambda: settings.service_token)
                for url in (settings.ingest_url, settings.registry_url)
            )
            following = consumers(database, settings.kafka_bootstrap, scans, registry, settings.owned)
            checks = {
                "database": lambda: process.check_schema(database, "subsidy"),
                "broker": lambda: process.check_broker(settings.kafka_bootstrap),
                "moving": process.moving(*following),
                "history": lambda: _one_history(following),
            }
            async with process.health("subsidy-worker", settings, checks), asyncio.TaskGroup() as tasks:
                for consumer in following:
                    tasks.create_task(consumer.run(stop))
                tasks.create_task(keep_merged(database, stop))
    finally:
        await database.close()


async def check_start(database: Database, settings: WorkerSettings) -> None:
    """The books are this installation's, and so is the broker. Raises CannotRun, PartitionMismatch, TopicMismatch."""
    await process.check_schema(database, "subsidy")
    async with database.read() as read:
        await check_reader(read, SCANS_TOPIC, settings.partitions)
    await process.check_topic(settings.kafka_bootstrap, SCANS_TOPIC, settings.partitions)


async def _one_history(following: list[Consumer]) -> None:
    """A partition whose writer has another history stands until an operator has repaired it."""
    if diverged := [f"partition {p}: {why}" for consumer in following for p, why in consumer.diverged.items()]:
        raise process.CannotRun("; ".join(diverged))


async def main() -> None:
    settings = load(WorkerSettings)
    telemetry.configure("subsidy-worker", settings.log_level)
    without_cycles()
    await run(settings, process.stop_on_signal())


if __name__ == "__main__":
    process.run(main)
