"""`tongcun policy compare` over real books: who would get more or less, and that nothing changes by asking."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.policies import CannotCompare, compare_over
from services.subsidy.policies import SHIPPED
from tests.integration.subsidy_books import Books, at, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
STRICT = str(SHIPPED / "variants" / "yuanqu-2023-strict.toml")
EVERYTHING = "select count(*), max(revision), (select count(*) from payout) as payouts, (select sum(net_fen) from parcel) as fen from batch"


@pytest.fixture
async def told(books: Books) -> Books:
    """Filed from the 10th on: two parcels before, one after it through no hub, one returned, one of another month, one unmapped."""
    await books.change(station(filings=[filing(at(10))], version=2))
    await books.send(scan("W1", scanned_at=at(5)), scan("W2", scanned_at=at(6)), scan("W3", scanned_at=at(14)), scan("W4"))
    await books.send(scan("W4", "returned", at(20), None), scan("W5", scanned_at=at(2).replace(month=8)), scan("W6", site="陌生地方"))
    return books


async def test_the_strict_reading_refuses_most_and_is_a_step_back(told: Books, subsidy_dsns: Any) -> None:
    before = await told.rows(EVERYTHING)
    compared = await compare_over(subsidy_dsns.app, "yuanqu-2023.1", STRICT, "2023-07")
    total = compared.found.total
    assert (total.parcels, total.old.payable, total.old.fen) == (4, 3, 36 + 36 + 44)
    assert (total.new.payable, total.new.fen) == (0, 0)
    assert compared.found.steps_back
    assert compared.found.worse == 3
    assert compared.found.groups["station"]["stn_42"] == compared.found.groups["township"]["140827100000"] == total
    reasons = {key: d.parcels for key, d in compared.found.groups["reason"].items()}
    assert reasons["rate.village.unfiled.near → station.not_filed parcel.no_hub_arrival"] == 2
    assert reasons["rate.village.filed.near → parcel.no_hub_arrival"] == 1
    assert await told.rows(EVERYTHING) == before


async def test_against_the_year_before_it_does_not_step_back_and_says_what_it_costs(told: Books, subsidy_dsns: Any) -> None:
    earlier = str(SHIPPED / "earlier" / "yuanqu-2022.1.toml")
    compared = await compare_over(subsidy_dsns.app, earlier, "yuanqu-2023.1", "2023-07")
    assert not compared.found.steps_back
    assert compared.found.total.new.fen - compared.found.total.old.fen == 6
    lines = list(compared.lines())
    assert any("没有退坡" in line and "does not step back" in line for line in lines)
    document = json.loads(compared.as_json())
    assert document["total"]["new"] == {"payable": 3, "fen": 116, "held_fen": 0}
    assert document["headroom_fen"] == {"old": 40, "new": 34}


@pytest.mark.parametrize(
    ("old", "new", "period", "said"),
    [
        ("yuanqu-2023.1", STRICT, "2023-09", "没有可比的快件"),
        ("yuanqu-2023.1", STRICT, "2023-13", "is no month"),
        ("yuanqu-1999", STRICT, "2023-07", "no active policy yuanqu-1999"),
    ],
)
async def test_what_cannot_be_compared_is_one_line(told: Books, subsidy_dsns: Any, old: str, new: str, period: str, said: str) -> None:
    with pytest.raises(CannotCompare, match=said):
        await compare_over(subsidy_dsns.app, old, new, period)


async def test_a_file_that_is_not_there_is_the_systems_own_error(told: Books, subsidy_dsns: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await compare_over(subsidy_dsns.app, "yuanqu-2023.1", str(tmp_path / "none.toml"), "2023-07")
