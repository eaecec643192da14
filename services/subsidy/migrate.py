"""`python -m services.subsidy.migrate`: schema, the reader's places in both logs, the shipped policies, as the owner. Idempotent."""

import asyncio
from pathlib import Path

from services.subsidy.repository.history import FREEZE_HISTORY
from services.subsidy.service.policies import activate, read_policies
from services.subsidy.settings import MigrateSettings
from shared import migrations, process
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.db import Database
from shared.log import check_reader, create_reader
from shared.settings import load


async def install(dsn: str, partitions: int, policies: Path) -> list[str]:
    """Schema, reader's places, policies -> the policy versions that were activated now. `dsn`: the owner's. A mistake changes nothing."""
    await process.first(dsn, lambda database: check(database, partitions))
    await asyncio.to_thread(migrations.upgrade, "subsidy", dsn)
    database = await Database(dsn, max_size=2, application_name="subsidy-migrate").open()
    try:
        async with database.write() as tx:
            await create_reader(tx, SCANS_TOPIC, partitions)
            await create_reader(tx, REGISTRY_TOPIC, 1)
            await tx.execute(FREEZE_HISTORY)
        return await activate(database, read_policies(policies))
    finally:
        await database.close()


async def check(database: Database, partitions: int) -> None:
    """Raises CannotRun, PartitionMismatch: another server, or another installation's volume."""
    async with database.read() as read:
        await process.check_server(read)
        await check_reader(read, SCANS_TOPIC, partitions)


async def main() -> None:
    settings = load(MigrateSettings)
    await install(settings.owner_database_url, settings.partitions, settings.policies)


if __name__ == "__main__":
    process.run(main)
