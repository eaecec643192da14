"""Becomes a program that dies with its parent: `leash.py PARENT_PID SIGNAL USER PROGRAM ARGUMENT…`.

USER is a name, empty (as we are), or `=name` (system_user.py says when): root's rights on files, under the number of `name`.

A separate small program, because the same steps between fork and exec of a process with threads (preexec_fn) can deadlock.
The system call is Linux's; on macOS the next start sweeps up what was left behind (supervisor.py). Nothing is imported late: the user we
become may not be able to read our Python.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def appear_as(user: str) -> None:
    """A user namespace that knows one user: outside it is root, inside it has the number of `user` and no privilege."""
    entry = pwd.getpwnam(user)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):
        sys.exit("the system allows no user namespace")
    for name, text in (("uid_map", f"{entry.pw_uid} 0 1"), ("setgroups", "deny"), ("gid_map", f"{entry.pw_gid} 0 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def die_with(parent_pid: int, signal_number: int) -> None:
    """After `become`: a change of user clears the setting."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent_pid:  # it died before the call
        sys.exit(1)


if __name__ == "__main__":
    _, parent, number, user, program, *arguments = sys.argv
    if user.startswith("="):
        appear_as(user[1:])
    elif user:
        become(user)
    die_with(int(parent), int(number))
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        sys.exit(f"{program}: {error.strerror}")
