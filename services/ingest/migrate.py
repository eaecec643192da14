"""`python -m services.ingest.migrate`: schema and log partitions, as the owner. Idempotent."""

import asyncio

from services.ingest.feeds import refuse_foreign_keyring
from services.ingest.settings import MigrateSettings
from shared import migrations, process
from shared.contracts.scan import TOPIC
from shared.db import Database
from shared.keyring import Keyring
from shared.log import check_writer, create_partitions
from shared.log.tables import IS_THERE
from shared.settings import load


async def install(dsn: str, partitions: int, keys: str | None = None) -> None:
    """`dsn`: the owner's; `keys`: the keyring, which must then be the one that the database was written with. A mistake changes nothing."""
    await process.first(dsn, lambda database: check(database, partitions, keys))
    await asyncio.to_thread(migrations.upgrade, "ingest", dsn)
    database = await Database(dsn, max_size=1).open()
    try:
        async with database.write() as tx:
            await create_partitions(tx, TOPIC, partitions)
    finally:
        await database.close()


async def check(database: Database, partitions: int, keys: str | None) -> None:
    """Raises CannotRun, PartitionMismatch, KeyringError: another server, another installation's volume or keyring."""
    async with database.read() as read:
        await process.check_server(read)
        await check_writer(read, TOPIC, partitions)
        if keys and await read.fetchval(IS_THERE, "feed_secret"):
            await refuse_foreign_keyring(read, Keyring.load(keys))


async def main() -> None:
    settings = load(MigrateSettings)
    await install(settings.owner_database_url, settings.partitions, settings.keyring)


if __name__ == "__main__":
    process.run(main)
