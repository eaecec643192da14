"""How a process of ours starts, serves and ends: what is in the way is one line on standard error, never a traceback."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

import asyncpg
import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from shared import kafka, migrations
from shared.auth import BadToken
from shared.db import LOST, POSTGRES_MAJOR, Database, Read
from shared.http import Check, create_app
from shared.keyring import KeyringError
from shared.log import PartitionMismatch, Stalled
from shared.settings import ServiceSettings, SettingsError

log = structlog.get_logger(__name__)

DRAIN_S = 10  # for requests under way when the process is told to stop
LOOPBACK = "127.0.0.1"
AGAIN, MISTAKE = 1, 2  # exit codes: what a restart may mend, and what it does not
NO_DATABASE: tuple[type[Exception], ...] = (*LOST, asyncpg.PostgresError, SQLAlchemyError)
# No restart mends these.
REFUSED: tuple[type[Exception], ...] = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
SETTLES_S = 8.0  # a topic that was just born again has its partitions by then, if anybody sees to it
SCHEMA_VERSION = "select version_num from alembic_version"
SERVER_VERSION = "select current_setting('server_version_num')::int / 10000"
PUT_BACK = (
    "the password or the name in the DSN is not the one that this database was installed with: put the old secret back, "
    "or let the migrate step of the installation set it anew"
)


class CannotRun(Exception):
    """One line for the operator: what is in the way, and what to do. Also the sentence that /readyz shows."""


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The whole life of a process -> SystemExit. A stalled worker ends with AGAIN, so that its supervisor starts it anew."""
    try:
        uvloop.run(main())
    except* (CannotRun, SettingsError, KeyringError, BadToken, PartitionMismatch, kafka.TopicMismatch) as group:
        _exit(MISTAKE, str(_first(group)))
    except* REFUSED as group:
        _exit(MISTAKE, f"PostgreSQL refuses us ({_first(group)}): {PUT_BACK}")
    except* Stalled as group:
        log.error("worker.stalled", reason=str(_first(group)))
        raise SystemExit(AGAIN) from None
    except* NO_DATABASE as group:
        fault = _first(group)
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        _exit(AGAIN, f"PostgreSQL does not take us ({reason}): is it running, and is its address in TONGCUN_DATABASE_URL right?")


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    fault: BaseException = group
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def _exit(code: int, line: str) -> None:
    sys.stderr.write(f"{line}\n")
    raise SystemExit(code) from None


def stop_on_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def first(dsn: str, check: Callable[[Database], Awaitable[None]]) -> None:
    """Before serving: what a check of the database says is then one line, and not a failed start of the application."""
    database = await Database(dsn, max_size=1).open()
    try:
        await check(database)
    finally:
        await database.close()


async def serve(app: FastAPI, settings: ServiceSettings, trusted_proxies: str = LOOPBACK) -> None:
    """The API until a signal; requests under way are answered first. `trusted_proxies`: whose X-Forwarded-For is believed."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        forwarded_allow_ips=trusted_proxies,
    )
    server = uvicorn.Server(config)
    await server.serve(sockets=[listen(settings.host, settings.port)])
    if not server.started:
        raise CannotRun("the application did not start: see the lines above")


def listen(host: str, port: int, *, beside_others: bool = False) -> socket.socket:
    """Bound here, since uvicorn would end without saying why. `beside_others`: of ours, at the same address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, else asyncio's own loop leaves TCP_NODELAY off
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if beside_others:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host, port))
    except OSError as e:
        listening.close()
        raise CannotRun(f"cannot listen on {host}:{port} ({e.strerror}): stop what holds it or choose another TONGCUN_PORT") from None
    return listening


@contextlib.asynccontextmanager
async def health(service: str, settings: ServiceSettings, checks: Mapping[str, Check]) -> AsyncIterator[None]:
    """Beside a worker: health and metrics on its `port`, where one is set. Signals stay the worker's."""
    if not settings.port:
        yield
        return
    app = create_app(
        service=service, title=f"Tongcun {service}", description="Health and metrics of a worker.", lifespan=_nothing, routers=(),
        checks=checks, max_body_bytes=1024,
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
    serving = asyncio.create_task(server._serve([listen(settings.host, settings.port)]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def _nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


async def check_server(read: Read) -> None:
    """Raises CannotRun for another major version."""
    if (major := await read.fetchval(SERVER_VERSION)) != POSTGRES_MAJOR:
        raise CannotRun(
            f"PostgreSQL {major} answers, Tongcun needs {POSTGRES_MAJOR}: dump what it holds, restore it into a server of that version, "
            "and give its address"
        )


async def check_database(database: Database) -> None:
    """The same, of a database that may hold nothing yet."""
    async with database.read() as read:
        await check_server(read)


async def check_schema(database: Database, service: str) -> None:
    """The database answers, is of the version we need, and its schema is this code's."""
    try:
        async with database.read() as read:
            await check_server(read)
            version = await read.fetchval(SCHEMA_VERSION)
    except asyncpg.UndefinedTableError:
        version = None
    if version != (needed := migrations.head(service)):
        raise CannotRun(f"the schema is at {version}, this code needs {needed}: run python -m services.{service}.migrate")


async def check_broker(bootstrap: str) -> None:
    if not await kafka.answers(bootstrap):
        raise CannotRun(f"the broker at {bootstrap} does not answer; what was taken is kept, and published when it does")


async def check_topic(bootstrap: str, topic: str, partitions: int, within_s: float = SETTLES_S) -> None:
    """Before a relay or a consumer starts. A topic with fewer partitions than the log was not made by this installation: it is left alone.

    A broker that does not answer, or has no such topic, is no mistake: the relay waits for it, and makes the topic.
    """
    deadline = asyncio.get_running_loop().time() + within_s
    while (there := await kafka.count_partitions(bootstrap, topic)) and there < partitions:
        if asyncio.get_running_loop().time() > deadline:
            raise kafka.TopicMismatch(
                f"topic {topic} at {bootstrap} has {there} partitions, this installation {partitions}: give the address of its own broker, "
                "or delete the topic there, and the log fills it again"
            )
        await asyncio.sleep(0.5)


class Moving(Protocol):
    """A relay or a consumer: not healthy when there is something to do, the broker answers and nothing moves."""

    @property
    def healthy(self) -> bool: ...


def moving(*work: Moving) -> Check:
    async def check() -> None:
        if not all(w.healthy for w in work):
            raise CannotRun("nothing moves though the broker answers: the process starts anew")

    return check
