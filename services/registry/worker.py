"""`python -m services.registry.worker`: the relay of the registry's log, and the end of filings with their licences; until a signal."""

import asyncio

from services.registry.health import check_installation
from services.registry.service import licences
from services.registry.settings import WorkerSettings
from shared import process
from shared.contracts.registry import PARTITION, TOPIC
from shared.db import Database
from shared.log import Relay
from shared.settings import load
from shared.telemetry import configure


async def main() -> None:
    settings = load(WorkerSettings)
    configure("registry-worker", settings.log_level)
    stop = process.stop_on_signal()
    database = await Database(settings.database_url, max_size=3, application_name="registry-worker").open()
    try:
        await check_installation(database)
        await process.check_topic(settings.kafka_bootstrap, TOPIC, PARTITION + 1)
        relay = Relay(database, settings.kafka_bootstrap, TOPIC)
        checks = {
            "database": lambda: check_installation(database),
            "broker": lambda: process.check_broker(settings.kafka_bootstrap),
            "relay": process.moving(relay),
        }
        async with process.health("registry-worker", settings, checks), asyncio.TaskGroup() as group:
            group.create_task(licences.run(database, stop))
            await relay.run(stop)
    finally:
        await database.close()


if __name__ == "__main__":
    process.run(main)
