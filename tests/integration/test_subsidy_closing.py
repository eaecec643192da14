"""Closing a month: the ceiling to the fen, carried where it cannot be taken back; budgets by each rule; nothing in a closed month changes.

The fixture audits the books after each test: lines, postings, sums by month, rollups and history agree, gross is the fold of the evidence.
"""

import itertools
import random
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from services.subsidy.domain.policy_file import load
from services.subsidy.repository import closing as sql
from services.subsidy.schemas import NewBudget
from services.subsidy.service.budgets import Budgets
from services.subsidy.service.closing import Closings
from services.subsidy.service.known import Books as Known
from services.subsidy.settings import POLICIES
from shared.calendar import SHANGHAI
from shared.contracts.registry import AnyRecord
from shared.contracts.scan import ScanEvent
from shared.identity import parcel_key
from shared.problems import Problem
from tests.integration.subsidy_books import COUNTY, OTHER_VILLAGE, Books, alias, at, audit, cells, emptied, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
FILED, UNFILED, LIMIT = 44, 36, 40
FILED_SITE = "下王村便民服务点"


def policy(exhaustion: str | None = None) -> tuple[Any, str]:
    """The shipped policy under a ceiling of 40 fen, so that it bites, and with a rule for the budget."""
    text = (POLICIES / "yuanqu-2023.1.toml").read_text().replace("limit_fen_per_parcel = 50", f"limit_fen_per_parcel = {LIMIT}")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("exhaustion"))
    rule = f'exhaustion = {{ downlink = "{exhaustion}" }}\n' if exhaustion else ""
    text = rule + text
    return load(text.encode()), text


