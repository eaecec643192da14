"""The shipped policy files, and reading a directory of them. Deciding is in `services.subsidy.domain.policy`, checking in `policy_file`."""

from pathlib import Path

from services.subsidy.domain.policy import Policy, PolicyError
from services.subsidy.domain.policy_file import load

SHIPPED = Path(__file__).parent


def read_directory(directory: Path = SHIPPED) -> list[tuple[Policy, str]]:
    """-> (policy, text of its file) of every file, in order of names. Raises PolicyError, or OSError for what cannot be read."""
    paths = sorted(directory.glob("*.toml"))
    if not paths:
        raise PolicyError("policy.directory.empty", f"no policy (*.toml) in {directory}")
    return [_read(path) for path in paths]


def _read(path: Path) -> tuple[Policy, str]:
    """A file's name is its version, so that two files can never claim the same one."""
    data = path.read_bytes()
    try:
        policy = load(data)
    except PolicyError as e:
        raise PolicyError(e.code, f"{path.name}: {e.message}", pointer=e.pointer, line=e.line, clause_id=e.clause_id) from e
    if path.stem != policy.policy_version:
        raise PolicyError("policy.file.name", f"{path.name} holds {policy.policy_version}; call it {policy.policy_version}.toml")
    return policy, data.decode()
