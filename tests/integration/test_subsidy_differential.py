"""Incremental = all at once: the books, written batch by batch, against one SQL statement over the same evidence (books_in_sql.py)."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from shared.contracts.registry import AnyRecord, FilingSegment, OperatingStatus, Station
from shared.contracts.scan import TOPIC, Retracts, ScanEvent
from shared.identity import parcel_key, partition_of
from tests.bench.subsidy_worker import parcel, registry
from tests.faults.harness import FIGURES
from tests.integration.books_in_sql import judged
from tests.integration.subsidy_books import Books, at, audit, division, emptied, filing, scan

pytest_plugins = ("tests.integration.subsidy_fixtures",)
BATCH = 5_000
FAR = "140827101200"


def county() -> list[AnyRecord]:
    """71 stations of every kind: filed since the tenth or never, in far villages, closed, without operator, in a community."""
    found = [*registry(), division(FAR, "同善村", "village", None), division("140827400001", "社区", "community", None)]
    for i, record in enumerate(found):
        if isinstance(record, Station) and record.station_id != "stn_hub":
            found[i] = replace(record, segments=_lives(record, int(record.station_id.removeprefix("stn_"))))
    return found


def _lives(station: Station, n: int) -> tuple[Any, ...]:
    (whole,) = station.segments
    later: dict[int, dict[str, Any]] = {
        5: {"operating_status": OperatingStatus.SUSPENDED},
        7: {"operator_id": None},
        11: {"division_code": FAR},
        13: {"division_code": "140827400001"},
    }
    change = next((fields for every, fields in later.items() if n % every == 0), None)
    if change is None:
        return (whole,)
    return replace(whole, valid_to=at(14, 15)), replace(whole, valid_from=at(14, 15), **change)


def told(n: int, dice: Random) -> list[ScanEvent]:
    """Six scans of a parcel; of one in three something else happens, too."""
    events = parcel(n, "D", dice)
    waybill, last = events[0].waybill_no, events[-1]
    later = last.scanned_at + timedelta(hours=dice.randint(1, 30))
    match dice.randrange(60):
        case 0 | 1:
            events.append(scan(waybill, dice.choice(["returned", "returning"]), later, None))
        case 2 | 3:
            events.append(scan(waybill, "refused", later, None))
        case 4:
            events += [scan(waybill, "refused", later, None), scan(waybill, "signed", later + timedelta(hours=2), last.site_name)]
        case 5:
            events.append(scan(waybill, "taken_back", later, events[4].site_name))
        case 6:
            events = [*events[:5], scan(waybill, "taken_back", later, events[4].site_name)]
        case 7:
            events.append(scan(waybill, "taken_back", later, "无人认领的地方"))
        case 8:
            events = [*events[:4], scan(waybill, "signed", later, "无人认领的地方")]
        case 9:
            events = [*events[:4], scan(waybill, "signed", later, None)]
        case 10:
            events.append(scan(waybill, "departed", later + timedelta(days=dice.choice([100, 200])), None))
        case 11:
            events.append(scan(waybill, "transferred", later, None))
        case 12:
            events.append(scan(waybill, "retracted", later, None, retracts=Retracts(event_id=events[4].event_id)))
        case 13 | 14:
            events.append(
                scan(
                    waybill, "retracted", later, None, retracts=Retracts(previous_action=dice.choice(["station_inbound", "station_pickup"]))
                )
            )
        case 15:
            events.append(scan(waybill, "arrived", later, None, origin="140827100200"))
        case 16:
            events = [e for e in events if e.action not in ("station_inbound", "station_pickup")]
        case 17:
            events = [scan(waybill, e.action, e.scanned_at + timedelta(days=200), e.site_name) for e in events]
        case 18:
            events.append(scan(waybill, events[4].action, events[4].scanned_at, events[4].site_name, mapping_version=2))
        case 19:
            events.append(replace(events[4], content=f"{n:064x}", scanned_at=later))
    return events


def stream(parcels: int, dice: Random) -> Iterator[list[ScanEvent]]:
    """In waves, the scans of each wave mixed: a parcel's come in several batches, one in ten of them late."""
    late: list[ScanEvent] = []
    for first in range(0, parcels, 4_000):
        wave = [e for n in range(first, min(parcels, first + 4_000)) for e in told(n, dice)]
        dice.shuffle(wave)
        now = [*late, *wave[len(wave) // 10 :]]
        late = wave[: len(wave) // 10]
        yield now
    yield late


async def send(books: Books, events: Sequence[ScanEvent]) -> None:
    waiting: dict[int, list[bytes]] = {}
    for event in events:
        partition = partition_of(parcel_key(event.brand, event.waybill_no), books.partitions)
        waiting.setdefault(partition, []).append(msgspec.json.encode(event))
    for partition, values in waiting.items():
        for i in range(0, len(values), BATCH):
            await books.take(TOPIC, partition, values[i : i + BATCH])


@pytest.mark.parametrize(
    "parcels", [3_000, pytest.param(160_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])], ids=lambda n: f"{n:,} parcels"
)
async def test_the_books_are_what_one_statement_over_all_evidence_says(subsidy_dsns: Any, parcels: int) -> None:
    dice, records, events = Random(parcels), county(), 0
    async with emptied(subsidy_dsns) as books:
        await books.change(*records)
        corrected = [
            replace(r, filings=(filing(at(3)),), version=2) for r in records if isinstance(r, Station) and r.station_id.endswith("4")
        ]
        for n, wave in enumerate(stream(parcels, dice)):
            await send(books, wave)
            events += len(wave)
            if n == 0:
                await books.change(*corrected)
        pg = await asyncpg.connect(subsidy_dsns.owner)
        try:
            newest = {r.station_id: r for r in [*records, *corrected] if isinstance(r, Station)}
            others = [r for r in records if not isinstance(r, Station)]
            found = await judged(pg, [*others, *newest.values()], [FAR])
            assert found["different"] == 0, f"{found['different']} parcels differ, one is {found['first']}"
            assert found["judged"] + found["odd"] > 0.9 * parcels
            assert found["odd"] < 0.05 * parcels, "what is left to the other implementation is little"
            await pg.execute("discard temp")
            dearer = await judged_wrongly(pg, [*others, *newest.values()])
            assert dearer["different"] > 0, "a wrong rule shows"
        finally:
            await pg.close()
        if parcels < 10_000:
            await audit(books)
    FIGURES.append(
        f"differential: {events:,} events, {found['judged']:,} parcels judged anew in SQL, {found['different']} differ, "
        f"{found['fen']:,} fen; {found['odd']:,} contested ones left to the other implementation"
    )


def nine_days_later(segment: FilingSegment) -> FilingSegment:
    return replace(segment, valid_from=segment.valid_from + timedelta(days=9))


async def judged_wrongly(pg: "asyncpg.Connection[asyncpg.Record]", records: Sequence[AnyRecord]) -> dict[str, Any]:
    """With every filing nine days later than it was: the statement must notice."""
    moved = [
        replace(r, filings=tuple(replace(f, segments=tuple(nine_days_later(s) for s in f.segments)) for f in r.filings))
        if isinstance(r, Station)
        else r
        for r in records
    ]
    return await judged(pg, moved, [FAR])
