"""Activation of policies: each version once, frozen by its SHA-256, all new ones of a start in one batch of partition −1."""

from collections.abc import Sequence
from pathlib import Path

from services.subsidy.domain.policy import Policies, Policy, PolicyError
from services.subsidy.domain.policy_check import failing_cases
from services.subsidy.domain.policy_file import load
from services.subsidy.policies import read_directory
from services.subsidy.repository import standing
from services.subsidy.service.admin import AdminBatch, admin_batch
from shared.db import Database, Read
from shared.process import CannotRun


class PolicyRefused(CannotRun):
    """One line for the operator: which file, and what to do."""


def read_policies(directory: Path) -> list[tuple[Policy, str]]:
    """As `read_directory`. Raises PolicyRefused."""
    try:
        found = read_directory(directory)
        for policy, _ in found:
            if failed := next(failing_cases(policy), None):
                raise PolicyError(failed.code, f"{policy.policy_version}: {failed.about}: {failed.zh} / {failed.en}")
        return found
    except (OSError, PolicyError) as e:
        raise PolicyRefused(f"政策文件无法启用，请改正或检查 TONGCUN_POLICIES / policies in {directory}: {e}") from e


async def activate(database: Database, files: Sequence[tuple[Policy, str]]) -> list[str]:
    """Activate what is not active yet -> the versions. A changed file of an active version is refused; nothing is activated then."""
    async with database.read() as read:
        if not await _new(read, files):
            return []
    async with admin_batch(database) as batch:  # looked at once more behind the gate: another migrate step may have been quicker
        new = await _new(batch.tx, files)
        await _store(batch, new)
    return [p.policy_version for p, _ in new]


async def _new(read: Read, files: Sequence[tuple[Policy, str]]) -> list[tuple[Policy, str]]:
    known = {r["policy_version"]: r for r in await standing.policies(read)}
    new = []
    for policy, document in files:
        if (active := known.get(policy.policy_version)) is None:
            new.append((policy, document))
        elif active["sha256"] != policy.sha256:
            raise PolicyRefused(
                f"政策 {policy.policy_version} 已启用，不可更改 / policy {policy.policy_version} is active and frozen (sha256 "
                f"{active['sha256'][:12]}…, file {policy.sha256[:12]}…): undo the change, or give it a new policy_version"
            )
    if new:
        _together([load(r["document"].encode()) for r in known.values()], [p for p, _ in new])
    return new


def _together(active: list[Policy], new: list[Policy]) -> None:
    try:
        Policies([*active, *new])
    except PolicyError as e:
        raise PolicyRefused(f"政策不能同时有效 / these policies cannot be active together: {e}") from e


async def _store(batch: AdminBatch, new: Sequence[tuple[Policy, str]]) -> None:
    await batch.tx.executemany(standing.ADD_POLICY, [(p.policy_version, batch.batch_no, p.sha256, document) for p, document in new])
    if await batch.tx.fetchval(standing.ANY_EVIDENCE):
        await batch.reassess_all()
