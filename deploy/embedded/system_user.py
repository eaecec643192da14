"""The user that PostgreSQL runs under when we are root (it refuses to run as root), and what that user can reach."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.embedded.supervisor import CannotStart, leashed

NAME = "tongcun-pg"
FALLBACK = "nobody"
DISGUISE = "="  # before a name: root in a user namespace where it has that user's number (leash.py)


def for_postgres(places: Mapping[Path, str]) -> str | None:
    """Who runs it: None (we are not root: ourselves), a user made for it, or root in disguise.

    `places` (directories and programs) must be within its reach, or CannotStart names the directory in the way and the place's remedy.
    Root's home is closed to everybody else; a checkout in there works where the system allows user namespaces.
    """
    if os.geteuid() != 0:
        return None
    user = _made()
    blocked = ((place, remedy) for place, remedy in places.items() if in_the_way(place, user))
    place, remedy = next(blocked, (None, ""))
    if place is None:
        return user
    if disguise_works(user):
        return DISGUISE + user
    raise CannotStart(
        f"PostgreSQL does not run as root, and the user {user} may not enter {in_the_way(place, user)}: {remedy} "
        f"/ PostgreSQL 不能以 root 运行,而用户 {user} 无权进入该目录"
    )


def own(path: Path, user: str | None) -> None:
    """Give a file, or a directory and all in it, to `user`; one look if that is so already."""
    if user is None:
        return
    entry = pwd.getpwnam("root" if user.startswith(DISGUISE) else user)
    if path.stat().st_uid == entry.pw_uid:
        return
    for place, _, files in os.walk(path, topdown=False):
        for name in files:
            os.chown(Path(place, name), entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        if place != str(path):
            os.chown(place, entry.pw_uid, entry.pw_gid)
    os.chown(path, entry.pw_uid, entry.pw_gid)  # last: an interrupted walk is done again


def in_the_way(path: Path, user: str) -> str:
    """The first directory (or program) on the way to `path` that `user` may not enter (or run); empty if there is none."""
    entry = pwd.getpwnam(user)
    script = 'for p; do test -x "$p" || { echo "$p"; exit 1; }; done'
    steps = [str(step) for step in (*reversed(path.parents), path)]
    looked = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *steps],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return looked.stdout.strip()


def disguise_works(user: str) -> bool:
    """Containers usually forbid it."""
    attempt = leashed(["/bin/sh", "-c", 'test "$(id -u)" != 0'], DISGUISE + user, signal.SIGKILL)
    return sys.platform == "linux" and subprocess.run(attempt, cwd="/", capture_output=True, timeout=10, check=False).returncode == 0


def _made() -> str:
    if not _exists(NAME) and shutil.which("useradd"):
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", NAME],
            capture_output=True,
            timeout=20,
            check=False,  # another start may have made it in this moment; and nobody will do
        )
    return NAME if _exists(NAME) else FALLBACK


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
