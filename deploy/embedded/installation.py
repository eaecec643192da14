"""Everything that one installation keeps under its var directory, and who may open what.

var/lock                 held while it runs: one instance per directory
var/cluster-id           the broker's, fixed at installation
var/ports.json           the loopback ports of last time, taken again if they are free
var/secrets/             one file per password, 0600 in a directory 0700
var/run/  var/log/       pid files; what each process printed
var/postgres/            data and socket of PostgreSQL, its user's
var/broker/              data of Apache Kafka, where that is the broker (TONGCUN_BROKER=kafka)
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Literal, NamedTuple

from deploy import databases
from deploy.databases import SERVICES
from deploy.embedded.supervisor import CannotStart

__all__ = ["SERVICES", "Dsns", "Installation", "create_database", "free_port", "is_free", "write_whole"]

Role = Literal["owner", "app"]
HOST = "127.0.0.1"
SUPERUSER = "postgres"


class Dsns(NamedTuple):
    """libpq URLs of one database: `owner` for DDL, `app` for the service."""

    owner: str
    app: str


class Installation:
    def __init__(self, var: Path) -> None:
        self.var = var.resolve()  # processes are recognised by their directory, which the system names without links
        self.run, self.log, self.secrets, self.postgres = (self.var / name for name in ("run", "log", "secrets", "postgres"))

    def make_directories(self) -> None:
        try:
            for path in (self.var, self.run, self.log, self.secrets, self.postgres):
                path.mkdir(parents=True, exist_ok=True)
            self.secrets.chmod(0o700)
        except OSError as error:
            raise CannotStart(
                f"cannot write {error.filename}: {error.strerror}; set TONGCUN_VAR to a directory of yours / 无法写入该目录"
            ) from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One instance at a time; the lock dies with its process, whatever kills it."""
        descriptor = os.open(self.var / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.pread(descriptor, 20, 0).decode() or "?"
                raise CannotStart(f"{self.var} is in use by a running tongcun (pid {pid}) / 该目录已有 tongcun 在运行") from None
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    @property
    def is_running(self) -> bool:
        """Whether a tongcun holds its lock now."""
        try:
            descriptor = os.open(self.var / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)

    def secret(self, name: str) -> str:
        """Made at its first use, 256 bits in hexadecimal; the same ever after."""
        path = self.secrets / name
        with contextlib.suppress(FileNotFoundError):
            return path.read_text()
        value = secrets.token_hex(32)
        write_whole(path, value, mode=0o600)
        return value

    def cluster_id(self) -> str:
        path = self.var / "cluster-id"
        with contextlib.suppress(FileNotFoundError):
            return path.read_text()
        write_whole(path, secrets.token_hex(16))
        return path.read_text()

    @property
    def ports(self) -> dict[str, int]:
        """Where things listen on 127.0.0.1, by name: `postgres`, `broker` and whatever the CLI starts."""
        try:
            return {str(name): int(port) for name, port in json.loads((self.var / "ports.json").read_text()).items()}
        except (FileNotFoundError, ValueError):
            return {}

    def choose_port(self, name: str, wanted: int | None = None) -> int:
        """`wanted`, else the one of last time, else any free one; recorded. CannotStart if `wanted` is taken."""
        ports = self.ports
        if wanted and not is_free(wanted):
            raise CannotStart(f"{name}: port {wanted} is taken; choose another one / 端口 {wanted} 已被占用")
        others = {port for other, port in ports.items() if other != name}
        last = ports.get(name)
        port = wanted or (last if last and last not in others and is_free(last) else free_port(others))
        write_whole(self.var / "ports.json", json.dumps(ports | {name: port}, indent=1))
        return port

    def dsn(self, service: str, role: Role) -> str:
        return self._url(f"{service}_{role}", service)

    def dsns(self, service: str, database: str) -> Dsns:
        return Dsns(*(self._url(f"{service}_{role}", database) for role in ("owner", "app")))

    def superuser_dsn(self, database: str = "postgres") -> str:
        return self._url(SUPERUSER, database)

    def _url(self, user: str, database: str) -> str:
        return f"postgresql://{user}:{self.secret(user)}@{HOST}:{self.ports['postgres']}/{database}"


async def create_database(installation: Installation, service: str, database: str) -> Dsns:
    """The database and its service's two roles, if they are not there."""
    passwords = databases.Passwords(*(installation.secret(f"{service}_{role}") for role in ("owner", "app")))
    await databases.create(installation.superuser_dsn, service, database, passwords)
    return installation.dsns(service, database)


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """All of it or nothing, durable, never readable by more than `mode` says."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a connection in TIME_WAIT does not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(taken: Set[int] = frozenset()) -> int:
    """Below those that the system gives to outgoing connections: one chosen now is still free when its server starts, or starts anew."""
    for _ in range(100):
        port = 20_000 + secrets.randbelow(12_000)
        if port not in taken and is_free(port):
            return port
    raise CannotStart("no free port on 127.0.0.1 / 本机没有可用端口")
