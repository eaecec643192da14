"""Becomes a program that dies with its parent: `leash.py PARENT_PID SIGNAL USER PROGRAM ARGUMENT…` (USER may be empty).

A separate small program, because the same steps between fork and exec of a process with threads (preexec_fn) can deadlock.
The system call is Linux's; on macOS the next start sweeps up what was left behind (supervisor.py). Nothing is imported late: the user we
become may not be able to read our Python.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def die_with(parent_pid: int, signal_number: int) -> None:
    """After `become`: a change of user clears the setting."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent_pid:  # it died before the call
        sys.exit(1)


if __name__ == "__main__":
    _, parent, number, user, program, *arguments = sys.argv
    if user:
        become(user)
    die_with(int(parent), int(number))
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        sys.exit(f"{program}: {error.strerror}")
