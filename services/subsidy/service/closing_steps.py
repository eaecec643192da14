"""What a close adjusts, step by step, in order (docs/rules.md, Closing a month). A step plans lines; the close posts them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import asyncpg

from services.subsidy.domain.allot import allot
from services.subsidy.domain.budget import in_turn
from services.subsidy.domain.closing import last_day, over_ceiling
from services.subsidy.domain.entity_year import YearLine, reviewed_sales, settle, taken
from services.subsidy.domain.policy import UPLINK, Exhaustion, Policies, Uplink
from services.subsidy.repository import budgets, standing, years
from services.subsidy.repository import closing as sql
from shared.db import Read, Write

PAGE = 20_000  # lines of a month looked at together


class Month(NamedTuple):
    period: str
    county_code: str
    policies: Policies


class Plan(NamedTuple):
    """What a step has set out to do; its lines are in `closing_plan`.

    `excess_fen`: what has to be taken back, what earlier months have left over included; negative: what could be given.
    """

    excess_fen: int
    carried_in_fen: int = 0


class Step(NamedTuple):
    """`plan` writes to `closing_plan`, at most one line for each payout that stands. It holds no gate: no line joins the month any more,
    and a line that is reversed meanwhile is left out when the plan is carried out."""

    name: str
    plan: Callable[[Write, Month], Awaitable[Plan]]


async def steps_of(read: Read, month: Month) -> list[Step]:
    """In order: 1 the ceiling on the average, 2 the year of each applicant, 3 the budgets."""
    return [*_ceilings(month), *await _entity_years(read, month), *await _budgets(read, month)]


# 1 the ceiling


def _ceilings(month: Month) -> list[Step]:
    schemes = sorted({c.scheme for p in month.policies.versions for c in p.ceilings})
    return [Step(f"ceiling.{scheme}", partial(_plan_ceiling, scheme=scheme)) for scheme in schemes]


async def _plan_ceiling(tx: Write, month: Month, *, scheme: str) -> Plan:
    over_fen, carried_in_fen = await _over_ceiling(tx, month, scheme)
    excess_fen = max(0, over_fen)
    await _take_back(tx, month, scheme, excess_fen, "ceiling.average", policies=sorted(_limits(month, scheme)))
    return Plan(excess_fen, carried_in_fen)


async def _over_ceiling(tx: Write, month: Month, scheme: str) -> tuple[int, int]:
    """-> (by how much the month is above now, what earlier months have left over in it)."""
    carried_in_fen = await tx.fetchval(sql.CARRIED, f"ceiling.{scheme}", month.period) or 0
    totals = [t for t in await sql.totals(tx, month.period) if (t.period, t.scheme) == (month.period, scheme)]
    return over_ceiling(totals, _limits(month, scheme), carried_in_fen), carried_in_fen


def _limits(month: Month, scheme: str) -> dict[str, int]:
    """Policy version -> fen a parcel, of those that have a ceiling."""
    return {p.policy_version: c.limit_fen_per_parcel for p in month.policies.versions for c in p.ceilings if c.scheme == scheme}


async def _take_back(
    tx: Write, month: Month, scheme: str, total_fen: int, reason: str, *, policies: list[str] | None = None, year: int | None = None
) -> None:
    """Allot an amount over the month's lines that stand, as far as they have it."""
    if total_fen <= 0:
        return
    which = month.period, scheme, policies, year
    counts = {r["left_fen"]: r["lines"] for r in await tx.fetch(sql.COUNT_BY_LEFT, *which)}
    shares = allot(min(total_fen, sum(amount * lines for amount, lines in counts.items())), counts)
    columns = list(shares), [s.fen for s in shares.values()], [s.first for s in shares.values()]
    await tx.execute(sql.PLAN_ALLOTMENT, *which, *columns, "cap", reason)


# 2 the year of each applicant: vesting and cap of uplink lines


async def _entity_years(read: Read, month: Month) -> list[Step]:
    """Of each year that has uplink lines up to this month, where its policy says what is asked of it."""
    years = sorted({t.year for t in await sql.totals(read, month.period) if t.scheme == UPLINK})
    return [
        Step(f"year.{UPLINK}.{year}", partial(_plan_year, year=year, uplink=uplink))
        for year in years
        if (uplink := month.policies.uplink_of(year))
    ]


