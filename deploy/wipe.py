"""An installation is removed; nothing else ever is."""

import contextlib
import shutil
from pathlib import Path

from deploy.embedded.installation import Installation
from deploy.embedded.supervisor import CannotStart, Supervisor
from deploy.platform import Say

# What an installation and the demo put into their directory: TONGCUN_VAR may be somebody's home.
OURS = (
    "run", "log", "secrets", "postgres", "broker", "cluster-id", "ports.json", "jwks.json", "installed", "settled.json", "statement.csv",
    "bench.json", "lock",
)  # fmt: skip


async def wipe(var: Path, say: Say) -> None:
    """Remove an installation that is not running: what it left behind is ended first. Never anything that is none."""
    if not var.exists() or not any(var.iterdir()):
        return
    installation = Installation(var)
    if not (var / "lock").exists():
        raise CannotStart(f"{var} is no installation of ours: nothing removed / 不是本系统的数据目录,未删除")
    with installation.locked():
        await Supervisor(installation.run, say).sweep()
        for name in OURS:
            path = var / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something that is not ours lies there: it stays
        var.rmdir()
