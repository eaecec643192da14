"""Standards as data: checklists with their edition and source (`data/checklists.json`). Pure.

An edition is never changed: a corrected one is a new checklist, and what was inspected by the old one stays readable.
"""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

from services.registry.domain.refusals import Conflict, Invalid
from shared.contracts.programme import ItemResult, Verdict
from shared.contracts.registry import Level


class Words(msgspec.Struct, frozen=True):
    zh: str
    en: str


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    item: str
    zh: str
    en: str
    unit: str | None = None
    at_least: float | None = None  # what is measured is met from here on


class Checklist(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    checklist: str
    level: Level
    edition: int  # the year that its criteria are of
    title: Words
    basis: Literal["reported", "derived"]  # as a source tells it; or put together by us, from what the source says
    source: str
    note: Words
    items: tuple[Item, ...]


@cache
def checklists() -> dict[str, Checklist]:
    text = files("services.registry").joinpath("data/checklists.json").read_bytes()
    return {c.checklist: c for c in msgspec.json.decode(text, type=list[Checklist])}


def checklist_for(name: str, level: Level) -> Checklist:
    found = checklists().get(name)
    if found is None:
        known = ", ".join(checklists())
        raise Invalid(
            "checklist.unknown", f"没有这个检查表，可用：{known}。", f"There is no such checklist; there is: {known}.", "/checklist"
        )
    if found.level is not level:
        raise Conflict(
            "checklist.level",
            f"该检查表适用于 {found.level} 级站点，此站点为 {level} 级。",
            f"This checklist is for stations of level {found.level}; this one is of level {level}.",
        )
    return found


def check_items(checklist: Checklist, results: Iterable[ItemResult], needed: Iterable[str] | None) -> None:
    """Each of `needed` (None: all) once, nothing that the checklist lacks, and no verdict against what was measured."""
    known = {item.item: item for item in checklist.items}
    seen: set[str] = set()
    for i, result in enumerate(results):
        pointer = f"/items/{i}"
        item = known.get(result.item)
        if item is None:
            options = ", ".join(known)
            raise Invalid(
                "item.unknown",
                f"检查表没有此项，可用：{options}。",
                f"The checklist has no such item; it has: {options}.",
                f"{pointer}/item",
            )
        if result.item in seen:
            raise Invalid("item.twice", "同一项填写了两次。", "This item is given twice.", f"{pointer}/item")
        seen.add(result.item)
        _check_measured(item, result, pointer)
    if missing := [name for name in (known if needed is None else needed) if name not in seen]:
        raise Invalid("item.missing", f"缺少检查项：{', '.join(missing)}。", f"Items are missing: {', '.join(missing)}.", "/items")


def _check_measured(item: Item, result: ItemResult, pointer: str) -> None:
    if result.value is None:
        return
    if item.at_least is None:
        raise Invalid("item.not_measured", "此项没有数值。", "Nothing is measured for this item.", f"{pointer}/value")
    measured = Verdict.MET if result.value >= item.at_least else Verdict.NOT_MET
    if result.verdict is not measured:
        raise Invalid(
            "item.verdict_contradicts_value",
            f"实测 {result.value:g}，标准不小于 {item.at_least:g}，结论应为 {measured}。",
            f"Measured {result.value:g}, to be at least {item.at_least:g}: the verdict is {measured}.",
            f"{pointer}/verdict",
        )
