"""What readiness asks of the registry's processes."""

from services.registry import repository
from shared.db import Database
from shared.process import CannotRun, check_schema


async def check_installation(database: Database) -> None:
    """The schema is this code's, and the divisions are loaded."""
    await check_schema(database, "registry")
    async with database.read() as read:
        if await repository.newest(read) is None:
            raise CannotRun("the divisions are not loaded: run python -m services.registry.migrate")
