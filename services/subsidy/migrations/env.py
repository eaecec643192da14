"""Alembic's entry point: the owner's DSN comes from whoever runs it, over SQLAlchemy's asyncpg dialect."""

import asyncio
import re

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from services.subsidy.models import metadata

_HASH_PARTITION = re.compile(r"_p\d+$")  # children of a hash-partitioned table: made by the migration, no tables of the model


def _ours(name: str | None, kind: str, parents: object) -> bool:
    return not (kind == "table" and name and _HASH_PARTITION.search(name))


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, include_name=_ours, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def _online(dsn: str) -> None:
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
            await connection.commit()
    finally:
        await engine.dispose()


if (shared := context.config.attributes.get("connection")) is not None:
    _run(shared)
else:
    asyncio.run(_online(context.config.attributes["dsn"]))
