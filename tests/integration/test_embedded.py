"""The embedded runtime survives the kill -9 of anything, and says in one line what it cannot do."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from deploy.embedded import postgres as postgres_module
from deploy.embedded import processes, system_user
from deploy.embedded.installation import SERVICES, Installation
from deploy.embedded.runtime import Runtime, embedded
from deploy.embedded.supervisor import CannotStart
from tests.conftest import MakeDatabase


@pytest.fixture
def empty() -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach."""
    with tempfile.TemporaryDirectory(prefix="tongcun-own-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
async def stopped() -> AsyncIterator[Path]:
    """The var directory of an installation that has run and was stopped."""
    with tempfile.TemporaryDirectory(prefix="tongcun-stopped-") as name:
        Path(name).chmod(0o755)
        async with embedded(Path(name)):
            pass
        yield Path(name)


@pytest.fixture
def place(empty: Path, stopped: Path) -> Path:
    """A copy of it, of the test's own."""
    shutil.copytree(stopped, empty, dirs_exist_ok=True)
    return empty


@pytest.fixture
async def own(place: Path) -> AsyncIterator[Runtime]:
    """A runtime that the test may break."""
    async with embedded(place) as runtime:
        yield runtime


async def eventually(answers: Callable[[], Awaitable[bool]], within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not await answers():
        assert time.monotonic() < deadline, "it never did"
        await asyncio.sleep(0.02)


async def ask(dsn: str, query: str) -> object:
    pg = await asyncpg.connect(dsn, timeout=5)
    try:
        return await pg.fetchval(query)
    finally:
        await pg.close()


def line_of(refused: pytest.ExceptionInfo[CannotStart]) -> str:
    line = str(refused.value)
    assert "\n" not in line
    return line


async def test_committed_rows_survive_the_kill_of_the_postmaster(own: Runtime) -> None:
    dsn = own.installation.superuser_dsn()
    await ask(dsn, "create table kept(n int)")
    await ask(dsn, "insert into kept select generate_series(1, 1000)")
    killed = own.postgres.pid
    assert killed
    os.kill(killed, signal.SIGKILL)

    async def recovered() -> bool:
        try:
            return own.postgres.pid not in (None, killed) and await ask(dsn, "select count(*) from kept") == 1000
        except (OSError, asyncpg.PostgresError):
            return False

    await eventually(recovered)


async def test_the_whole_runtime_killed_leaves_nothing_behind_and_starts_again(place: Path) -> None:
    code = f"""
import asyncio
from pathlib import Path
from deploy.embedded.runtime import embedded
async def main():
    async with embedded(Path({str(place)!r})) as runtime:
        print(runtime.postgres.pid, runtime.broker.pid, flush=True)
        await asyncio.sleep(100)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout
            left = [int(pid) for pid in (await asyncio.to_thread(first.stdout.readline)).split()]
            started = [processes.started_at(pid) for pid in left]
            assert len(left) == 2
        finally:
            first.kill()

    async with embedded(place) as runtime:
        assert [processes.started_at(pid) for pid in left] != started
        assert await ask(runtime.installation.superuser_dsn(), "select 1") == 1


async def test_an_orphaned_server_on_our_data_is_ended_by_its_pid(place: Path) -> None:
    """As after kill -9 of a supervisor on macOS: nobody told the server, and the pid file of the supervisor is gone, too."""
    async with embedded(place) as runtime:
        child = runtime.postgres._child(runtime.installation.ports["postgres"])
        user = child.user
    with (place / "log" / "orphan.log").open("wb") as log:
        orphan = subprocess.Popen(
            child.argv, cwd=child.cwd, env=dict(child.env), user=user, group=user and _group(user), stdout=log, stderr=log
        )
    with orphan:
        await eventually(_is_ready(place / "postgres" / "data" / "postmaster.pid"))
        async with embedded(place) as runtime:
            ended = await asyncio.to_thread(orphan.wait, 5)
            assert ended == 0, (place / "log" / "orphan.log").read_text(errors="replace")[-2000:]
            assert runtime.postgres.pid != orphan.pid


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def _is_ready(pid_file: Path) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        return pid_file.exists() and pid_file.read_text().endswith("ready   \n")

    return ready


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1, "garbage"], ids=["reused by a stranger", "dead", "garbage"])
async def test_a_stale_pid_file_does_not_stop_the_start(place: Path, pid: object) -> None:
    stale = place / "postgres" / "data" / "postmaster.pid"
    stale.write_text(f"{pid}\n{place}/postgres/data\n1\n5432\n\n127.0.0.1\n  1 1\nready\n")
    async with embedded(place) as runtime:
        assert await ask(runtime.installation.superuser_dsn(), "select 1") == 1
    assert processes.started_at(os.getpid())


async def test_a_second_instance_is_refused(own: Runtime) -> None:
    with pytest.raises(CannotStart) as refused:
        async with embedded(own.installation.var):
            pass
    assert f"in use by a running tongcun (pid {os.getpid()})" in line_of(refused)


async def test_another_port_is_taken_when_the_one_of_last_time_is_not_free(place: Path) -> None:
    async with embedded(place) as runtime:
        last = runtime.installation.ports["postgres"]
    with socket.create_server(("127.0.0.1", last)):
        async with embedded(place) as runtime:
            assert runtime.installation.ports["postgres"] != last


async def test_a_port_lost_between_choosing_and_listening_is_chosen_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        lost = taken.getsockname()[1]
        choose = Installation.choose_port
        answers = iter([lost])

        def lose_once(self: Installation, name: str, wanted: int | None = None) -> int:
            port = choose(self, name, wanted)
            return next(answers, port) if name == "postgres" else port

        monkeypatch.setattr(Installation, "choose_port", lose_once)
        async with embedded(place) as runtime:
            assert await ask(runtime.installation.superuser_dsn(), "show port") != str(lost)


def test_a_port_that_the_operator_wants_must_be_free(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotStart) as refused:
        Installation(place).choose_port("ingest", taken.getsockname()[1])
    assert "is taken" in line_of(refused)


async def test_data_of_another_major_version_is_refused(place: Path) -> None:
    (place / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(CannotStart) as refused:
        async with embedded(place):
            pass
    assert "made by PostgreSQL 17, this is 18" in line_of(refused)


@pytest.mark.parametrize("setting", ["fsync = off", "full_page_writes = off", "synchronous_commit = off"])
async def test_settings_that_lose_acknowledged_data_are_refused(place: Path, setting: str) -> None:
    with (place / "postgres" / "data" / "postgresql.conf").open("a") as conf:
        conf.write(f"\n{setting}\n")
    with pytest.raises(CannotStart) as refused:
        async with embedded(place):
            pass
    assert setting.replace(" ", "") in line_of(refused)


async def test_every_durable_setting_is_on(installation: Installation) -> None:
    for name, value in postgres_module.DURABLE.items():
        assert await ask(installation.superuser_dsn(), f"show {name}") == value


async def test_a_lost_password_file_is_named(place: Path) -> None:
    (place / "secrets" / "postgres").unlink()
    with pytest.raises(CannotStart) as refused:
        async with embedded(place):
            pass
    assert "secrets/postgres" in line_of(refused)


async def test_an_interrupted_initdb_is_done_again(empty: Path) -> None:
    half = empty / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    async with embedded(empty) as runtime:
        assert await ask(runtime.installation.superuser_dsn(), "select 1") == 1


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="as a plain user the server runs as ourselves")


@pytest.fixture
def closed(empty: Path) -> Path:
    """A directory as root's home is: closed to everybody else."""
    empty.chmod(0o700)
    return empty


@as_root
async def test_as_root_a_closed_directory_is_named_where_there_are_no_user_namespaces(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_user, "disguise_works", lambda _: False)
    with pytest.raises(CannotStart) as refused:
        async with embedded(closed / "var"):
            pass
    assert f"may not enter {closed}: set TONGCUN_VAR" in line_of(refused)


@as_root
@pytest.mark.skipif(os.geteuid() == 0 and not system_user.disguise_works("nobody"), reason="this system allows no user namespace")
async def test_as_root_a_closed_directory_works_in_a_user_namespace_and_can_be_opened_later(closed: Path) -> None:
    async with embedded(closed / "var") as runtime:
        await ask(runtime.installation.superuser_dsn(), "create table kept()")
    closed.chmod(0o755)
    async with embedded(closed / "var") as runtime:  # now as the user made for it
        assert await ask(runtime.installation.superuser_dsn(), "select count(*) from kept") == 0


async def test_a_path_too_long_for_a_socket_goes_without(empty: Path) -> None:
    deep = empty / ("d" * 60) / ("e" * 60)
    async with embedded(deep) as runtime:
        assert await ask(runtime.installation.superuser_dsn(), "show unix_socket_directories") == ""


async def test_the_app_role_reads_and_adds_but_changes_nothing(make_database: MakeDatabase) -> None:
    dsns = await make_database("ingest")
    await ask(dsns.owner, "create table fact(id bigint generated always as identity, n int)")
    assert await ask(dsns.app, "insert into fact(n) values (7) returning n") == 7
    for denied in ("update fact set n = 8", "delete from fact", "truncate fact", "drop table fact", "create table mine()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(dsns.app, denied)


async def test_a_service_cannot_open_the_database_of_another(installation: Installation) -> None:
    pairs = [(role, database) for role in SERVICES for database in SERVICES if role != database]
    for role, database in pairs:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(installation.dsns(role, database).app, "select 1")


async def test_secrets_are_for_their_owner_alone(installation: Installation) -> None:
    assert installation.secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in installation.secrets.iterdir()} == {0o600}
