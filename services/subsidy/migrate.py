"""`python -m services.subsidy.migrate`: as the owner role, bring the schema up to date, then what an installation needs. Idempotent."""

import asyncio
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from services.subsidy.service.policies import PolicyRefused, activate, read_policies
from services.subsidy.settings import MigrateSettings
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.db import Database
from shared.log import PartitionMismatch, create_reader
from shared.settings import load

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config(dsn: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["dsn"] = dsn
    return config


async def install(dsn: str, partitions: int, policies: Path) -> list[str]:
    """Schema, reader's places, policies -> the policy versions that were activated now. `dsn`: the owner's."""
    await asyncio.to_thread(command.upgrade, alembic_config(dsn), "head")
    database = await Database(dsn, max_size=2, application_name="subsidy-migrate").open()
    try:
        async with database.write() as tx:
            await create_reader(tx, SCANS_TOPIC, partitions)
            await create_reader(tx, REGISTRY_TOPIC, 1)
        return await activate(database, read_policies(policies))
    finally:
        await database.close()


def main() -> None:
    settings = load(MigrateSettings)
    try:
        asyncio.run(install(settings.owner_database_url, settings.partitions, settings.policies))
    except (PolicyRefused, PartitionMismatch) as e:
        sys.stderr.write(f"{e}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
