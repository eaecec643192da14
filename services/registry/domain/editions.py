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
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.segments import changed_from
from shared.contracts.registry import DIVISION_KINDS, Division, DivisionSegment, Level, Station
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


def changes(known: Sequence[Division], table: Sequence[Row], edition: int, moment: datetime) -> list[Change]:
    """In order of the codes. Raises Conflict where something that it would change is changed at `moment` or later already."""
    rows_of = {row.code: row for row in table}
    [county] = [row.code for row in table if row.kind == "county"]
    if county not in {d.code for d in known}:
        en = f"{county} is not the county of this register."
        raise Invalid("division.outside_county", f"{county} 不是本登记所属的县。", en, f"/rows/{rows_of[county].row_no}/code")
    divisions: Mapping[str, Division] = {d.code: d for d in known if county_of(d.code) == county}
    found = [_change(divisions.get(code), rows_of.get(code), edition, moment) for code in sorted({*divisions, *rows_of})]
    return [change for change in found if change]


def _change(division: Division | None, row: Row | None, edition: int, moment: datetime) -> Change | None:
    """None: the edition says what is known."""
    before = segment_at(division.segments, moment) if division else None
    if row is None:
        if division is None or before is None:
            return None
        _check_latest(division, moment)
        return Change(What.ENDED, _ended(division, moment), before, None)
    after = DivisionSegment(
        valid_from=moment, valid_to=None, name=row.name, name_en=row.name_en, kind=row.kind, parent_code=row.parent, edition=edition
    )
    if before and (before.name, before.name_en, before.kind, before.parent_code) == (row.name, row.name_en, row.kind, row.parent):
        return None
    if division:
        _check_latest(division, moment)
    if division is None or before is None:
        version, segments = (division.version, division.segments) if division else (0, ())
        return Change(What.NEW, Division(version=version, code=row.code, segments=(*segments, after)), None, after)
    told: dict[str, object] = {"name": row.name, "name_en": row.name_en, "kind": row.kind, "parent_code": row.parent, "edition": edition}
    segments = changed_from(division.segments, moment, told) or ()
    return Change(What.CHANGED, replace(division, segments=segments), before, after)


def _ended(division: Division, moment: datetime) -> Division:
    *kept, last = division.segments
    return replace(division, segments=(*kept, replace(last, valid_to=moment)))


def _check_latest(division: Division, moment: datetime) -> None:
    if any(s.valid_from >= moment or (s.valid_to is not None and s.valid_to > moment) for s in division.segments):
        raise Conflict(
            "edition.not_latest",
            f"区划 {division.code} 在该时间或之后已有变更，新版本须晚于它。",
            f"Division {division.code} changes at that moment or later already: a new edition is later.",
        )


def standing_in(station: Station, code: str, moment: datetime) -> bool:
    """Whether it stands in the township or village at some time from then on."""
    return any((s.valid_to is None or s.valid_to > moment) and code in (s.division_code, s.township_code) for s in station.segments)


def resettled(station: Station, code: str, township: str, moment: datetime) -> Station:
    """The station as of another township, where its village `code` has come to lie from that moment on."""
    if station.level is Level.COUNTY_HUB:  # which is of no township
        return station
    segments = station.segments
    held = segment_at(segments, moment)
    if held and held.division_code == code and held.valid_from < moment:
        segments = changed_from(segments, moment, {"township_code": township}) or segments
    moved = tuple(replace(s, township_code=township) if s.valid_from >= moment and s.division_code == code else s for s in segments)
    return replace(station, segments=moved)
