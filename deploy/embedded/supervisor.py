"""Child processes of ours: started, watched, started anew when they die, stopped in order, and never left behind.

A child is known by its pid and start time, in a file under run/; what an earlier supervisor left behind is ended by that, never by a name.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from deploy.embedded import processes
from deploy.embedded.processes import Escalation

FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 10.0
SETTLED_S = 30.0  # after so long a run the next failure counts as the first
TOO_OFTEN = 3  # exits while we wait for a child to become ready
LOG_BYTES = 20_000_000  # a longer log is set aside at the next start; one old one is kept

GRACEFUL: Escalation = ((signal.SIGTERM, 10), (signal.SIGKILL, 5))
AT_ONCE: Escalation = ((signal.SIGKILL, 5),)
LEASH = Path(__file__).with_name("leash.py")


class CannotStart(Exception):
    """Something outside our control is in the way; the text is one line for the operator, saying what to do."""


@dataclass(frozen=True)
class Child:
    """A program to keep running. `before` runs ahead of each start. The first signal of `stop` is also sent when the supervisor dies."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log_path: Path
    user: str | None = None
    cwd: Path | None = None
    stop: Escalation = GRACEFUL
    before: Callable[[], Awaitable[None]] | None = None


@dataclass
class _Kept:
    child: Child
    ending: Escalation
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    log_from: int = 0  # where in its log the present run began
    exits: int = 0
    reason: str = ""
    task: "asyncio.Task[None] | None" = None


class Supervisor:
    """Keeps children running. Used from one event loop in the main thread: a child dies with the thread that started it."""

    def __init__(self, run: Path, say: Callable[[str], None]) -> None:
        self._run = run
        self._say = say
        self._kept: dict[str, _Kept] = {}

    def pid(self, name: str) -> int | None:
        """None while it does not run."""
        process = self._kept[name].process if name in self._kept else None
        return process.pid if process and process.returncode is None else None

    async def start(self, child: Child) -> None:
        if child.name in self._kept:
            raise ValueError(f"{child.name} is started already")
        kept = _Kept(child, child.stop)
        process = await self._spawn(kept)
        self._kept[child.name] = kept
        kept.task = asyncio.create_task(self._keep(kept, process), name=f"keep {child.name}")

    async def until(self, name: str, ready: Callable[[], Awaitable[bool]], within_s: float) -> None:
        """Wait until `ready` answers yes; CannotStart with its last words if the child keeps dying or time is up."""
        kept = self._kept[name]
        deadline = asyncio.get_running_loop().time() + within_s
        while not await ready():
            if kept.task and kept.task.done():
                kept.task.result()
            late = asyncio.get_running_loop().time() > deadline
            if late or kept.exits >= TOO_OFTEN:
                why = kept.reason if kept.exits >= TOO_OFTEN else f"not ready within {within_s:g} s / 未能在 {within_s:g} 秒内就绪"
                raise CannotStart(f"{name}: {why}: {last_words(kept.child.log_path, kept.log_from)} (log / 日志: {kept.child.log_path})")
            await asyncio.sleep(0.03)

    async def stop(self, name: str, ending: Escalation | None = None) -> None:
        """Stop it for good; `ending` in place of its own way of stopping."""
        kept = self._kept.pop(name, None)
        if kept and kept.task:
            kept.ending = ending or kept.child.stop
            kept.stop.set()
            await kept.task

    async def close(self) -> None:
        """Stop all, the last started first."""
        for name in reversed(list(self._kept)):
            await self.stop(name)

    async def sweep(self) -> None:
        """End what an earlier supervisor of this directory left behind. Only the holder of the directory's lock may call this."""
        for path in self._run.glob("*.pid"):
            with contextlib.suppress(ValueError, KeyError, TypeError):  # half-written when the machine went down: nothing to go by
                left = json.loads(path.read_text())
                if processes.started_at(left["pid"]) == left["started_at"]:
                    self._say(f"ending {path.stem} (pid {left['pid']}) of an earlier run / 正在结束上次遗留的 {path.stem}")
                    await asyncio.to_thread(processes.end, [left["pid"]], left["stop"])
            path.unlink(missing_ok=True)

    async def _keep(self, kept: _Kept, process: asyncio.subprocess.Process | None) -> None:
        clock = asyncio.get_running_loop().time
        delay_s, reason = FIRST_DELAY_S, ""
        while True:
            began = clock()
            if process:
                await self._exit_or_stop(kept, process)
                self._pid_path(kept.child).unlink(missing_ok=True)
                reason = processes.words(process.returncode or 0)
            if kept.stop.is_set():
                return
            kept.exits, kept.reason = kept.exits + 1, reason
            delay_s = FIRST_DELAY_S if clock() - began > SETTLED_S else min(delay_s * 2, LONGEST_DELAY_S)
            self._say(f"{kept.child.name} {reason}; again in {delay_s:g} s / {delay_s:g} 秒后重启 ({kept.child.log_path})")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(kept.stop.wait(), delay_s)
                return
            try:
                process = await self._spawn(kept)
            except (CannotStart, OSError) as error:  # whatever is in the way may go away
                process, reason = None, str(error)

    async def _exit_or_stop(self, kept: _Kept, process: asyncio.subprocess.Process) -> None:
        stop = asyncio.create_task(kept.stop.wait())
        try:
            await asyncio.wait({stop, exited := asyncio.create_task(process.wait())}, return_when=asyncio.FIRST_COMPLETED)
            for number, within_s in kept.ending:
                if process.returncode is not None or not kept.stop.is_set():
                    break
                process.send_signal(number)
                await asyncio.wait({exited}, timeout=within_s)
        finally:
            stop.cancel()
            if process.returncode is None:  # we were cancelled, or it cannot be ended
                process.kill()

    async def _spawn(self, kept: _Kept) -> asyncio.subprocess.Process:
        child = kept.child
        if child.before:
            await child.before()
        with open_log(child.log_path) as log:
            kept.log_from = log.tell()
            process = await asyncio.create_subprocess_exec(
                *leashed(child.argv, child.user, child.stop[0][0]),
                env=dict(child.env),
                cwd=child.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # a session of its own: Ctrl-C is for us, who stop the children in order
        kept.process = process
        facts = {"pid": process.pid, "started_at": processes.started_at(process.pid), "stop": [[int(n), s] for n, s in child.stop]}
        self._pid_path(child).write_text(json.dumps(facts))
        return process

    def _pid_path(self, child: Child) -> Path:
        return self._run / f"{child.name}.pid"


def leashed(argv: Sequence[str], user: str | None, death_signal: int) -> list[str]:
    """The command that becomes `argv`, as `user`, and gets `death_signal` when we die."""
    return [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(death_signal)), user or "", *argv]


def open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def last_words(path: Path, start: int = 0, tail_bytes: int = 8192) -> str:
    """Why a program gave up, from what it wrote since `start`: its last FATAL or PANIC line, else its last line."""
    with path.open("rb") as log:
        log.seek(max(start, path.stat().st_size - tail_bytes))
        lines = [line.strip() for line in log.read().decode(errors="replace").split("\n") if line.strip()]
    fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
    return (fatal or lines or ["it wrote nothing / 无输出"])[-1]
