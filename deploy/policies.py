"""`tongcun policy check`: a policy file looked through before money depends on it; `policy compare`: two over the same evidence."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.subsidy.domain.policy import Policy, PolicyError
from services.subsidy.domain.policy_check import Finding, check
from services.subsidy.domain.policy_compare import GROUPS, Comparison, Difference, headroom_fen
from services.subsidy.domain.policy_file import MAX_BYTES, load
from services.subsidy.policies import SHIPPED
from services.subsidy.service.compare import active_policy, compare_policies
from shared.db import Database
from shared.money import yuan

MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")
MAX_SOURCE_BYTES = 1 << 20
BESIDE = (
    "",
    "earlier",
    "later",
    "variants",
)  # where the one that `not_below` names may stand: beside the file, or shipped


def check_file(path: Path) -> Iterator[str]:
    """A line for each mistake; none: the file may decide."""
    try:
        policy = _read(path)
        for finding in _findings(policy, path):
            yield f"{path.name}: {finding.about}: {finding.zh} / {finding.en} [{finding.code}]"
    except OSError as e:
        yield f"{path.name}: 文件无法读取 / cannot be read: {e.strerror} [policy.file.unreadable]"
    except PolicyError as e:
        yield f"{path.name}: 不能启用：{e.zh}，请改正 / cannot be taken, mend it: {e}"


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
    texts: dict[str, str] = {}
    for document in policy.documents:
        if document.source and (text := _source(path.parent, document.source)) is not None:
            texts[document.document] = text
        elif document.source:
            yield Finding(
                "policy.source.unreadable",
                document.document,
                f"其原文 {document.source} 无法读取：应为本文件旁边（或上一级目录中）的 UTF-8 文本，不超过 {MAX_SOURCE_BYTES} 字节",
                f"its text {document.source} cannot be read: UTF-8, here or one directory above, at most {MAX_SOURCE_BYTES} bytes",
            )
    yield from check(policy, before, texts)


def _source(beside: Path, name: str) -> str | None:
    """None where it is not a text beside the policy, whatever the name leads to."""
    try:
        path, shelf = (beside / name).resolve(), beside.resolve().parent  # variants/ reads ../sources/
        if not path.is_relative_to(shelf) or not path.is_file() or path.stat().st_size > MAX_SOURCE_BYTES:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):  # also a NUL in the name
        return None


def _named(version: str, beside: Path) -> Policy | None:
    places = (directory / name / f"{version}.toml" for directory in (beside, SHIPPED) for name in BESIDE)
    found = next((path for path in places if path.is_file()), None)
    return _read(found) if found else None


def _read(path: Path) -> Policy:
    with path.open("rb") as file:  # never more than a policy may have, whatever the name leads to
        return load(file.read(MAX_BYTES + 1))


class CannotCompare(Exception):
    """One line: what is not there, and what to name instead."""


@dataclass(frozen=True)
class Compared:
    old: Policy
    new: Policy
    period: str
    found: Comparison

    def as_json(self) -> str:
        groups = {group: {key: _numbers(d) for key, d in sorted(of.items())} for group, of in self.found.groups.items()}
        return json.dumps(
            {
                "period": self.period,
                "old": self.old.policy_version,
                "new": self.new.policy_version,
                "total": _numbers(self.found.total),
                "headroom_fen": {"old": headroom_fen(self.old, self.found.total.old), "new": headroom_fen(self.new, self.found.total.new)},
                "steps_back": self.found.steps_back,
                "parcels_worse": self.found.worse,
                "by": groups,
            },
            ensure_ascii=False,
        )

    def lines(self) -> Iterator[str]:
        """For people."""
        old, new, total = self.old, self.new, self.found.total
        yield f"{self.period}: {old.policy_version} → {new.policy_version}"
        yield f"  {total.parcels} 件，按毛额，账本未动 / parcels, gross; the books are untouched"
        for label, policy, sums in (("原 old", old, total.old), ("新 new", new, total.new)):
            headroom = headroom_fen(policy, sums)
            told = "" if headroom is None else f"，距平均上限 {yuan(headroom)} 元 / under the ceiling"
            yield f"  {label}: 应付 {sums.payable} 件 {yuan(sums.fen)} 元，均价 {sums.average} / payable, average{told}"
        yield f"  对预算的影响 / effect on the budget: {yuan(total.new.fen - total.old.fen)} 元 yuan"
        for group in GROUPS:
            yield from _table(group, self.found.groups[group])
        if self.found.steps_back:
            yield f"  退坡 / it steps back: {self.found.worse} 件少付或不付，或均价降低 / parcels are paid less, or the average falls"
        else:
            yield "  在这些证据上没有退坡 / on this evidence it does not step back"


_TITLES = {"township": "乡镇 township", "station": "站点 station", "brand": "品牌 brand", "reason": "条款或档次 clause or rate"}


def _table(group: str, of: dict[str, Difference]) -> Iterator[str]:
    """Largest differences first; what does not differ is left out."""
    changed = [(key, d) for key, d in of.items() if d.old != d.new]
    if changed:
        yield f"  {_TITLES[group]}:"
    for key, d in sorted(changed, key=lambda pair: (-abs(pair[1].new.fen - pair[1].old.fen), pair[0])):
        yield f"    {key}: {d.parcels} 件，{yuan(d.old.fen)} → {yuan(d.new.fen)} 元（{d.old.payable} → {d.new.payable} 件应付 payable）"


def _numbers(d: Difference) -> dict[str, Any]:
    return {"parcels": d.parcels, "old": d.old._asdict(), "new": d.new._asdict()}


async def compare_over(dsn: str, old: str, new: str, period: str) -> Compared:
    """`old`, `new`: an active version or a file. Raises CannotCompare, PolicyError, OSError."""
    if not MONTH.fullmatch(period):
        raise CannotCompare(f"{period} 不是月份，请写成 2023-07 / is no month: write it as 2023-07")
    database = await Database(dsn, max_size=2, application_name="tongcun-policy-compare").open()
    try:
        before, after = await _policy(database, old), await _policy(database, new)
        found = await compare_policies(database, before, after, period)
    finally:
        await database.close()
    if not found.total.parcels:
        raise CannotCompare(f"{period} 没有可比的快件 / there are no parcels with a station in {period}: name a month that has some")
    return Compared(before, after, period, found)


async def _policy(database: Database, name: str) -> Policy:
    if (document := await active_policy(database, name)) is not None:
        return load(document)
    path = Path(name)
    if not path.suffix:
        raise CannotCompare(f"没有启用的政策 {name}，请写版本号或文件名（.toml）/ no active policy {name}: name a version, or a file")
    return _read(path)
