"""A close that dies at any of its steps: asked for again it goes on where it stopped, and ends as one that was never disturbed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.subsidy.domain.policy_file import load
from services.subsidy.schemas import NewBudget
from services.subsidy.service.budgets import Budgets
from services.subsidy.service.closing import Closings
from services.subsidy.service.known import Books as Known
from tests.faults.harness import ROOT
from tests.integration.subsidy_books import COUNTY, Books, audit, emptied, scan
from tests.integration.test_subsidy_closing import FILED_SITE, filed, filed_station, give, left, policy

pytest_plugins = ("tests.integration.subsidy_fixtures",)
CHUNK = 7  # lines posted in one transaction, so that a small month has several
BOUNDARIES = ("close.after_closing", "close.after_plan", "close.after_planned", "close.after_chunk:2")
# One death after the other, in one month: of the ceiling's plan and chunks, then of the budget's.
DEATHS = (
    "close.after_closing", "close.after_plan", "close.after_planned", "close.after_chunk", "close.after_chunk", "close.after_step",
    "close.after_plan", "close.after_planned", "close.after_chunk", "close.after_step", "close.before_closed",
)  # fmt: skip
CLOSE = """
import asyncio, sys
from services.subsidy.service import closing
from services.subsidy.service.known import Books
from shared.db import Database
closing.CHUNK = int(sys.argv[2])
async def main():
    database = await Database(sys.argv[1]).open()
    await closing.Closings(Books(database)).close("2023-07", "finance-1")
    await database.close()
asyncio.run(main())
"""


@pytest.fixture
async def books(subsidy_dsns: Any) -> AsyncIterator[Books]:
    """A month above its ceiling, and above what is then left of its budget."""
    async with emptied(subsidy_dsns, [policy("first_come")]) as made:
        await made.change(filed_station())
        await give(made, 800)
        await made.send(*(filed(f"F{n}") for n in range(20)), *(scan(f"U{n}") for n in range(5)))
        yield made


async def closing(dsn: str, failpoint: str = "") -> int:
    """In a process of its own -> how it ended."""
    environment = os.environ | {"TONGCUN_FAILPOINT": failpoint}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CLOSE, dsn, str(CHUNK), cwd=ROOT, env=environment)
    async with asyncio.timeout(30):
        return await process.wait()


async def figures(books: Books) -> list[dict[str, Any]]:
    (month,) = (await Closings(Known(books.database)).periods())["items"]
    return [{name: month[name] for name in ("status", "parcels", "gross_fen", "net_fen", "steps")}]


async def test_killed_at_every_step_it_ends_as_if_nothing_had_been(books: Books, subsidy_dsns: Any) -> None:
    """One month that dies at each boundary in turn; another, at rest."""
    for boundary in DEATHS:
        assert await closing(subsidy_dsns.app, boundary) == -signal.SIGKILL, boundary
    assert await closing(subsidy_dsns.app) == 0
    await audit(books)
    disturbed, paid = await figures(books), await left(books)
    assert sum(paid.values()) == 800
    async with emptied(subsidy_dsns, [policy("first_come")]) as calm:
        await calm.change(filed_station())
        await give(calm, 800)
        await calm.send(*(filed(f"F{n}") for n in range(20)), *(scan(f"U{n}") for n in range(5)))
        assert await closing(subsidy_dsns.app) == 0
        assert (await figures(calm), await left(calm)) == (disturbed, paid)


@pytest.mark.parametrize("boundary", BOUNDARIES)
async def test_scans_go_on_while_a_close_lies_dead(books: Books, subsidy_dsns: Any, boundary: str) -> None:
    """What comes meanwhile joins the next month; a line that goes meanwhile is left out, and what it owed is carried."""
    assert await closing(subsidy_dsns.app, boundary) == -signal.SIGKILL, boundary
    await books.send(scan("F3", "returned", None, None), filed("late"), scan("U1", "station_pickup", None, FILED_SITE))
    (row,) = await books.rows("select period from payout order by posted_at desc limit 1")
    assert row["period"] == "2023-08"
    assert await closing(subsidy_dsns.app) == 0
    await audit(books)
    (month,) = await books.rows("select status from period where status = 'closed'")
    assert month == {"status": "closed"}


async def test_a_budget_of_an_earlier_year_that_comes_while_a_close_lies_dead_does_not_undo_its_plan(subsidy_dsns: Any) -> None:
    """Its step would be the first in order; the one that was dying is ended before it."""
    _, text = policy("first_come")
    text = text.replace("valid_from = 2023-01-01T", "valid_from = 2022-07-01T")  # so that 2022 has a rule, too
    async with emptied(subsidy_dsns, [(load(text.encode()), text)]) as books:
        await give(books, 200)
        await books.send(*(scan(f"U{n}") for n in range(20)))
        assert await closing(subsidy_dsns.app, "close.after_chunk") == -signal.SIGKILL
        line = NewBudget(county_code=COUNTY, scheme="downlink", year=2022, source="province", amount_fen=1000, document="晋财建〔2022〕9号")
        await Budgets(Known(books.database)).add(line, "finance-1")
        assert await closing(subsidy_dsns.app) == 0
        await audit(books)
        (month,) = await figures(books)
        assert (month["status"], month["net_fen"]) == ("closed", 200)
