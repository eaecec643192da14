"""The relay and the worker as processes of their own, to be killed and stopped, and a writer that goes on meanwhile."""

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from shared.db import LOST
from shared.log import Entry, append
from tests.faults.harness import ROOT, Log


class Process:
    """A relay or a worker as its own process, to be killed and stopped; started again by the test."""

    def __init__(self, role: str, log: Log, **env: str) -> None:
        self.role, self._log, self._env = role, log, env
        self.deaths = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **env: str) -> "Process":
        """`env` holds for this start only."""
        settings = {
            "TONGCUN_TEST_WRITER": self._log.writer.dsn,
            "TONGCUN_TEST_READER": self._log.reader.dsn,
            "TONGCUN_TEST_BROKER": self._log.broker.bootstrap,
            "TONGCUN_TEST_TOPIC": self._log.topic,
            "TONGCUN_TEST_PARTITIONS": str(self._log.partitions),
            "TONGCUN_TEST_SHARED": "1" if self._log.shared else "",
        }
        output = None if os.environ.get("TONGCUN_TEST_SHOW") else subprocess.DEVNULL
        argv = [sys.executable, "-m", "tests.faults.runner", self.role]
        environment = {**os.environ, **settings, **self._env, **env}
        self._process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=output, stderr=output)
        return self

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def name(self) -> str:
        """What its effects are signed with."""
        assert self._process is not None
        return f"{self.role} {self._process.pid}"

    @property
    def stopped(self) -> bool:
        """Whether it stands in SIGSTOP (Linux)."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
        if self._process:
            self._process.wait(10)

    async def died(self, within_s: float) -> bool:
        """Wait for it to die of its failpoint -> whether it did."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if not self.alive:
                self.deaths += 1
                return True
            await asyncio.sleep(0.02)
        return False


@contextlib.contextmanager
def processes(*started: Process) -> Iterator[None]:
    try:
        yield
    finally:
        for one in started:
            one.kill()


@contextlib.asynccontextmanager
async def writing(log: Log, *, every_s: float = 0.02, size: int = 10) -> AsyncIterator[list[int]]:
    """Meanwhile append without end: `size` values every `every_s`, one transaction in ten rolled back. -> [how many were committed]"""
    count = [0]

    async def write() -> None:
        while True:
            values = [b"%d" % (count[0] + i) for i in range(size)]
            with contextlib.suppress(*LOST):
                async with log.writer.write() as tx:
                    entries = [Entry(secrets.randbelow(log.partitions), b"key", v) for v in values]
                    await append(log.writer, tx, log.topic, entries)
                    if secrets.randbelow(10) == 0:
                        raise TimeoutError("rolled back on purpose")
                count[0] += size
            await asyncio.sleep(every_s)

    task = asyncio.create_task(write())
    try:
        yield count
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
