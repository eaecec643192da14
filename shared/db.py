"""PostgreSQL: reads and writes are different types, each is one transaction, and nobody waits for ever for a row.

All SQL runs through asyncpg; SQLAlchemy only declares the tables, for Alembic (docs/decisions/0003-sql.md).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import asyncpg
import structlog

log = structlog.get_logger(__name__)

BLOCKED_S = 5  # a transaction that has waited this long for a row terminates whoever holds it; no statement of ours may take as long
IDLE_ROOT_S = BLOCKED_S - 1  # the holder must not have moved for this long: a healthy transaction ahead of us is left alone
SESSION = {
    "timezone": "UTC",
    # a process stopped by SIGSTOP in the middle of a transaction must not keep its rows
    "idle_in_transaction_session_timeout": "5000",
    "lock_timeout": "15000",  # backstop: the 5 s rule acts first
}
CONNECT_S = 5
POSTGRES_MAJOR = 18  # what we rely on was built and tested against one major version
COMMAND_S = 30

# Everything by which asyncpg says "the server is gone". InternalClientError is no subclass of the others (asyncpg issue #1069).
LOST: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
)


class Read(Protocol):
    """A transaction that can only look."""

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]: ...
    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...
    async def cursor(self, query: str, *args: object) -> "Cursor": ...


class Cursor(Protocol):
    """Rows of one snapshot, a page at a time."""

    async def fetch(self, n: int) -> list[asyncpg.Record]: ...


class Write(Read, Protocol):
    """A transaction that can change something; whoever opened it commits it."""

    async def execute(self, query: str, *args: object) -> str: ...
    async def executemany(self, command: str, args: Iterable[Sequence[object]]) -> None: ...
    async def copy_records_to_table(self, table_name: str, *, records: Iterable[Sequence[object]], columns: Sequence[str]) -> str: ...
    def get_server_pid(self) -> int: ...


class Database:
    """One pool of connections to one database.

    `dsn` is a libpq URL. `open()` fails within CONNECT_S seconds if the server does not answer, a statement after `command_s`.
    """

    def __init__(self, dsn: str, *, max_size: int = 8, application_name: str = "tongcun", command_s: float = COMMAND_S) -> None:
        self.dsn = dsn
        self._command_s = command_s
        self._max_size = max_size
        self._settings = SESSION | {"application_name": application_name}
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> "Database":
        self._pool = await asyncpg.create_pool(
            self.dsn,
            min_size=1,
            max_size=self._max_size,
            timeout=CONNECT_S,
            command_timeout=self._command_s,
            server_settings=self._settings,
            reset=_nothing_to_reset,
        )
        return self

    async def close(self) -> None:
        if self._pool:
            try:
                await asyncio.wait_for(self._pool.close(), 5)
            except LOST:
                self._pool.terminate()
            self._pool = None

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            raise asyncpg.InterfaceError("the database is not open")
        return self._pool

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Read]:
        """One snapshot for all that a GET shows: REPEATABLE READ, READ ONLY. Within `one_transaction` what that has written, too."""
        if joined := self._joined():
            yield cast(Read, joined)
            return
        async with self._transaction(isolation="repeatable_read", readonly=True) as pg:
            yield cast(Read, pg)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[Write]:
        """One READ COMMITTED transaction; it commits when the block ends and rolls back when it raises. Within `one_transaction` a part of
        that: what it rolls back is its own."""
        if joined := self._joined():
            async with _ended(joined, joined.transaction()):
                yield cast(Write, joined)
            return
        async with self._transaction() as pg:
            yield cast(Write, pg)

    @contextlib.asynccontextmanager
    async def one_transaction(self) -> AsyncIterator[Write]:
        """Whatever this task reads and writes at this address until the block ends is one transaction, which commits then."""
        if self._joined():
            async with self.write() as tx:
                yield tx
            return
        joined: _Joined | None = None
        async with self._transaction() as pg:
            joined = _Joined(self.dsn, pg, asyncio.current_task())
            token = _JOINED.set(joined)
            try:
                yield cast(Write, pg)
            finally:
                _JOINED.reset(token)
        for act in joined.afterwards:
            act()

    def when_committed(self, act: Callable[[], None]) -> None:
        """For what may be known only then, like a cache that must not be filled anew before: now, or after `one_transaction`."""
        found = _JOINED.get()
        if found and found.dsn == self.dsn:
            found.afterwards.append(act)
        else:
            act()

    def _joined(self) -> Any:
        """The connection, for the task itself: another that it has started would speak on it at the same time, or after its end."""
        found = _JOINED.get()
        return found.pg if found and found.dsn == self.dsn and found.task is asyncio.current_task() else None

    @contextlib.asynccontextmanager
    async def _transaction(self, **options: Any) -> AsyncIterator[Any]:
        async with self.pool.acquire(timeout=CONNECT_S) as pg, _ended(pg, pg.transaction(**options)):
            yield pg

    @contextlib.asynccontextmanager
    async def unblocked(self, tx: Write) -> AsyncIterator[None]:
        """Around a statement that may wait for a row: after BLOCKED_S seconds, terminate the root of the queue.

        A process stopped inside a COPY keeps its locks beyond every time-out of PostgreSQL. Only a session of our own role, that
        waits for no lock itself and has not moved for IDLE_ROOT_S seconds, is terminated (design: the numbered log, "Blocked").
        """
        watchers: list[asyncio.Task[None]] = []
        pid = tx.get_server_pid()
        begin = asyncio.get_running_loop().call_later(BLOCKED_S, lambda: watchers.append(asyncio.create_task(self._watch(pid))))
        try:
            yield
        finally:
            begin.cancel()
            for watcher in watchers:
                watcher.cancel()

    async def _watch(self, pid: int) -> None:
        while True:
            with contextlib.suppress(*LOST, asyncpg.PostgresError):  # if we cannot look, lock_timeout ends the wait
                other = await asyncpg.connect(self.dsn, timeout=CONNECT_S, command_timeout=CONNECT_S)
                try:
                    gone = await other.fetch(TERMINATE_ROOT, pid, float(IDLE_ROOT_S))
                finally:
                    other.terminate()
                log.warning("database.blocked", waiting_pid=pid, waited_s=BLOCKED_S, terminated=[r["pid"] for r in gone])
            await asyncio.sleep(BLOCKED_S)


@contextlib.asynccontextmanager
async def _ended(pg: Any, transaction: Any) -> AsyncIterator[None]:
    """asyncpg's own end would send ROLLBACK after a time-out or a cancellation, too, and wait for ever where the server hangs: then the
    connection is dropped, which says the same."""
    try:
        await transaction.start()
        yield
        await transaction.commit()
    except (TimeoutError, asyncio.CancelledError):
        pg.terminate()
        raise
    except BaseException:
        if not pg.is_closed() and pg.is_in_transaction():
            await transaction.rollback()
        raise


@dataclass
class _Joined:
    """The transaction that a task's reads and writes at `dsn` join."""

    dsn: str
    pg: Any
    task: asyncio.Task[Any] | None
    afterwards: list[Callable[[], None]] = field(default_factory=list)


_JOINED: ContextVar[_Joined | None] = ContextVar("joined", default=None)


async def _nothing_to_reset(_pg: object) -> None:
    """What our transactions set and lock ends with them; asyncpg would ask the server to forget it once more, each time."""


# Whoever is at the root of the queue of locks before session $1, and has not moved for $2 seconds.
TERMINATE_ROOT = """
with recursive blocker(pid) as (
    select unnest(pg_blocking_pids($1))
    union
    select unnest(pg_blocking_pids(pid)) from blocker
)
select pid, pg_terminate_backend(pid)
from blocker join pg_stat_activity using (pid)
where cardinality(pg_blocking_pids(pid)) = 0
  and usename = current_user
  and clock_timestamp() - state_change > make_interval(secs => $2)
"""
