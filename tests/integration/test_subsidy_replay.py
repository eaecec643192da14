"""The whole log told once more to the books that it made: not a row of money, state or totals changes."""

from random import Random

import pytest

from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.contracts.scan import Retracts, ScanEvent
from shared.db import Database
from tests.integration.subsidy_books import Books, alias, at, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
# What must be the same afterwards, row by row. Assessments are not here: every one is a row, also one that changes nothing.
KEPT = ("evidence", "parcel", "payout", "posting", "live_payout", "hold", "hold_release", "rollup", "period_total", "decision", "site")


def history(random: Random) -> list[ScanEvent]:
    """Sixty parcels, each with its own trouble, in an order that no courier would keep."""
    told: list[ScanEvent] = []
    for n in range(60):
        waybill, day = f"R{n}", 2 + n % 20
        told += [scan(waybill, "arrived", at(day), "县城"), scan(waybill, scanned_at=at(day, 12))]
        extra = {
            0: [scan(waybill, "returned", at(day + 3), None)],
            1: [scan(waybill, "taken_back", at(day, 18))],
            2: [scan(waybill, "station_pickup", at(day + 1), "陌生地方")],
            3: [scan(waybill, scanned_at=at(day, 12), ref="1", weight_g=1), scan(waybill, scanned_at=at(day, 13), ref="1", weight_g=2)],
            4: [scan(waybill, "transferred", at(day, 15), None)],
            5: [scan(waybill, "unknown", at(day, 14), retracts=Retracts(previous_action="station_inbound"))],
            6: [scan(waybill, scanned_at=at(day, 12), mapping_version=2, action="departed", raw_action="STATION_INBOUND")],
        }
        told += extra.get(n % 8, [])
    random.shuffle(told)
    return told


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_full_replay_of_the_log_changes_zero_rows(books: Books, subsidy_dsns: tuple[str, str], seed: int) -> None:
    random = Random(seed)
    told = history(random)
    for first in range(0, len(told), 17):
        await books.send(*told[first : first + 17])
    await books.change(station(filings=[filing(at(8))], aliases=[alias("上王村便民服务点"), alias("陌生地方")], version=2))
    before = await contents(books)
    assert before["payout"], "something was paid"
    assert before["hold"], "something is held"
    assessed = await books.rows("select from assessment")

    owner = await Database(subsidy_dsns[0], max_size=1).open()
    await owner.pool.execute("update consumed set next_position = 0 where topic = $1", SCANS_TOPIC)
    await owner.close()
    for first in range(0, len(told), 40):  # another worker cuts other batches
        await books.send(*told[first : first + 40])

    after = await contents(books)
    for table in KEPT:
        assert after[table] == before[table], table
    assert len(await books.rows("select from assessment")) > len(assessed), "they were judged again"


async def contents(books: Books) -> dict[str, list[str]]:
    """Every row of every table as text, in order."""
    return {table: [r["row"] for r in await books.rows(f"select t::text as row from {table} t order by 1")] for table in KEPT}