async def _plan_year(tx: Write, month: Month, *, year: int, uplink: Uplink) -> Plan:
    """Once the year is over, who has not met its conditions keeps nothing; who has, and everybody before, no more than the cap."""
    merchants = {m.merchant_id: m for m in await standing.merchants(tx)}
    counts = {r["beneficiary_id"]: r["parcels"] for r in await tx.fetch(years.PARCELS, month.period, year)}
    over = month.period >= f"{year}-12"
    excess_fen = 0
    merchant_id, vested, money_fen = "", True, 0
    async for page in _pages(tx, years.LINES, month.period, year):
        planned = []
        for row in page:
            if row["beneficiary_id"] != merchant_id:
                merchant_id = row["beneficiary_id"]
                met = counts[merchant_id] >= uplink.min_parcels and reviewed_sales(merchants.get(merchant_id), year) >= uplink.min_sales_fen
                vested = met or not over
                money_fen = uplink.cap_fen if vested else 0
            (change_fen,), money_fen = settle([YearLine(row["net_fen"], row["left_fen"], row["year_fen"])], money_fen)
            if does := taken(change_fen, vested):
                planned.append((month.period, row["parcel_key"], row["seq"], UPLINK, *does))
                excess_fen -= change_fen
        await sql.plan(tx, planned)
    return Plan(excess_fen)


# 3 budgets


async def _budgets(read: Read, month: Month) -> list[Step]:
    """Of each scheme and year that has been given money, where the policy says what happens when it is not enough."""
    given: dict[tuple[str, int], int] = {}
    for row in await read.fetch(budgets.AMOUNTS, month.county_code):
        given[row["scheme"], row["year"]] = given.get((row["scheme"], row["year"]), 0) + row["amount_fen"]
    found = []
    for (scheme, year), amount_fen in sorted(given.items()):
        if year <= last_day(month.period).year and (rule := rule_of(month.policies, scheme, year)):
            found.append(Step(f"budget.{scheme}.{year}", partial(_plan_budget, pool=(scheme, year), amount_fen=amount_fen, rule=rule)))
    return found


def rule_of(policies: Policies, scheme: str, year: int) -> Exhaustion | None:
    """That of the policy whose days in the year begin last."""
    of_year = [p for p in policies.versions if p.valid_from.year <= year <= p.valid_to.year and scheme in p.exhaustion]
    latest = max(of_year, key=lambda p: (p.valid_from, p.policy_version), default=None)
    return latest.exhaustion[scheme] if latest else None


async def _plan_budget(tx: Write, month: Month, *, pool: tuple[str, int], amount_fen: int, rule: Exhaustion) -> Plan:
    """What this month and those before it have promised, less what there is."""
    scheme, year = pool
    excess_fen = sum(t.net_fen for t in await sql.totals(tx, month.period) if (t.scheme, t.year) == pool) - amount_fen
    match rule:
        case Exhaustion.PRO_RATA:
            await _take_back(tx, month, scheme, excess_fen, "budget.exhausted", year=year)
        case Exhaustion.FIRST_COME if excess_fen > 0:
            await _fund(tx, month, pool, -excess_fen, "budget.exhausted")
        case Exhaustion.HOLD:
            room_fen = -excess_fen
            if _limits(month, scheme):  # money that comes back is this month's, and the month has a ceiling
                over_fen, _ = await _over_ceiling(tx, month, scheme)
                room_fen = min(room_fen, max(0, -over_fen))
            left_fen = await _give_back(tx, month, pool, room_fen)
            if left_fen < 0:
                await _fund(tx, month, pool, left_fen, "budget.awaiting")
    return Plan(excess_fen)


async def _fund(tx: Write, month: Month, pool: tuple[str, int], room_fen: int, reason: str) -> None:
    """The month's lines get what there is in order of service date and parcel; the rest of them is taken back. `room_fen`: negative."""
    which = month.period, pool[0], None, pool[1]
    money_fen = room_fen + sum(r["left_fen"] * r["lines"] for r in await tx.fetch(sql.COUNT_BY_LEFT, *which))
    money_fen = max(0, money_fen)
    async for page in _pages(tx, sql.STANDING_IN_ORDER, *which):
        given, money_fen = in_turn([r["left_fen"] for r in page], money_fen)
        await sql.plan(
            tx,
            [
                (month.period, r["parcel_key"], r["seq"], pool[0], "cap", fen - r["left_fen"], reason)
                for r, fen in zip(page, given, strict=True)
                if fen < r["left_fen"]
            ],
        )


async def _give_back(tx: Write, month: Month, pool: tuple[str, int], room_fen: int) -> int:
    """Whoever waits from an earlier month comes before this month's lines -> the room that is left, negative where there is none.

    The month's own lines stand below those that wait: what these get is missing there.
    """
    waiting = await tx.fetch(sql.AWAITING, *pool)
    own_fen = sum(r["left_fen"] * r["lines"] for r in await tx.fetch(sql.COUNT_BY_LEFT, month.period, pool[0], None, pool[1]))
    given, _ = in_turn([r["missing_fen"] for r in waiting], max(0, room_fen + own_fen))
    await sql.plan(
        tx,
        [
            (month.period, r["parcel_key"], r["seq"], pool[0], "adjustment", fen, "budget.available")
            for r, fen in zip(waiting, given, strict=True)
            if fen
        ],
    )
    return room_fen - sum(given)


async def _pages(tx: Write, query: str, *args: object) -> AsyncIterator[Sequence[asyncpg.Record]]:
    cursor = await tx.cursor(query, *args)
    while page := await cursor.fetch(PAGE):
        yield page