@pytest.fixture
async def books(subsidy_dsns: Any, request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    """Two village stations, one filed (44 fen a parcel) and one not (36), under a ceiling of 40."""
    exhaustion = getattr(request, "param", None)
    async with emptied(subsidy_dsns, [policy(exhaustion)]) as made:
        await made.change(filed_station())
        yield made
        await made.drain()
        await audit(made)


def filed_station(version: int = 1, until: datetime | None = None) -> AnyRecord:
    return station(
        "stn_43",
        aliases=[alias(FILED_SITE)],
        filings=[filing(at(1), until)],
        division_code=OTHER_VILLAGE,
        operator_id="opr_2",
        version=version,
    )


def filed(waybill: str, moment: datetime | None = None) -> ScanEvent:
    return scan(waybill, scanned_at=moment, site=FILED_SITE)


def august(day: int) -> datetime:
    return datetime(2023, 8, day, 9, tzinfo=SHANGHAI)


async def close(books: Books, period: str = "2023-07") -> dict[str, Any]:
    return await Closings(Known(books.database)).close(period, "finance-1")


async def give(books: Books, amount_fen: int, source: str = "province", document: str = "晋财建〔2023〕1号") -> dict[str, Any]:
    line = NewBudget(county_code=COUNTY, scheme="downlink", year=2023, source=source, amount_fen=amount_fen, document=document)
    return await Budgets(Known(books.database)).add(line, "finance-1")


async def left(books: Books) -> dict[str, int]:
    """What is paid for each parcel."""
    rows = await books.rows("select waybill_no, net_fen + adjusted_fen as fen from parcel order by 1")
    return {r["waybill_no"]: r["fen"] for r in rows}


async def posted(books: Books, period: str) -> int:
    (row,) = await books.rows("select coalesce(sum(amount_fen), 0)::int as fen from payout where period = $1", period)
    return int(row["fen"])


async def refusal(books: Books, period: str) -> str:
    with pytest.raises(Problem) as found:
        await close(books, period)
    assert found.value.zh
    assert found.value.en
    return found.value.code


async def test_a_month_below_its_ceiling_closes_with_nothing_to_adjust(books: Books) -> None:
    await books.send(scan("A"), filed("B"))
    month = await close(books)
    assert (month["status"], month["parcels"], month["gross_fen"], month["adjusted_fen"]) == ("closed", 2, 80, 0)
    assert (month["closed_by"], month["carried_out_fen"]) == ("finance-1", 0)


async def test_what_is_above_the_ceiling_is_taken_back_to_the_fen(books: Books) -> None:
    """Three at 44 and one at 36 are 168 fen for 4 parcels: 8 too many; the larger lines give more, then the smaller keys."""
    await books.send(scan("A"), *(filed(w) for w in "BCD"))
    month = await close(books)
    assert (month["gross_fen"], month["adjusted_fen"], month["net_fen"], month["carried_out_fen"]) == (168, -8, 160, 0)
    paid = await left(books)
    assert sum(paid.values()) == LIMIT * 4
    assert paid["A"] == UNFILED - 2
    assert sorted(paid[w] for w in "BCD") == [FILED - 2] * 3
    caps = await books.rows("select kind, reason_codes, period, adjusts, partition from payout where kind = 'cap'")
    assert {tuple(map(str, r.values())) for r in caps} == {("cap", "['ceiling.average']", "2023-07", "0", "-1")}


async def test_closing_pays_back_into_the_programme_account(books: Books) -> None:
    await books.send(*(filed(w) for w in "BCD"))
    await close(books)
    rows = await books.rows("select debit, credit, sum(amount_fen)::int as fen from posting where partition = -1 group by 1, 2")
    assert [tuple(r.values()) for r in rows] == [("payable/opr_2/accrued", "programme/140827000000/downlink/2023", 12)]


async def test_a_capped_parcel_that_is_assessed_again_posts_nothing(books: Books) -> None:
    await books.send(filed("B"), filed("C"))
    await close(books)
    before = await books.rows("select count(*) as n from payout")
    await books.send(scan("B", "station_pickup", at(20), FILED_SITE))
    assert await books.rows("select count(*) as n from payout") == before


async def test_a_reversed_line_takes_its_adjustments_along_into_the_next_open_month(books: Books) -> None:
    await books.send(filed("B"), filed("C"))
    await close(books)
    await books.send(scan("B", "returned", at(20), None))
    rows = await books.rows(
        "select kind, amount_fen, reverses, adjusts, period from payout where parcel_key = $1 order by seq", parcel_key("zto", "B")
    )
    assert [tuple(r.values()) for r in rows] == [
        ("accrual", 44, None, None, "2023-07"),
        ("cap", -4, None, 0, "2023-07"),
        ("reversal", 4, 1, 0, "2023-08"),
        ("reversal", -44, 0, None, "2023-08"),
    ]
    assert (await left(books))["B"] == 0


async def test_what_cannot_be_taken_back_is_carried_and_taken_later(books: Books) -> None:
    """Cheap lines made room for dear ones; when they are gone after the close, the next months make up for it."""
    await books.send(scan("A"), scan("E"), filed("B"), filed("C"))
    await close(books)
    await books.send(scan("A", "returned", at(20), None), scan("E", "returned", at(20), None))
    august_closed = await close(books, "2023-08")  # only reversals: -72 fen, -2 parcels: 8 fen too many, and nobody to take them from
    assert (august_closed["carried_in_fen"], august_closed["carried_out_fen"]) == (0, 8)
    await books.send(filed("D", datetime(2023, 9, 3, 9, tzinfo=SHANGHAI)))
    september = await close(books, "2023-09")
    assert (september["carried_in_fen"], september["adjusted_fen"], september["carried_out_fen"]) == (8, -12, 0)
    assert sum((await left(books)).values()) == LIMIT * 3


@pytest.mark.parametrize(
    ("period", "code"),
    [("2023-06", "period.not_found"), ("2099-01", "period.not_over"), ("2023-08", "period.earlier_open")],
)
async def test_a_month_that_cannot_be_closed_says_what_to_do_first(books: Books, period: str, code: str) -> None:
    await books.send(scan("A"), scan("B", scanned_at=august(3)))
    assert await refusal(books, period) == code
    assert await books.rows("select * from period") == []


async def test_a_month_is_closed_once_and_with_it_every_month_before(books: Books) -> None:
    await books.send(scan("A"))
    await close(books)
    assert await refusal(books, "2023-07") == "period.closed"
    assert await refusal(books, "2023-06") == "period.closed"
    await books.send(scan("B", scanned_at=datetime(2023, 6, 3, 9, tzinfo=SHANGHAI)))
    assert await posted(books, "2023-06") == 0
    assert await posted(books, "2023-08") == UNFILED


async def test_of_two_closes_at_once_the_second_is_told_so(books: Books) -> None:
    await books.send(scan("A"))
    async with books.database.pool.acquire() as other:
        await other.fetchval(sql.TAKE_TURN, sql.CLOSING)  # as the first does, for as long as it takes
        assert await refusal(books, "2023-07") == "period.closing_now"
        await other.execute(sql.END_TURN, sql.CLOSING)
    assert (await close(books))["status"] == "closed"


async def test_a_close_waits_for_what_is_still_to_be_assessed(books: Books) -> None:
    await books.send(scan("A"))
    await books.change(station(filings=[filing(at(1))], version=2), drain=False)
    assert await refusal(books, "2023-07") == "period.reassessments_pending"
    await books.drain()
    assert (await close(books))["gross_fen"] == FILED


async def test_a_closed_month_takes_no_line_whoever_writes_it(books: Books, subsidy_dsns: Any) -> None:
    """Into the table or into the part of it that holds the parcel, as a worker or as a close, also for a month before the closed one."""
    await books.send(scan("A"))
    await close(books)
    parts = {
        r["part"] for table in ("posting", "payout") for r in await books.rows(f"select tableoid::regclass::text as part from {table}")
    }
    for dsn in subsidy_dsns.app, subsidy_dsns.owner:
        connection = await asyncpg.connect(dsn)
        try:
            for table, partition, period in itertools.product(("posting", "payout", *parts), (0, -1), ("2023-07", "2023-06")):
                with pytest.raises(asyncpg.RestrictViolationError):
                    await connection.execute(AGAIN.format(table, "posting" if table.startswith("posting") else "payout"), partition, period)
        finally:
            await connection.close()


# A row as there is one, with the next number.
AGAIN = """
insert into {} select (jsonb_populate_record(t, jsonb_build_object('seq', t.seq + 1, 'partition', $1::int, 'period', $2::text))).* from {} t
"""


FROZEN = """
select c.relname from pg_class c where c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace
  and not exists (select from pg_trigger where tgrelid = c.oid and tgname = 'only_grows')
  and not has_table_privilege('subsidy_app', c.oid, 'update') and not has_table_privilege('subsidy_app', c.oid, 'delete')
  and not c.relispartition and c.relname <> 'alembic_version'
"""


async def test_history_cannot_be_changed_even_by_its_owner(books: Books, subsidy_dsns: Any) -> None:
    await books.send(scan("A"))
    assert await books.rows(FROZEN) == []
    owner = await asyncpg.connect(subsidy_dsns.owner)
    try:
        for table in (
            "evidence",
            "assessment",
            "payout",
            "payout_p3",
            "posting",
            "posting_p0",
            "batch",
            "period",
            "budget",
            "closing_step",
        ):
            for statement in (f"update {table} set batch_no = 0", f"delete from {table}", f"truncate {table}"):
                with pytest.raises(asyncpg.RestrictViolationError):
                    await owner.execute(statement)
    finally:
        await owner.close()


@pytest.mark.parametrize(
    ("books", "paid", "reason"),
    [
        ("first_come", {"A": 36, "B": 36, "C": 8}, "budget.exhausted"),
        ("hold", {"A": 36, "B": 36, "C": 8}, "budget.awaiting"),
        ("pro_rata", None, "budget.exhausted"),
        (None, {"A": 36, "B": 36, "C": 36}, None),
    ],
    indirect=["books"],
)
async def test_an_exhausted_budget_does_what_the_policy_says(books: Books, paid: dict[str, int] | None, reason: str | None) -> None:
    await books.send(*(scan(w, scanned_at=at(day)) for w, day in zip("CBA", (16, 15, 14), strict=True)))
    await give(books, 80)
    await close(books)
    found = await left(books)
    if paid is None:
        assert sum(found.values()) == 80
        assert max(found.values()) - min(found.values()) <= 1
    else:
        assert found == paid
    reasons = await books.rows("select distinct reason_codes[1] as reason from payout where kind = 'cap'")
    assert [r["reason"] for r in reasons] == ([reason] if reason else [])


@pytest.mark.parametrize("books", ["hold"], indirect=True)
async def test_who_waits_for_a_budget_gets_it_at_the_close_after_it_came_before_the_new_ones(books: Books) -> None:
    await books.send(*(scan(w, scanned_at=at(day)) for w, day in zip("ABC", (14, 15, 16), strict=True)))
    await give(books, 40)
    await close(books)
    assert await left(books) == {"A": 36, "B": 4, "C": 0}
    await give(books, 70, "county", "垣财〔2023〕7号")
    await books.send(scan("D", scanned_at=august(2)), *(scan(w, scanned_at=august(3)) for w in "EFGH"))
    month = await close(books, "2023-08")
    assert await left(books) == {"A": 36, "B": 36, "C": 36, "D": 2, "E": 0, "F": 0, "G": 0, "H": 0}
    assert (month["gross_fen"], month["adjusted_fen"]) == (180, -110)
    kinds = await books.rows(
        "select kind, amount_fen, reason_codes[1] as reason from payout where period = '2023-08' and kind <> 'accrual'"
    )
    assert sorted(tuple(r.values()) for r in kinds) == [
        ("adjustment", 32, "budget.available"), ("adjustment", 36, "budget.available"),
        ("cap", -36, "budget.awaiting"), ("cap", -36, "budget.awaiting"), ("cap", -36, "budget.awaiting"), ("cap", -36, "budget.awaiting"),
        ("cap", -34, "budget.awaiting"),
    ]  # fmt: skip


@pytest.mark.parametrize("books", ["hold"], indirect=True)
async def test_what_a_budget_gives_back_does_not_lift_a_month_above_its_ceiling(books: Books) -> None:
    """There is money for all, and one parcel's room: who came first gets it, the rest waits for the months that follow."""
    await books.send(*(scan(w, scanned_at=at(day)) for w, day in zip("ABC", (14, 15, 16), strict=True)))
    await give(books, 40)
    await close(books)
    await give(books, 1000, "county", "垣财〔2023〕7号")
    await books.send(scan("D", scanned_at=august(2)))
    month = await close(books, "2023-08")
    assert await left(books) == {"A": 36, "B": 36, "C": 8, "D": 0}
    assert (month["parcels"], month["net_fen"], month["carried_out_fen"]) == (1, LIMIT, 0)
    september = datetime(2023, 9, 3, 9, tzinfo=SHANGHAI)
    await books.send(*(scan(f"S{n:02}", scanned_at=september) for n in range(20)))  # which leave 4 fen each
    month = await close(books, "2023-09")
    assert month["net_fen"] == 20 * 36 + 28 + 36
    assert set((await left(books)).values()) == {36}


@pytest.mark.parametrize("books", ["first_come"], indirect=True)
async def test_a_budget_is_used_in_the_order_of_its_sources_and_adds_up(books: Books) -> None:
    await give(books, 50, "county", "垣财〔2023〕7号")
    await give(books, 30, "province")
    await books.send(scan("A"), scan("B"))
    (budget,) = (await Budgets(Known(books.database)).show(None, None))["items"]
    assert [tuple(s.values()) for s in budget["sources"]] == [("province", 30, 30, 0), ("city", 0, 0, 0), ("county", 50, 42, 8)]
    assert (budget["accrued_fen"], budget["unfunded_fen"], budget["exhaustion"]) == (72, 0, "first_come")
    with pytest.raises(Problem) as again:
        await give(books, 30, "province")
    assert again.value.code == "budget.recorded"


@pytest.mark.parametrize("rule", ["first_come", "pro_rata", "hold"])
async def test_gross_is_the_same_whatever_comes_between_the_closes(subsidy_dsns: Any, rule: str) -> None:
    """Scans, a correction of the registry and closes in any order: the same gross. Ceilings and budgets hold at each close."""
    found = []
    for seed in range(3):
        async with emptied(subsidy_dsns, [policy(rule)]) as books:
            await books.change(filed_station())
            await give(books, 600)
            await _live_through(books, seed)
            await audit(books)
            found.append(await _gross(books))
    assert found[0] == found[1] == found[2]


async def _live_through(books: Books, seed: int) -> None:
    chance = random.Random(seed)
    events = [
        event
        for n in range(24)
        for moment in [at(2 + n) if n % 3 else august(2 + n)]
        for event in (
            scan(f"W{n}", scanned_at=moment) if n % 2 else filed(f"W{n}", moment),
            *([scan(f"W{n}", "returned", august(28), None)] if n % 5 == 0 else []),
        )
    ]
    chance.shuffle(events)
    happens: list[Any] = [*(events[i : i + 6] for i in range(0, len(events), 6)), "correction", "money", *["close"] * seed]
    chance.shuffle(happens)
    for what in [*happens, "close"]:
        if what == "correction":
            await books.change(filed_station(2, at(12)))
        elif what == "money":
            await give(books, 300, "county", "垣财〔2023〕7号")
        elif what == "close":
            await _close_next(books)
        else:
            await books.send(*what)


async def _close_next(books: Books) -> None:
    (row,) = await books.rows(
        "select min(period) as period from period_total where period > coalesce((select max(period) from period), '')"
    )
    if row["period"] is None:
        return
    month = await close(books, row["period"])
    assert month["net_fen"] <= LIMIT * month["parcels"] + month["carried_out_fen"]
    ceiling, budget = month["steps"]
    (so_far,) = await books.rows(
        "select sum(gross_fen + adjusted_fen)::int as fen, sum(parcels)::int as parcels from period_total where period <= $1", row["period"]
    )
    assert so_far["fen"] <= LIMIT * so_far["parcels"] + ceiling["carried_out_fen"]
    (given,) = await books.rows("select sum(amount_fen)::int as fen from budget")
    assert so_far["fen"] <= given["fen"] + budget["carried_out_fen"]


async def _gross(books: Books) -> dict[str, int]:
    return {r["waybill_no"]: r["net_fen"] for r in await books.rows("select waybill_no, net_fen from parcel")}


async def test_summary_of_then_and_now_agree_about_what_was_capped(books: Books) -> None:
    """Before the close, after it, and after the line has gone: history at each revision is what the rollups were."""
    await books.send(filed("B"), filed("C"))
    revisions: list[tuple[int, list[list[dict[str, Any]]]]] = []

    async def remember() -> None:
        (row,) = await books.rows("select max(revision) as r from batch")
        revisions.append((row["r"], [await cells(books, basis, now=True) for basis in ("service", "posted")]))

    await remember()
    await close(books)
    await remember()
    await books.send(scan("B", "returned", at(20), None))
    await remember()
    for revision, then in revisions:
        assert [await cells(books, basis, now=False, revision=revision) for basis in ("service", "posted")] == then
