"""The shipped policy files, and reading a directory of them. Deciding is in `services.subsidy.domain.policy`, checking in `policy_file`."""

from pathlib import Path

from services.subsidy.domain.policy import Policy, PolicyError
from services.subsidy.domain.policy_file import load

SHIPPED = Path(__file__).parent


def read_policy(path: Path) -> Policy:
    """One file; its name is its version, so that two files can never claim the same one."""
    policy = load(path.read_bytes())
    if path.stem != policy.policy_version:
        raise PolicyError("policy.file.name", f"{path.name} holds {policy.policy_version}; call it {policy.policy_version}.toml")
    return policy


def read_directory(directory: Path = SHIPPED) -> tuple[Policy, ...]:
    """Every policy of a directory in order of validity; raises PolicyError, or OSError where the directory cannot be read."""
    paths = sorted(directory.glob("*.toml"))
    if not paths:
        raise PolicyError("policy.directory.empty", f"no policy (*.toml) in {directory}")
    return tuple(sorted((read_policy(p) for p in paths), key=lambda p: (p.valid_from, p.policy_version)))
