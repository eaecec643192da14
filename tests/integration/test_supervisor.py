"""The supervisor: what dies is started anew, what must end is ended, in order, and nothing outlives it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded import processes, supervisor
from deploy.embedded.supervisor import CannotStart, Child, Supervisor

SLEEPS = "import time; print('up', flush=True); time.sleep(100)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(100)"

WRITES = """
import signal, sys, time
def end(*_):
    open({path!r}, "a").write({name!r})
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(100)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def keeper(tmp_path: Path, said: list[str]) -> AsyncIterator[Supervisor]:
    keeper = Supervisor(tmp_path, said.append)
    yield keeper
    await keeper.close()


def child(tmp_path: Path, code: str, name: str = "child", stop: processes.Escalation = supervisor.GRACEFUL) -> Child:
    return Child(name, [sys.executable, "-I", "-S", "-c", code], {}, tmp_path / f"{name}.log", stop=stop)


async def until(true: Callable[[], bool], within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it never did"
        await asyncio.sleep(0.01)


def is_up(log: Path, times: int = 1) -> Callable[[], bool]:
    return lambda: log.exists() and log.read_text().count("up\n") >= times


async def test_a_killed_child_is_started_anew_and_the_reason_said(keeper: Supervisor, tmp_path: Path, said: list[str]) -> None:
    await keeper.start(child(tmp_path, SLEEPS))
    await until(is_up(tmp_path / "child.log"))
    killed = keeper.pid("child")
    assert killed
    os.kill(killed, signal.SIGKILL)
    await until(is_up(tmp_path / "child.log", times=2))
    assert keeper.pid("child") not in (None, killed)
    assert [line.partition(";")[0] for line in said] == ["child was killed by SIGKILL / 被 SIGKILL 终止"]


async def test_each_failure_waits_longer_than_the_last(
    keeper: Supervisor, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_DELAY_S", 0.04)
    await keeper.start(child(tmp_path, "raise SystemExit(3)"))
    await until(lambda: len(said) >= 4)
    assert ["again in 0.02 s" in said[0], "again in 0.04 s" in said[1], "again in 0.04 s" in said[3]] == [True, True, True]
    assert "exited with code 3" in said[0]


async def test_what_is_in_the_way_of_a_restart_may_go_away(keeper: Supervisor, tmp_path: Path, said: list[str]) -> None:
    starts = 0

    async def second_fails() -> None:
        nonlocal starts
        starts += 1
        if starts == 2:
            raise CannotStart("no space left")

    await keeper.start(replace(child(tmp_path, SLEEPS), before=second_fails))
    killed = keeper.pid("child")
    assert killed
    os.kill(killed, signal.SIGKILL)
    await until(lambda: starts == 3 and keeper.pid("child") is not None)
    assert "no space left; again in" in said[1]


async def test_a_child_that_keeps_dying_while_we_wait_is_given_up_with_its_last_words(keeper: Supervisor, tmp_path: Path) -> None:
    await keeper.start(child(tmp_path, "raise SystemExit('the keyring is missing')"))
    with pytest.raises(CannotStart, match=r"child: exited with code 1 .*: the keyring is missing"):
        await keeper.until("child", _never, within_s=30)


async def test_a_child_that_does_not_become_ready_in_time_is_given_up(keeper: Supervisor, tmp_path: Path) -> None:
    await keeper.start(child(tmp_path, SLEEPS))
    with pytest.raises(CannotStart, match=r"not ready within 0\.1 s"):
        await keeper.until("child", _never, within_s=0.1)


async def _never() -> bool:
    return False


async def test_a_program_that_is_not_there_is_named(keeper: Supervisor, tmp_path: Path) -> None:
    await keeper.start(Child("child", ["/nowhere/program"], {}, tmp_path / "child.log"))
    with pytest.raises(CannotStart, match="/nowhere/program: No such file or directory"):
        await keeper.until("child", _never, within_s=30)


async def test_a_child_deaf_to_sigterm_is_killed_after_its_time(keeper: Supervisor, tmp_path: Path) -> None:
    await keeper.start(child(tmp_path, DEAF, stop=((signal.SIGTERM, 0.2), (signal.SIGKILL, 5))))
    await until(is_up(tmp_path / "child.log"))
    pid = keeper.pid("child")
    assert pid
    await keeper.stop("child")
    assert processes.started_at(pid) == ""


async def test_stopping_reaches_a_child_that_waits_to_be_started_anew(
    keeper: Supervisor, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 50.0)
    monkeypatch.setattr(supervisor, "LONGEST_DELAY_S", 50.0)
    await keeper.start(child(tmp_path, "raise SystemExit(3)"))
    await until(lambda: bool(said))
    await asyncio.wait_for(keeper.stop("child"), 5)
    assert keeper.pid("child") is None


async def test_children_are_stopped_in_reverse_order(keeper: Supervisor, tmp_path: Path) -> None:
    for name in ("first", "second"):
        await keeper.start(child(tmp_path, WRITES.format(path=str(tmp_path / "order"), name=f"{name} "), name))
        await until(is_up(tmp_path / f"{name}.log"))
    await keeper.close()
    assert (tmp_path / "order").read_text() == "second first "
    assert not list(tmp_path.glob("*.pid"))


@pytest.mark.skipif(not processes.LINUX, reason="macOS has no such signal: the next start sweeps")
async def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    pid = await _abandoned(tmp_path)
    await until(lambda: processes.started_at(pid) == "")


async def _abandoned(tmp_path: Path) -> int:
    """The child of a supervisor that was killed."""
    code = f"""
import asyncio
from pathlib import Path
from tests.integration.test_supervisor import SLEEPS, child
from deploy.embedded.supervisor import Supervisor
async def main():
    keeper = Supervisor(Path({str(tmp_path)!r}), print)
    await keeper.start(child(Path({str(tmp_path)!r}), SLEEPS))
    print(keeper.pid("child"), flush=True)
    await asyncio.sleep(100)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as doomed:
        try:
            assert doomed.stdout
            pid = int(await asyncio.to_thread(doomed.stdout.readline))
            await until(is_up(tmp_path / "child.log"))
        finally:
            doomed.kill()
    return pid


async def test_the_next_start_ends_an_orphan_by_pid_and_start_time(keeper: Supervisor, tmp_path: Path, said: list[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.DEVNULL) as orphan:
        facts = {"pid": orphan.pid, "started_at": processes.started_at(orphan.pid), "stop": [[int(signal.SIGTERM), 5]]}
        (tmp_path / "child.pid").write_text(json.dumps(facts))
        await keeper.sweep()
        assert orphan.wait(5) == -signal.SIGTERM
    assert f"pid {orphan.pid}" in said[0]
    assert not list(tmp_path.glob("*.pid"))


@pytest.mark.parametrize("change", [{"started_at": "1"}, {"pid": "x"}, None], ids=["pid reused", "nonsense", "half-written"])
async def test_the_next_start_leaves_strangers_alone(keeper: Supervisor, tmp_path: Path, change: dict[str, str] | None) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.DEVNULL) as stranger:
        facts = {"pid": stranger.pid, "started_at": processes.started_at(stranger.pid), "stop": [[int(signal.SIGKILL), 5]]}
        (tmp_path / "child.pid").write_text('{"pid": ' if change is None else json.dumps(facts | change))
        try:
            await keeper.sweep()
            assert stranger.poll() is None
        finally:
            stranger.kill()


async def test_ctrl_c_in_the_terminal_is_for_the_supervisor_alone(keeper: Supervisor, tmp_path: Path) -> None:
    await keeper.start(child(tmp_path, SLEEPS))
    pid = keeper.pid("child")
    assert pid
    await until(is_up(tmp_path / "child.log"))
    assert os.getsid(pid) != os.getsid(0)


def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES", 10)
    log = tmp_path / "child.log"
    log.write_text("x" * 11)
    with supervisor.open_log(log) as opened:
        assert opened.tell() == 0
    assert (tmp_path / "child.log.1").read_text() == "x" * 11
