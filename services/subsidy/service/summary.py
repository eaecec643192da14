"""Totals: from rollups for now, from history for a past revision (and for a beneficiary, whom rollups do not know)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from services.subsidy.domain import wording
from services.subsidy.domain.policy import Policy
from services.subsidy.repository import summary as sql
from services.subsidy.service.known import Books, Known
from services.subsidy.service.tenancy import Tenant
from shared.calendar import day_start, shanghai_day
from shared.http import check_range, decode_page, encode_page
from shared.problems import Problem, invalid
from shared.standing import Directory, at

MAX_GROUPS = 3
MAX_DAYS = 3_660  # of one query: ten years
LATER = ("reason", "beneficiary", "policy_version")
NOT_YET = {"approved_fen": 0, "paid_fen": 0, "clawed_back_fen": 0}  # no stage beyond accrued exists in this version
_OUTCOMES = {"zh": {"pending": "待定", "payable": "应付", "held": "暂缓", "refused": "不予补贴"}}
_DIRECTIONS = {"zh": {"downlink": "下行", "uplink": "上行", "unknown": "未知"}}


@dataclass(frozen=True)
class Query:
    """`first` (inclusive) and `end` (exclusive): Shanghai days."""

    first: date
    end: date
    basis: str
    group_by: list[str]
    filters: Mapping[str, list[str] | None]
    known_at: datetime | None
    limit: int
    cursor: str | None

    @classmethod
    def of(
        cls, first: date, end: date, basis: str, group_by: list[str] | None, filters: Mapping[str, list[str] | None],
        known_at: datetime | None, limit: int, cursor: str | None,
    ) -> "Query":  # fmt: skip
        """422 for what cannot be answered."""
        check_range(first, end)
        if end - first > timedelta(days=MAX_DAYS):
            raise invalid("#query/to", "range.too_long", "一次最多查询十年。", "`to` is at most ten years after `from`.")
        groups = group_by or []
        if len(groups) > MAX_GROUPS or len(set(groups)) != len(groups) or {"day", "month"} <= set(groups):
            raise invalid(
                "#query/group_by",
                "group_by.invalid",
                "最多三个不同的分组项，日和月只能选一个。",
                "At most three different groups, day or month.",
            )
        for group in groups:
            if group not in sql.GROUPS:
                raise _unknown_group(group)
        return cls(first, end, basis, groups, filters, known_at, limit, cursor)


def _unknown_group(group: str) -> Problem:
    known = ", ".join(sql.GROUPS)
    later_zh, later_en = ("（尚未提供）", " (later)") if group in LATER else ("", "")
    zh = f"不能按 {group[:40]} 分组{later_zh}，可用：{known}。"
    en = f"There is no group {group[:40]}{later_en}; there are {known}."
    return invalid("#query/group_by", "group_by.unknown", zh, en)


class Summaries:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def answer(self, tenant: Tenant, query: Query) -> dict[str, Any]:
        pinned, offset = decode_page(query.cursor)
        async with self._books.known(query.known_at, pinned) as known:
            now = known.latest and tenant.beneficiary_id is None
            names = ("township_code", "station_id", "brand", "direction", "outcome")
            args = (query.first, query.end, known.revision, *(query.filters.get(n) for n in names), *tenant.restriction)
            totals = await known.read.fetchrow(sql.totals(query.basis, now=now), *args)
            assert totals is not None, "an aggregate is one row"
            rows = await self._rows(known, query, args, now, offset)
            directory = await self._books.directory(known.read, known.registry_revision)
            policies = [p for p in (await self._books.policies(known.read, known.revision)).versions if _days(p, query)]
            return {
                "from": query.first,
                "to": query.end,
                "date_basis": query.basis,
                "group_by": query.group_by,
                "totals": _figures(totals, query.basis),
                "items": [_item(row, query, directory) for row in rows[: query.limit]],
                "ceilings": [c for p in policies for c in await _ceilings(known, query, p)],
                "rates_status": _rates_status(policies),
                "next_cursor": encode_page(known.revision, offset + query.limit) if len(rows) > query.limit else None,
                "as_of": known.as_of,
            }

    async def _rows(self, known: Known, query: Query, args: Sequence[object], now: bool, offset: int) -> list[asyncpg.Record]:
        if not query.group_by:
            return []
        return await known.read.fetch(sql.grouped(query.basis, query.group_by, now=now), *args, query.limit + 1, offset)


def _figures(row: asyncpg.Record, basis: str) -> dict[str, int]:
    """In the posted basis a parcel counts where its money does: accruals less reversals."""
    figures = {name: row[name] for name in sql.FIGURES}
    if basis == "posted":
        figures["payable"] = figures["parcels"]
    return figures | NOT_YET


def _item(row: asyncpg.Record, query: Query, directory: Directory) -> dict[str, Any]:
    key = {sql.GROUPS[g][0]: row[sql.GROUPS[g][0]] for g in query.group_by}
    return {"key": key, "label": _label(key, query, directory), **_figures(row, query.basis)}


def _label(key: Mapping[str, str | None], query: Query, directory: Directory) -> dict[str, str]:
    """The name of the place, if the key has one, else of its first part, as of the last day of the query."""
    moment = day_start(query.end) - timedelta(seconds=1)
    for name in ("station_id", "township_code"):
        if name in key:
            return _place(name, key[name], directory, moment)
    first, value = next(iter(key.items()))
    return {"zh": _word("zh", first, value), "en": _word("en", first, value)}


def _place(kind: str, code: str | None, directory: Directory, moment: datetime) -> dict[str, str]:
    if code is None:
        return {"zh": "无站点", "en": "No station"}
    if kind == "station_id":
        station = directory.stations.get(code)
        segment = (at(station.segments, moment) or station.segments[-1]) if station else None
        return {"zh": segment.name, "en": segment.name} if segment else {"zh": code, "en": code}
    division = directory.divisions.get(code)
    named = (at(division.segments, moment) or division.segments[-1]) if division else None
    return {"zh": named.name, "en": named.name_en} if named else {"zh": code, "en": code}


def _word(lang: str, kind: str, value: str | None) -> str:
    if value is None:
        return "无" if lang == "zh" else "None"
    words: Mapping[str, Mapping[str, Mapping[str, str]]] = {"brand": wording.BRANDS, "outcome": _OUTCOMES, "direction": _DIRECTIONS}
    return words.get(kind, {}).get(lang, {}).get(value, value)


def _days(policy: Policy, query: Query) -> tuple[date, date] | None:
    """The service days of a policy within the query; in the posted basis all of them, since late truth is posted late."""
    first, end = shanghai_day(policy.valid_from), shanghai_day(policy.valid_to)
    if query.basis == "service":
        first, end = max(first, query.first), min(end, query.end)
    return (first, end) if first < end else None


async def _ceilings(known: Known, query: Query, policy: Policy) -> list[dict[str, Any]]:
    """On the average over all parcels paid in the range: what is left below limit x parcels."""
    days = _days(policy, query)
    row = await known.read.fetchrow(sql.ceilings(query.basis, now=known.latest), query.first, query.end, known.revision, *(days or ()))
    assert row is not None, "an aggregate is one row"
    return [
        {
            "policy_version": policy.policy_version,
            "limit_fen_per_parcel": c.limit_fen_per_parcel,
            "headroom_fen": c.limit_fen_per_parcel * row["payable"] - row["fen"],
            "enforced": "at_close",
        }
        for c in policy.ceilings
        if c.scheme == "downlink"
    ]


def _rates_status(policies: Sequence[Policy]) -> str | None:
    """`sample` as soon as one amount in the range may rest on sample rates."""
    statuses = {p.rates_status for p in policies}
    return "sample" if "sample" in statuses else next(iter(statuses), None)
