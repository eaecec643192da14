"""The gate of the books: a registry change and a scan batch that overlap leave no parcel assessed by what no longer holds.

Without it a batch that has read the old directory drains the very task that the change asked for, and notes it as done (write skew).
"""

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.subsidy.service import batch
from services.subsidy.service.admin import admin_batch
from services.subsidy.service.batch import ScanBatches
from services.subsidy.service.evidence import Scan
from services.subsidy.service.registry_apply import RegistryBatches
from shared.contracts.registry import Station
from shared.contracts.scan import Retracts, ScanEvent
from shared.db import Write
from shared.identity import parcel_key, partition_of
from shared.log import Batch
from tests.integration.subsidy_books import Books, alias, at, audit, emptied, filing, recomputed, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
WAYBILLS = [w for w in (f"G{n}" for n in range(200)) if partition_of(parcel_key("zto", w), 8) == 0][:10]


class Overlapped(ScanBatches):
    """A batch during which, after it has looked at the directory, a registry change is made; it goes on when that is done or waits."""

    overlap: asyncio.Task[None] | None = None
    change: object = None

    async def _reassess(self, tx: Write, batch: Batch) -> tuple[list[bytes], list[tuple[int, Scan]]]:
        if self.change is not None and self.overlap is None:
            self.overlap = asyncio.create_task(self.change())  # type: ignore[operator]
            await asyncio.wait({self.overlap}, timeout=0.5)
        return await super()._reassess(tx, batch)


class OverlappedUngated(Overlapped):
    async def before(self, tx: Write, partition: int) -> None:
        """No gate."""


class Ungated(RegistryBatches):
    async def before(self, tx: Write, partition: int) -> None:
        """No gate."""


async def wrong_parcels(books: Books, *, gate: bool) -> int:
    """Scans and a filing that covers them, at the same time -> parcels whose line is not what the registry now says."""
    batches = (Overlapped if gate else OverlappedUngated)(books.database)
    books.scans = batches
    if not gate:
        books.registry = Ungated(books.database)
    await books.send(*(scan(w, "arrived", at(13), "县城") for w in WAYBILLS))  # the context knows the old directory
    batches.change = lambda: books.change(station(filings=[filing(at(1))], version=2), drain=False)
    await books.send(*(scan(w) for w in WAYBILLS))
    assert batches.overlap is not None
    await batches.overlap
    await books.drain()
    return sum(stored != again for stored, again in (await recomputed(books)).values())


async def test_with_the_gate_no_parcel_stays_wrong(books: Books) -> None:
    assert await wrong_parcels(books, gate=True) == 0


async def test_without_the_gate_parcels_stay_wrong(books: Books) -> None:
    assert await wrong_parcels(books, gate=False) == len(WAYBILLS)
    # mend them, so that the audit of the fixture finds true books
    books.scans, books.registry = ScanBatches(books.database), RegistryBatches(books.database)
    await books.change(station(version=3))
    await books.change(station(filings=[filing(at(1))], version=4))


async def test_many_scans_and_changes_at_once(books: Books) -> None:
    """Eight partitions and the registry run side by side; the audit of the fixture is the assertion."""
    random = Random(11)

    async def scans(worker: int) -> None:
        for n in range(12):
            await books.send(*(scan(f"S{worker}-{n}-{i}", scanned_at=at(random.randint(1, 28))) for i in range(6)))

    async def changes() -> None:
        for n in range(12):
            await books.change(station(filings=[filing(at(random.randint(1, 28)))], version=2 + n), drain=False)
            await asyncio.sleep(0.02)

    async with asyncio.timeout(60):
        await asyncio.gather(changes(), *(scans(w) for w in range(3)))


# any interleaving

