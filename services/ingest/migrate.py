"""`python -m services.ingest.migrate`: schema and log partitions, as the owner. Idempotent."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config

from services.ingest.settings import MigrateSettings
from shared.contracts.scan import TOPIC
from shared.db import Database
from shared.log import create_partitions
from shared.settings import load


def config(dsn: str) -> Config:
    """Alembic's configuration, without an ini file: the only setting is where to find what."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    alembic.attributes["dsn"] = dsn
    return alembic


async def set_up(dsn: str, partitions: int) -> None:
    database = await Database(dsn, max_size=1).open()
    try:
        async with database.write() as tx:
            await create_partitions(tx, TOPIC, partitions)
    finally:
        await database.close()


def migrate(dsn: str, partitions: int) -> None:
    command.upgrade(config(dsn), "head")
    asyncio.run(set_up(dsn, partitions))


if __name__ == "__main__":
    settings = load(MigrateSettings)
    migrate(settings.owner_database_url, settings.partitions)
