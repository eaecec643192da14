"""The user that PostgreSQL runs under when we are root (it refuses to run as root), and what that user can reach."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from deploy.embedded.supervisor import CannotStart

NAME = "tongcun-pg"
FALLBACK = "nobody"


def for_postgres() -> str | None:
    """None: we are not root, and run it as ourselves."""
    if os.geteuid() != 0:
        return None
    if not _exists(NAME) and shutil.which("useradd"):
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", NAME],
            capture_output=True,
            timeout=20,
            check=False,  # another start may have made it in this moment; and nobody will do
        )
    return NAME if _exists(NAME) else FALLBACK


def own(path: Path, user: str | None) -> None:
    """Give a file, or a directory and all in it, to `user`; one look if that is so already."""
    if user is None:
        return
    entry = pwd.getpwnam(user)
    if path.stat().st_uid == entry.pw_uid:
        return
    for place, _, files in os.walk(path, topdown=False):
        for name in files:
            os.chown(Path(place, name), entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        if place != str(path):
            os.chown(place, entry.pw_uid, entry.pw_gid)
    os.chown(path, entry.pw_uid, entry.pw_gid)  # last: an interrupted walk is done again


def require_reachable(path: Path, user: str | None, remedy: str) -> None:
    """CannotStart, naming the directory in the way, unless `user` may go to `path` (a directory or program)."""
    if user is None:
        return
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
    if looked.returncode:
        raise CannotStart(
            f"PostgreSQL does not run as root, and the user {user} may not enter {looked.stdout.strip()}: {remedy} "
            f"/ PostgreSQL 不能以 root 运行,而用户 {user} 无权进入该目录"
        )


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