STATIONS = [
    station(version=2),
    station(filings=[filing(at(10))], version=2),
    station(filings=[filing(at(1), at(16))], version=2),
    station(aliases=[alias("上王村便民服务点", valid_to=at(15)), alias("陌生地方")], version=2),
    station(aliases=[], version=2),
    station(operator_id=None, version=2),
]
# Every parcel has been scanned twice at a place that the changes are about, so that a change asks for more than a chunk of parcels.
INBOUND = [scan(w, action, at(12, hour)) for w in WAYBILLS[:5] for action, hour in (("station_inbound", 11), ("station_pickup", 12))]
ACTIONS = ["arrived", "station_inbound", "station_pickup", "signed", "taken_back", "returned", "refused", "transferred"]
scans = st.builds(
    lambda waybill, action, day, site, ref: scan(waybill, action, at(day), site, ref=ref, weight_g=day if ref else None),
    st.sampled_from(WAYBILLS[:5]),
    st.sampled_from(ACTIONS),
    st.integers(10, 20),
    st.sampled_from(["上王村便民服务点", "陌生地方", None]),
    st.sampled_from([None, None, None, "A"]),
)
retractions = st.builds(
    lambda waybill, day, action: scan(waybill, "retracted", at(day, 10), None, retracts=Retracts(previous_action=action)),
    st.sampled_from(WAYBILLS[:5]),
    st.integers(10, 20),
    st.sampled_from(ACTIONS),
)
Interleaving = tuple[list[ScanEvent], list[Station], list[list[ScanEvent] | Station]]


@st.composite
def interleavings(draw: st.DrawFn) -> Interleaving:
    """Scans (each version once), registry changes in their order, and one way in which the two arrive, cut into batches."""
    told = INBOUND + draw(st.lists(scans | retractions, min_size=1, max_size=12, unique_by=lambda e: (e.event_id, e.content)))
    changes = draw(st.lists(st.sampled_from(STATIONS), max_size=3))
    order = draw(st.permutations(told))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), min_size=len(changes), max_size=len(changes))))
    steps: list[list[ScanEvent] | Station] = []
    for first, end, change in zip([0, *cuts], cuts, changes, strict=False):
        steps += [order[first:end], change]
    last = order[cuts[-1] if cuts else 0 :]
    middle = draw(st.integers(0, len(last)))
    return told, changes, [*steps, last[:middle], last[middle:]]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(interleavings())
def test_any_interleaving_gives_the_same_gross_amounts(subsidy_dsns: tuple[str, str], drawn: Interleaving) -> None:
    """Against all scans in one batch after all changes; hypothesis is synchronous, so each example runs in a loop of its own.

    All parcels are in one partition and a chunk is two of them, so that a change is worked off in several.
    """
    told, changes, steps = drawn
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setattr(batch, "CHUNK_BESIDE", 2)
        patch.setattr(batch, "CHUNK_ALONE", 2)
        one = runner.run(_result(subsidy_dsns, [*changes, told]))
        other = runner.run(_result(subsidy_dsns, steps))
    assert other == one


async def _result(dsns: tuple[str, str], steps: Sequence[list[ScanEvent] | Station]) -> list[dict[str, object]]:
    async with contextlib.AsyncExitStack() as stack:
        books = await stack.enter_async_context(emptied(dsns))
        for step in steps:
            if isinstance(step, Station):
                await books.change(step, drain=False)
            else:
                await books.send(*step)
        await books.drain()
        await audit(books)
        return await books.rows(
            "select waybill_no, outcome, net_fen, held_fen, beneficiary_id, station_id, service_date from parcel order by waybill_no"
        )


async def test_named_parcels_alone_are_assessed_again(subsidy_dsns: tuple[str, str]) -> None:
    async with emptied(subsidy_dsns) as books:
        await books.send(*(scan(f"N{n}") for n in range(40)))
        named = [parcel_key("zto", f"N{n}") for n in range(0, 40, 4)]
        async with admin_batch(books.database) as asked:
            await asked.reassess([*named, named[0]])
        await books.drain()
        again = await books.rows("select parcel_key from assessment group by 1 having count(*) = 2")
        assert {r["parcel_key"] for r in again} == set(named)
        assert await books.rows("select from reassessment where done_batch_no is null") == []


async def _ask_and_fail(books: Books) -> None:
    async with admin_batch(books.database) as asked:
        await asked.reassess([parcel_key("zto", "N1")])
        raise ZeroDivisionError


async def test_what_a_person_asks_for_leaves_nothing_when_it_fails(subsidy_dsns: tuple[str, str]) -> None:
    async with emptied(subsidy_dsns) as books:
        before = await books.rows("select max(revision), count(*) from batch")
        with pytest.raises(ZeroDivisionError):
            await _ask_and_fail(books)
        assert await books.rows("select max(revision), count(*) from batch") == before
        await books.change(station(version=2))  # the registry's consumer goes on
