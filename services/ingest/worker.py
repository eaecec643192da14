"""`python -m services.ingest.worker`: the relay of the scans log; runs until a signal, drains, exits."""

import asyncio

from services.ingest import retention
from services.ingest.health import check_installation
from services.ingest.settings import WorkerSettings
from shared import process
from shared.contracts.scan import TOPIC
from shared.db import Database
from shared.log import Relay
from shared.settings import load
from shared.telemetry import configure


async def main() -> None:
    settings = load(WorkerSettings)
    configure("ingest-worker", settings.log_level)
    stop = process.stop_on_signal()
    database = await Database(settings.database_url, max_size=3, application_name="ingest-worker").open()
    try:
        await check_installation(database, settings.partitions)
        await process.check_topic(settings.kafka_bootstrap, TOPIC, settings.partitions)
        relay = Relay(database, settings.kafka_bootstrap, TOPIC)
        checks = {
            "database": lambda: check_installation(database, settings.partitions),
            "broker": lambda: process.check_broker(settings.kafka_bootstrap),
            "relay": process.moving(relay),
        }
        async with process.health("ingest-worker", settings, checks), asyncio.TaskGroup() as group:
            if settings.keep_bodies_days:
                group.create_task(retention.run(database, settings.keep_bodies_days, stop))
            await relay.run(stop)
    finally:
        await database.close()


if __name__ == "__main__":
    process.run(main)
