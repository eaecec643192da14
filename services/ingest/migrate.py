"""`python -m services.ingest.migrate`: schema and log partitions, as the owner. Idempotent."""

import asyncio

from services.ingest.settings import MigrateSettings
from shared import migrations, process
from shared.contracts.scan import TOPIC
from shared.db import Database
from shared.log import create_partitions
from shared.settings import load


async def install(dsn: str, partitions: int) -> None:
    """`dsn`: the owner's."""
    await asyncio.to_thread(migrations.upgrade, "ingest", dsn)
    database = await Database(dsn, max_size=1).open()
    try:
        async with database.write() as tx:
            await create_partitions(tx, TOPIC, partitions)
    finally:
        await database.close()


async def main() -> None:
    settings = load(MigrateSettings)
    await install(settings.owner_database_url, settings.partitions)


if __name__ == "__main__":
    process.run(main)
