"""What readiness asks of the registry's processes; each check says in its exception what to do."""

from pathlib import Path

import asyncpg

from services.registry import repository
from shared import kafka
from shared.db import Database

HEAD = max(p.stem for p in (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py")).rsplit("_", 1)[0]


class NotReady(Exception):
    """The sentence is what /readyz shows."""


async def check_migrations(database: Database) -> None:
    """The schema is this code's, and the divisions are loaded."""
    try:
        async with database.read() as read:
            version, newest = await read.fetchval(repository.SCHEMA_VERSION), await repository.newest(read)
    except asyncpg.UndefinedTableError:
        version, newest = None, None
    if version != HEAD or newest is None:
        raise NotReady(f"the schema is at {version}, this code needs {HEAD}: run python -m services.registry.migrate")


async def check_broker(bootstrap: str) -> None:
    if not await kafka.answers(bootstrap):
        raise NotReady(f"the broker at {bootstrap} does not answer; changes are kept and published when it does")
