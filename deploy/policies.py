"""`tongcun policy check`: a policy file looked through before money depends on it."""

from collections.abc import Iterator
from pathlib import Path

from services.subsidy.domain.policy import Policy, PolicyError
from services.subsidy.domain.policy_check import Finding, check
from services.subsidy.domain.policy_file import MAX_BYTES, load
from services.subsidy.policies import SHIPPED

BESIDE = ("", "earlier", "variants")  # where the policy that `not_below` names may stand: beside the file, or among the shipped ones


def check_file(path: Path) -> Iterator[str]:
    """A line for each mistake; none: the file may decide."""
    try:
        policy = _read(path)
        for finding in _findings(policy, path):
            yield f"{path.name}: {finding.about}: {finding.zh} / {finding.en} [{finding.code}]"
    except OSError as e:
        yield f"{path.name}: 文件无法读取 / cannot be read: {e.strerror} [policy.file.unreadable]"
    except PolicyError as e:
        yield f"{path.name}: 不能启用，请按提示改正 / cannot be taken, mend it: {e}"
    except ValueError as e:
        yield f"{path.name}: 条件涉及的事实过多，无法逐一核对 / {e} [policy.facts.too_many]"


def _findings(policy: Policy, path: Path) -> Iterator[Finding]:
    before = None
    if policy.not_below:
        before = _named(policy.not_below, path.parent)
        if before is None:
            yield Finding(
                "policy.not_below.unknown",
                policy.not_below,
                "找不到用来比较是否退坡的政策：请把它的文件放在本文件旁边",
                "the policy that this one must not step back behind is not there: put its file beside this one",
            )
    texts = {d.document: (path.parent / d.source).read_text(encoding="utf-8") for d in policy.documents if d.source}
    yield from check(policy, before, texts)


def _named(version: str, beside: Path) -> Policy | None:
    places = (directory / name / f"{version}.toml" for directory in (beside, SHIPPED) for name in BESIDE)
    found = next((path for path in places if path.is_file()), None)
    return _read(found) if found else None


def _read(path: Path) -> Policy:
    with path.open("rb") as file:  # never more than a policy may have, whatever the name leads to
        return load(file.read(MAX_BYTES + 1))
