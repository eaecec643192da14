"""Totals: from rollups for now, from history for a past revision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg

from services.subsidy.domain import wording
from services.subsidy.domain.explain import merchant_name, tier_words
from services.subsidy.domain.policy import Policy
from services.subsidy.repository import summary as sql
from services.subsidy.service.known import Books, Known
from services.subsidy.service.tenancy import Tenant
from shared.calendar import day_start, shanghai_day
from shared.http import decode_page, encode_page
from shared.problems import Problem, invalid
from shared.standing import Directory, at
from shared.values import check_range

MAX_GROUPS = 3
MAX_DAYS = 3_660  # of one query: ten years
NOT_YET = {"approved_fen": 0, "paid_fen": 0, "clawed_back_fen": 0}  # no stage beyond accrued exists in this version
_WORDS: Mapping[str, Mapping[str, str]] = {
    "outcome": {"pending": "待定", "payable": "应付", "held": "暂缓", "refused": "不予补贴"},
    "direction": {"downlink": "下行", "uplink": "上行", "unknown": "未知"},
    "brand": wording.BRANDS["zh"],
}


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
    zh = f"不能按 {group[:40]} 分组，可用：{known}。"
    en = f"There is no group {group[:40]}; there are {known}."
    return invalid("#query/group_by", "group_by.unknown", zh, en)


class Summaries:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def answer(self, tenant: Tenant, query: Query) -> dict[str, Any]:
        pinned, offset = decode_page(query.cursor)
        async with self._books.known(query.known_at, pinned) as known:
            now = known.latest
            names = ("township_code", "station_id", "brand", "direction", "outcome")
            args = (query.first, query.end, known.revision, *(query.filters.get(n) for n in names), *tenant.restriction)
            totals = await known.read.fetchrow(sql.totals(query.basis, now=now), *args)
            assert totals is not None, "an aggregate is one row"
            rows = await self._rows(known, query, args, now, offset)
            directory = await self._books.directory(known.read, known.registry_revision)
            active = (await self._books.policies(known.read, known.revision)).versions
            policies = [p for p in active if _days(p, query)]
            words = Words(query, directory, active)
            return {
                "from": query.first,
                "to": query.end,
                "date_basis": query.basis,
                "group_by": query.group_by,
                "totals": _figures(totals, query.basis),
                "items": [_item(row, query, words) for row in rows[: query.limit]],
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


def _item(row: asyncpg.Record, query: Query, words: "Words") -> dict[str, Any]:
    key = {sql.GROUPS[g][0]: row[sql.GROUPS[g][0]] for g in query.group_by}
    return {"key": key, "label": words.label(key), **_figures(row, query.basis)}


_NAMED_FIRST = ("station_id", "township_code", "beneficiary_id")
_NONE = {
    "station_id": ("无站点", "No station"),
    "township_code": ("无乡镇", "No township"),
    "beneficiary_id": ("无补贴对象", "No beneficiary"),
}


class Words:
    """What the keys of groups are called as of the last day of the query: a code that nothing is known of stands for itself."""

    def __init__(self, query: Query, directory: Directory, policies: Sequence[Policy]) -> None:
        self._directory, self._policies = directory, policies
        self._moment = day_start(query.end) - timedelta(seconds=1)

    def label(self, key: Mapping[str, str | None]) -> dict[str, str]:
        """Of the place or the beneficiary, if the key has one, else of its first part."""
        kind = next((name for name in _NAMED_FIRST if name in key), next(iter(key)))
        if (value := key[kind]) is None:
            zh, en = _NONE.get(kind, ("无", "None"))
        else:
            zh, en = self._name(kind, value)
        return {"zh": zh, "en": en}

    def _name(self, kind: str, value: str) -> tuple[str, str]:
        match kind:
            case "station_id":
                named = self._at(self._directory.stations.get(value))
                return (named.name, named.name) if named else (value, value)
            case "beneficiary_id":
                named = self._at(self._directory.operators.get(value))
                name = named.name if named else merchant_name(self._directory, value, self._moment) or value
                return name, name
            case "township_code":
                named = self._at(self._directory.divisions.get(value))
                return (named.name, named.name_en) if named else (value, value)
            case "reason_code":
                return self._reason(value)
        return _WORDS.get(kind, {}).get(value, value), wording.BRANDS["en"].get(value, value) if kind == "brand" else value

    def _at(self, record: Any) -> Any:
        """The segment that holds then, else the latest that did."""
        return (at(record.segments, self._moment) or record.segments[-1]) if record else None

    def _reason(self, code: str) -> tuple[str, str]:
        """The first sentence that explains it; of a clause what it asks for, of a rate its name."""
        if code in wording.REASONS["zh"]:
            return wording.REASONS["zh"][code].split("。")[0], wording.REASONS["en"][code].split(". ")[0].rstrip(".")
        tier = next((t for p in reversed(self._policies) for t in p.tiers if f"rate.{t.rate_id}" == code), None)
        if tier:
            return tier_words(tier.when, "zh"), tier_words(tier.when, "en")
        if uplink := wording.UPLINK_RATES["zh"].get(code.removeprefix("rate.")):
            return uplink, wording.UPLINK_RATES["en"][code.removeprefix("rate.")]
        clause = next((c for p in reversed(self._policies) for c in p.clauses if c.reason_code == code), None)
        if clause:
            return f"不符合：{clause.title['zh']}", f"Not so: {clause.title['en']}"
        return code, code


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
