"""A later edition of the statistical bureau's table of divisions: what it changes, from a day on. Pure.

A table is the county's whole: what it lacks has ended (a merger), what it has besides is new. What does not change keeps its segment,
and so the edition that first said it. Nothing of the past is touched: a payout of before a merger stays explained by what was then.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from services.registry.domain.divisions import county_of
from services.registry.domain.refusals import Conflict
from services.registry.domain.segments import changed_from
from shared.contracts.registry import DIVISION_KINDS, Division, DivisionSegment
from shared.standing import at as segment_at
from shared.values import CONTROL

MAX_ROWS = 2_000
MAX_BYTES = 1 << 20
COLUMNS = ("code", "name", "name_en", "kind", "parent")
_CODE = re.compile(r"[0-9]{12}\Z")
_PARENTS = {  # in which kind a division of a kind lies
    "town": ("county",), "township": ("county",), "statistical": ("county",),
    "village": ("town", "township", "statistical"), "community": ("town", "township", "statistical"),
}  # fmt: skip


class Row(NamedTuple):
    row_no: int
    code: str
    name: str
    name_en: str
    kind: str
    parent: str | None


class Flaw(NamedTuple):
    row_no: int
    column: str
    code: str
    zh: str
    en: str


class What(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    ENDED = "ended"


class Change(NamedTuple):
    what: What
    division: Division  # as it will be
    before: DivisionSegment | None
    after: DivisionSegment | None


def rows(cells: Iterable[tuple[int, Sequence[str]]]) -> tuple[list[Row], list[Flaw]]:
    """The first row has the headings, COLUMNS in any order (others are left aside)."""
    found: list[Row] = []
    places: dict[str, int] | None = None
    for row_no, row in cells:
        if places is None:
            names = [cell.strip().lower() for cell in row]
            if missing := [c for c in COLUMNS if c not in names]:
                listed = ", ".join(missing)
                return [], [Flaw(row_no, missing[0], "file.columns_missing", f"缺少列：{listed}。", f"Columns are missing: {listed}.")]
            places = {column: names.index(column) for column in COLUMNS}
            continue
        told = {column: row[at].strip() if at < len(row) else "" for column, at in places.items()}
        found.append(Row(row_no, told["code"], told["name"], told["name_en"], told["kind"], told["parent"] or None))
        if len(found) > MAX_ROWS:
            return [], [Flaw(row_no, "", "file.too_many_rows", f"超过 {MAX_ROWS} 行。", f"More than {MAX_ROWS} rows.")]
    if not found:
        return [], [Flaw(1, "", "file.empty", "文件没有数据行。", "The file has no rows.")]
    return found, list(_flaws(found))


def _flaws(found: Sequence[Row]) -> Iterable[Flaw]:
    kinds = {row.code: row.kind for row in found}
    counties = {row.code for row in found if row.kind == "county"}
    seen: set[str] = set()
    if len(counties) != 1:
        yield Flaw(1, "kind", "edition.one_county", "须恰有一行 kind=county。", "Exactly one row is of kind county.")
    for row in found:
        if not _CODE.match(row.code):
            yield Flaw(row.row_no, "code", "division.code", "区划代码须为 12 位数字。", "A code has twelve digits.")
        elif counties and county_of(row.code) not in counties:
            yield Flaw(row.row_no, "code", "division.outside_county", "该代码不属于本县。", "This code is not of the county.")
        if row.code in seen:
            yield Flaw(row.row_no, "code", "division.twice", "代码重复。", "The code is given twice.")
        seen.add(row.code)
        for column, text in (("name", row.name), ("name_en", row.name_en)):
            if not 1 <= len(text) <= 100 or not CONTROL.isdisjoint(text) or text.startswith("="):
                yield Flaw(
                    row.row_no,
                    column,
                    "name.unreadable",
                    "名称须为 1 至 100 字，不含公式。",
                    "A name has 1 to 100 characters and is no formula.",
                )
        if row.kind not in DIVISION_KINDS:
            known = ", ".join(DIVISION_KINDS)
            yield Flaw(row.row_no, "kind", "division.kind", f"类型须为：{known}。", f"The kind is one of {known}.")
        elif row.kind in _PARENTS and kinds.get(row.parent or "") not in _PARENTS[row.kind]:
            wanted = ", ".join(_PARENTS[row.kind])
            yield Flaw(row.row_no, "parent", "division.parent", f"上级须为表中的 {wanted}。", f"Its parent is a row of kind {wanted}.")


def changes(known: Iterable[Division], table: Sequence[Row], edition: int, moment: datetime) -> list[Change]:
    """In order of the codes. Raises Conflict where a division of the county changes later than `moment` already."""
    rows_of = {row.code: row for row in table}
    [county] = [row.code for row in table if row.kind == "county"]
    divisions: Mapping[str, Division] = {d.code: d for d in known if county_of(d.code) == county}
    found: list[Change] = []
    for code in sorted({*divisions, *rows_of}):
        division, row = divisions.get(code), rows_of.get(code)
        _check_latest(division, moment)
        before = segment_at(division.segments, moment) if division else None
        if row is None:
            if division and before:
                found.append(Change(What.ENDED, _ended(division, moment), before, None))
            continue
        after = DivisionSegment(
            valid_from=moment, valid_to=None, name=row.name, name_en=row.name_en, kind=row.kind, parent_code=row.parent, edition=edition
        )
        if division is None or before is None:
            segments = division.segments if division else ()
            found.append(
                Change(What.NEW, Division(version=division.version if division else 0, code=code, segments=(*segments, after)), None, after)
            )
        elif (before.name, before.name_en, before.kind, before.parent_code) != (row.name, row.name_en, row.kind, row.parent):
            told: dict[str, object] = {
                "name": row.name,
                "name_en": row.name_en,
                "kind": row.kind,
                "parent_code": row.parent,
                "edition": edition,
            }
            segments = changed_from(division.segments, moment, told) or ()
            found.append(Change(What.CHANGED, replace(division, segments=segments), before, after))
    return found


def _ended(division: Division, moment: datetime) -> Division:
    kept = tuple(s for s in division.segments if s.valid_from < moment)
    return replace(division, segments=(*kept[:-1], replace(kept[-1], valid_to=moment)) if kept else ())


def _check_latest(division: Division | None, moment: datetime) -> None:
    if division and any(s.valid_from > moment or (s.valid_from == moment and s is not division.segments[0]) for s in division.segments):
        raise Conflict(
            "edition.not_latest",
            f"区划 {division.code} 在该时间之后已有变更，新版本须晚于它。",
            f"Division {division.code} changes at or after that moment already: a new edition is later.",
        )
