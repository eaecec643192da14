"""The command line as a person uses it: a process, its output, its exit code."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.embedded.installation import free_port, is_free

ROOT = Path(__file__).parents[2]
READY = "push zto --feed zto-sandbox"  # the last line of the welcome
UP_WITHIN_S = 90.0
ENDS_WITHIN_S = 60.0


def free_base() -> int:
    """A port that is free, as the two after it are: `up --port-base` takes three in a row."""
    return next(base for base in iter(free_port, 0) if is_free(base + 1) and is_free(base + 2))


@contextmanager
def directory() -> Iterator[Path]:
    """Open to the user that PostgreSQL runs under when we are root."""
    path = Path(tempfile.mkdtemp(prefix="tongcun-e2e-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "deploy.cli", *arguments]


def environment(var: Path) -> dict[str, str]:
    return os.environ | {"TONGCUN_VAR": str(var), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}


def tongcun(var: Path, *arguments: str, within_s: float = ENDS_WITHIN_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(var),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


def printed(var: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A command as `up` printed it, in a shell; the launcher is left out, since these tests have their packages already."""
    shell = line.replace("./tongcun ", f"{shlex.quote(sys.executable)} -m deploy.cli ")
    return subprocess.run(
        ["sh", "-c", shell],
        cwd=ROOT,
        env={name: value for name, value in environment(var).items() if name != "TONGCUN_VAR"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )


class Running:
    """`tongcun up` in a process group of its own; what it prints goes to a file."""

    def __init__(self, var: Path, *arguments: str) -> None:
        self.output = var.parent / f"{var.name}-output.log"
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                command("up", *arguments),
                cwd=ROOT,
                env=environment(var),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def told(self) -> str:
        return self.output.read_text()

    @property
    def to_try(self) -> list[str]:
        """The commands of the welcome, as they stand."""
        return [line.strip() for line in self.told.partition("commands to try")[2].splitlines()[1:] if line.startswith("  ")]

    def until_ready(self) -> None:
        deadline = time.monotonic() + UP_WITHIN_S
        while READY not in self.told:
            assert self.process.poll() is None, self.told
            assert time.monotonic() < deadline, self.told
            time.sleep(0.1)

    def end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(ENDS_WITHIN_S)


@contextmanager
def up(var: Path, *arguments: str) -> Iterator[Running]:
    running = Running(var, *arguments)
    try:
        running.until_ready()
        yield running
    finally:
        running.end(signal.SIGTERM)
