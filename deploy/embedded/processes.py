"""Which process is it? A pid alone is reused; a pid with its start time is one process. Nothing here ever looks for a name alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

LINUX = sys.platform == "linux"

Escalation = Sequence[tuple[int, float]]  # signals in order, each with the seconds it is given to work


def started_at(pid: int) -> str:
    """When `pid` started, in the words of the system; empty if it does not run (a zombie does not)."""
    if LINUX:
        try:
            state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if state in "ZX" else rest[18]  # field 22 of proc(5): ticks since boot
    state, _, started = _ps(pid, "state=,lstart=").partition(" ")
    return "" if state.startswith("Z") else started.strip()


def command_line(pid: int) -> list[str]:
    """The program and its arguments (macOS: split at blanks); empty if it does not run."""
    if LINUX:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            return []
    return _ps(pid, "command=").split()


def running_in(directory: Path, program: str) -> list[int]:
    """Processes of `program` whose current directory is `directory` (Linux; elsewhere this cannot be asked, the list is empty)."""
    found = []
    for entry in Path("/proc").iterdir() if LINUX else ():
        if entry.name.isdigit():
            try:
                if (entry / "comm").read_text().strip() == program and (entry / "cwd").readlink() == directory:
                    found.append(int(entry.name))
            except OSError:  # it ended meanwhile, or belongs to somebody else
                continue
    return [pid for pid in found if started_at(pid)]


def end(pids: Sequence[int], escalation: Escalation) -> bool:
    """Signal each of these processes, harder and harder, until all have ended; True if they have."""
    alive = {pid: started for pid in pids if (started := started_at(pid))}
    for number, within_s in escalation:
        for pid in alive:
            _signal(pid, number)
        deadline = time.monotonic() + within_s
        while alive and time.monotonic() < deadline:
            alive = {pid: started for pid, started in alive.items() if started_at(pid) == started}
            time.sleep(0.02 if alive else 0)
        if not alive:
            return True
    return not alive


def words(returncode: int) -> str:
    """How a process ended, for one line on the terminal."""
    if returncode >= 0:
        return f"exited with code {returncode} / 退出码 {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was killed by {name} / 被 {name} 终止"


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _ps(pid: int, columns: str) -> str:
    return subprocess.run(["ps", "-o", columns, "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False).stdout.strip()
