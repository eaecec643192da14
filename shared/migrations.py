"""Alembic for the three services: over asyncpg, as the database's owner, never waiting long for a lock."""

import asyncio
import functools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

LOCK_TIMEOUT = "5s"  # a migration that waits longer blocks everybody behind it

IncludeName = Callable[[str | None, Any, Any], bool]


def config(service: str, dsn: str = "") -> Config:
    """Alembic's configuration without an ini file: where the migrations are, and the owner's DSN."""
    spec = find_spec(f"services.{service}")
    assert spec is not None
    assert spec.origin is not None, f"services.{service} is no package of ours"
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(spec.origin).parent / "migrations").replace("%", "%%"))
    alembic.attributes["dsn"] = dsn
    return alembic


def upgrade(service: str, dsn: str) -> None:
    """Bring the schema up to date. Starts an event loop of its own: from async code, in a thread."""
    command.upgrade(config(service, dsn), "head")


@functools.cache
def head(service: str) -> str:
    """The schema version that this code needs."""
    revision = ScriptDirectory.from_config(config(service)).get_current_head()
    assert revision, f"{service} has no migration"
    return revision


def run(metadata: MetaData, include_name: IncludeName | None = None) -> None:
    """The body of each service's `migrations/env.py`."""
    asyncio.run(_online(context.config.attributes["dsn"], metadata, include_name))


async def _online(dsn: str, metadata: MetaData, include_name: IncludeName | None) -> None:
    def migrate(connection: Connection) -> None:
        connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
        context.configure(connection=connection, target_metadata=metadata, include_name=include_name, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()

    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(migrate)
    finally:
        await engine.dispose()
