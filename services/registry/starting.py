"""How the registry's processes start: what is in the way is one line on standard error, never a traceback."""

import contextlib
import socket
import sys
from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from services.registry.health import NotReady, check_migrations
from shared.auth import BadToken
from shared.db import LOST, Database
from shared.log import PartitionMismatch

NO_DATABASE: tuple[type[BaseException], ...] = (*LOST, asyncpg.PostgresError, SQLAlchemyError)
MISTAKE = 2  # the exit code of what a restart does not mend


class PortTaken(Exception):
    """Somebody else listens there."""


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Around a process's life: exit code 2 for a mistake of configuration, 1 for what may pass."""
    try:
        yield
    except (BadToken, PortTaken, NotReady, PartitionMismatch) as e:
        _exit(MISTAKE, str(e))
    except NO_DATABASE as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        _exit(1, f"PostgreSQL does not take us ({reason}): is it running, and is its address in TONGCUN_DATABASE_URL right?")


def _exit(code: int, line: str) -> None:
    sys.stderr.write(f"{line}\n")
    raise SystemExit(code) from None


async def look_at(dsn: str) -> None:
    """Before serving: the database answers and has this code's schema."""
    database = await Database(dsn, max_size=1).open()
    try:
        await check_migrations(database)
    finally:
        await database.close()


def listen(host: str, port: int) -> socket.socket:
    """The socket that the API answers on; bound here, since uvicorn would end without saying why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as e:
        listening.close()
        raise PortTaken(f"cannot listen on {host}:{port} ({e.strerror}): stop what holds it or choose another TONGCUN_PORT") from None
    return listening
