"""What readiness asks of ingest's processes; each check says in its exception what to do."""

from pathlib import Path

import asyncpg

from services.ingest import repository
from shared import kafka, log
from shared.contracts.scan import TOPIC
from shared.db import Database

HEAD = max(p.stem for p in (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py")).rsplit("_", 1)[0]


class NotReady(Exception):
    """The sentence is what /readyz shows."""


async def check_installation(database: Database, partitions: int) -> None:
    """The schema is this code's, and the log has as many partitions as we are told: with another number parcels would change place."""
    try:
        async with database.read() as read:
            version = await repository.migrated(read)
            last, beyond = await log.head(read, TOPIC, partitions - 1), await log.head(read, TOPIC, partitions)
    except asyncpg.UndefinedTableError:
        raise NotReady(f"the schema is empty, this code needs {HEAD}: run python -m services.ingest.migrate") from None
    if version != HEAD:
        raise NotReady(f"the schema is at {version}, this code needs {HEAD}: run python -m services.ingest.migrate")
    if last is None or beyond is not None:
        raise NotReady(f"the log was not installed with {partitions} partitions: set TONGCUN_PARTITIONS to the number of the installation")


async def check_broker(bootstrap: str) -> None:
    if not await kafka.answers(bootstrap):
        raise NotReady(f"the broker at {bootstrap} does not answer; pushes are kept and published when it does")
