"""The databases and roles of a service, on whichever PostgreSQL 18: before its migrations, as the superuser."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import asyncpg

SERVICES = ("ingest", "registry", "subsidy")


class Passwords(NamedTuple):
    """Hexadecimal, of the roles `<service>_owner` (DDL) and `<service>_app` (the service)."""

    owner: str
    app: str


async def create(superuser_dsn: Callable[[str], str], service: str, database: str, passwords: Passwords) -> None:
    """The database and its service's two roles, if they are not there; every statement may be repeated after a crash.

    The app role reads and adds: history cannot be rewritten with its password. A migration that needs more grants it, table by table.
    `superuser_dsn`: libpq URL of the database named.
    """
    assert all(password.isalnum() for password in passwords), "they stand in the statement as they are"
    owner, app = f"{service}_owner", f"{service}_app"
    async with connection(superuser_dsn("postgres")) as pg:
        for role, password in zip((owner, app), passwords, strict=True):
            if not await pg.fetchval("select exists (select from pg_roles where rolname = $1)", role):
                with contextlib.suppress(asyncpg.DuplicateObjectError):  # another session of the tests was first
                    await pg.execute(f'create role "{role}" login')
            await pg.execute(f"alter role \"{role}\" password '{password}'")
        if not await pg.fetchval("select exists (select from pg_database where datname = $1)", database):
            await pg.execute(f'create database "{database}" owner "{owner}" template template0')
        await pg.execute(f'revoke all on database "{database}" from public')
        await pg.execute(f'grant connect, temporary on database "{database}" to "{app}"')
    async with connection(superuser_dsn(database)) as pg:
        await pg.execute(
            f"""
            alter default privileges for role "{owner}" grant select, insert on tables to "{app}";
            alter default privileges for role "{owner}" grant usage, select on sequences to "{app}";
            """
        )


@contextlib.asynccontextmanager
async def connection(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    pg = await asyncpg.connect(dsn, timeout=5, command_timeout=30)
    try:
        yield pg
    finally:
        await pg.close(timeout=5)
