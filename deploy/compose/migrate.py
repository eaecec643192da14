"""`python -m deploy.compose.migrate`: once at each start, what the embedded default does by itself: databases, roles, then the migrate
step of each service. Idempotent. A mistake is one line and exit code 2.
"""

import os
from pathlib import Path

import asyncpg

from deploy import databases
from deploy.compose import secrets
from deploy.databases import SERVICES
from services.ingest import migrate as ingest
from services.ingest import settings as ingest_settings
from services.registry import migrate as registry
from services.registry import settings as registry_settings
from services.subsidy import migrate as subsidy
from services.subsidy import settings as subsidy_settings
from shared import process
from shared.contracts.registry import PARTITION
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.settings import read

BOOTSTRAP = "kafka:9092"  # in the stack


async def main() -> None:
    """In this one process, one service after the other: to import everything anew for each would take longer than the work."""
    taken = read(ingest_settings.MigrateSettings, environment("ingest"))
    entered = read(registry_settings.MigrateSettings, environment("registry"))
    booked = read(subsidy_settings.MigrateSettings, environment("subsidy"))
    await process.check_topic(BOOTSTRAP, SCANS_TOPIC, taken.partitions)
    await process.check_topic(BOOTSTRAP, REGISTRY_TOPIC, PARTITION + 1)
    try:
        await create_databases(secrets.DIRECTORY)
    except secrets.BadSecret as error:
        raise process.CannotRun(str(error)) from None
    await ingest.install(taken.owner_database_url, taken.partitions, taken.keyring)
    await registry.install(entered.owner_database_url, entered.keyring)
    await subsidy.install(booked.owner_database_url, booked.partitions, booked.policies)


def environment(service: str) -> dict[str, str]:
    """What the service's own migrate step would be told."""
    return os.environ | {"TONGCUN_OWNER_DATABASE_URL_FILE": str(secrets.DIRECTORY / f"{service}-owner")}


async def create_databases(directory: Path) -> None:
    """Their roles' passwords are set to those of the secrets each time. Raises CannotRun, BadSecret."""
    password = secrets.read(directory, secrets.SUPERUSER)

    def superuser_dsn(database: str) -> str:
        return f"postgresql://postgres:{password}@{secrets.HOST}/{database}"

    try:
        await process.first(superuser_dsn("postgres"), process.check_database)
        for service in SERVICES:
            await databases.create(superuser_dsn, service, service, secrets.passwords_of(directory, service))
    except asyncpg.InvalidPasswordError:
        raise process.CannotRun(
            "the password in the secret postgres is not the one that PostgreSQL's volume was made with: put that file back from your copy; "
            "to begin anew, without any data: docker compose down -v"
        ) from None


if __name__ == "__main__":
    process.run(main)
