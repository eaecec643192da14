"""Late, repeated, conflicting, retracted, returned and taken-back scans, aliases and filings that come late: every one ends in the right
balance, by reversal and new entry. The fixture audits the books after each test."""

from datetime import date, timedelta

import asyncpg
import pytest

from shared import telemetry
from shared.contracts.registry import Incident, IncidentKind, IncidentParcel, IncidentSegment, IncidentSource, IncidentStatus
from shared.contracts.scan import Retracts, ScanEvent
from shared.identity import parcel_key, partition_of
from tests.integration.subsidy_books import Books, alias, at, county, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
UNFILED, FILED = 36, 44  # fen, village, near: yuanqu-2023.1
ELSEWHERE = "陌生地方"


async def lines(books: Books, waybill: str = "W1") -> list[tuple[str, int]]:
    rows = await books.rows("select kind, amount_fen from payout where parcel_key = $1 order by seq", parcel_key("zto", waybill))
    return [(r["kind"], r["amount_fen"]) for r in rows]


async def outcome(books: Books, waybill: str = "W1") -> tuple[str | None, list[str], int]:
    (row,) = await books.rows(
        "select outcome, reason_codes, held_fen from assessment where parcel_key = $1 order by batch_no desc limit 1",
        parcel_key("zto", waybill),
    )
    return row["outcome"], row["reason_codes"], row["held_fen"]


async def test_an_inbound_at_an_open_village_station_pays_its_operator(books: Books) -> None:
    await books.send(scan("W1", "arrived", at(13)), scan())
    assert await lines(books) == [("accrual", UNFILED)]
    (posting,) = await books.rows("select debit, credit, amount_fen, period from posting")
    assert posting == {
        "debit": "programme/140827000000/downlink/2023", "credit": "payable/opr_1/accrued", "amount_fen": UNFILED, "period": "2023-07",
    }  # fmt: skip


async def test_in_transit_is_evidence_without_a_parcel(books: Books) -> None:
    await books.send(scan("W1", "picked_up", site=ELSEWHERE), scan("W1", "departed", at(15), ELSEWHERE))
    assert await books.rows("select * from parcel") == []
    assert len(await books.rows("select * from evidence")) == 2


async def test_a_later_pick_up_changes_no_fen_and_is_an_assessment_all_the_same(books: Books) -> None:
    await books.send(scan())
    await books.send(scan("W1", "station_pickup", at(15)))
    assert await lines(books) == [("accrual", UNFILED)]
    assert len(await books.rows("select * from assessment")) == 2


async def test_an_earlier_inbound_that_comes_late_moves_the_service_day(books: Books) -> None:
    await books.send(scan("W1", "station_pickup", at(15)))
    await books.send(scan("W1", "station_inbound", at(14)))
    assert await lines(books) == [("accrual", UNFILED), ("reversal", -UNFILED), ("accrual", UNFILED)]
    days = [r["service_date"].day for r in await books.rows("select service_date from payout order by seq")]
    assert days == [15, 15, 14]


async def test_a_return_takes_the_money_back(books: Books) -> None:
    await books.send(scan())
    await books.send(scan("W1", "returned", at(20), None))
    assert await lines(books) == [("accrual", UNFILED), ("reversal", -UNFILED)]
    assert await outcome(books) == ("refused", ["parcel.returned"], 0)


async def test_a_retracted_return_gives_it_again(books: Books) -> None:
    returned = scan("W1", "returned", at(20), None)
    await books.send(scan())
    await books.send(returned)
    await books.send(scan("W1", "retracted", at(21), None, retracts=Retracts(event_id=returned.event_id)))
    assert await lines(books) == [("accrual", UNFILED), ("reversal", -UNFILED), ("accrual", UNFILED)]


async def test_a_retraction_may_come_before_what_it_retracts(books: Books) -> None:
    returned = scan("W1", "returned", at(20), None)
    await books.send(scan("W1", "retracted", at(21), None, retracts=Retracts(previous_action="returned")))
    await books.send(scan(), returned)
    assert await lines(books) == [("accrual", UNFILED)]


async def test_a_take_back_leaves_the_parcel_pending(books: Books) -> None:
    await books.send(scan())
    await books.send(scan("W1", "taken_back", at(15)))
    assert await books.balance() == 0
    assert await outcome(books) == ("pending", ["evidence.voided"], 0)


async def test_a_conflict_that_changes_nothing_pays(books: Books) -> None:
    await books.send(scan(ref="A"))
    await books.send(scan(ref="A", weight_g=850))
    assert await lines(books) == [("accrual", UNFILED)]


async def test_a_conflict_about_the_place_is_held_and_a_late_mapping_releases_it(books: Books) -> None:
    await books.send(scan(ref="A"))
    await books.send(scan(ref="A", site=ELSEWHERE))
    assert await outcome(books) == ("held", ["evidence.contested"], UNFILED)
    assert await lines(books) == [("accrual", UNFILED), ("reversal", -UNFILED)]
    await books.change(station(aliases=[alias("上王村便民服务点"), alias(ELSEWHERE)], version=2))
    assert await books.balance() == UNFILED
    assert len(await books.rows("select * from hold_release")) == 1


async def test_a_hold_is_of_one_place_and_one_beneficiary(books: Books) -> None:
    """What a reviewer sees of an open hold is where the money would go now."""
    await books.send(scan(), scan("W1", "transferred", at(13), None))
    await books.change(station(operator_id="opr_2", version=2))
    await books.change(
        station(aliases=[], operator_id="opr_2", version=3), station("stn_43", aliases=[alias("上王村便民服务点")], operator_id="opr_2")
    )
    rows = await books.rows(
        "select h.station_id, a.beneficiary_id, r.batch_no is null as open from hold h join assessment a using (parcel_key, batch_no) "
        "left join hold_release r using (parcel_key, batch_no) order by h.batch_no"
    )
    assert [tuple(r.values()) for r in rows] == [("stn_42", "opr_1", False), ("stn_42", "opr_2", False), ("stn_43", "opr_2", True)]
    await books.change(station(aliases=[], operator_id="opr_2", version=4))
    assert len(await books.rows("select * from hold")) == 3, "the same hold stands"


async def test_a_higher_mapping_version_of_the_same_scan_counts(books: Books) -> None:
    await books.send(scan(action="signed", raw_action="X"))
    await books.send(scan(action="returned", raw_action="X", mapping_version=2))
    assert await outcome(books) == ("refused", ["parcel.returned"], 0)
    await books.send(scan(action="unknown", raw_action="X", mapping_version=3))
    assert await outcome(books) == (None, [], 0)


async def test_an_alias_mapped_late_pays_what_was_pending(books: Books) -> None:
    await books.send(scan(site=ELSEWHERE))
    assert await outcome(books) == ("pending", ["site.unmapped"], 0)
    await books.change(station(aliases=[alias("上王村便民服务点"), alias(ELSEWHERE)], version=2))
    assert await lines(books) == [("accrual", UNFILED)]


async def test_an_alias_moved_to_another_station_moves_the_money(books: Books) -> None:
    await books.send(scan())
    moved = at(10)
    await books.change(
        station(aliases=[alias("上王村便民服务点", valid_to=moved)], version=2),
        station("stn_43", aliases=[alias("上王村便民服务点", moved)], operator_id="opr_2"),
    )
    accounts = await books.rows("select beneficiary_id, sum(amount_fen)::int as fen from payout group by 1 order by 1")
    assert accounts == [{"beneficiary_id": "opr_1", "fen": 0}, {"beneficiary_id": "opr_2", "fen": UNFILED}]


async def test_a_back_dated_filing_correction_is_a_reversal_and_a_new_entry(books: Books) -> None:
    await books.send(scan())
    await books.change(station(filings=[filing(at(1))], version=2))
    assert await lines(books) == [("accrual", UNFILED), ("reversal", -UNFILED), ("accrual", FILED)]
    await books.change(station(filings=[filing(at(1), at(14, 8))], version=3))  # it had lapsed an hour before the scan
    assert await books.balance() == UNFILED


async def test_a_filing_after_the_scan_changes_nothing(books: Books) -> None:
    await books.send(scan())
    await books.change(station(filings=[filing(at(20))], version=2))
    assert await lines(books) == [("accrual", UNFILED)]
    assert len(await books.rows("select * from assessment")) == 2  # it was assessed again: every assessment is a row


async def test_a_parcel_without_an_operator_waits_for_one(books: Books) -> None:
    await books.change(station(operator_id=None, version=2))
    await books.send(scan())
    assert await outcome(books) == ("pending", ["station.no_operator"], 0)
    await books.change(station(version=3))
    assert await books.balance() == UNFILED


async def test_evidence_that_is_there_already_raises_an_alarm_and_pays_once(books: Books) -> None:
    before = telemetry.WORKER_KEY_VIOLATIONS._value.get()
    await books.send(scan())
    await books.send(scan(), scan("W1", "station_pickup", at(15)))
    assert telemetry.WORKER_KEY_VIOLATIONS._value.get() == before + 1
    assert await lines(books) == [("accrual", UNFILED)]
    assert len(await books.rows("select * from evidence")) == 2


async def test_a_closed_month_never_changes(books: Books, subsidy_dsns: tuple[str, str]) -> None:
    """Late truth is a delta in the next open month."""
    await books.send(scan())
    owner = await asyncpg.connect(subsidy_dsns[0])
    await owner.execute("insert into period values ('2023-07', 1, 'closed')")
    await owner.close()
    await books.change(station(filings=[filing(at(1))], version=2))  # partition −1 moves: the worker looks at the periods again
    periods = [r["period"] for r in await books.rows("select period from payout order by seq")]
    assert periods == ["2023-07", "2023-08", "2023-08"]


async def test_history_cannot_be_changed_by_the_app(books: Books) -> None:
    await books.send(scan())
    for table in ("evidence", "assessment", "payout", "posting", "hold", "batch", "registry_snapshot", "policy", "decision"):
        for statement in (
            f"delete from {table}",
            f"update {table} set batch_no = 0" if table != "registry_snapshot" else f"update {table} set id = ''",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with books.database.write() as tx:
                    await tx.execute(statement)


async def test_a_second_line_of_a_parcel_cannot_stand(books: Books) -> None:
    await books.send(scan())
    with pytest.raises(asyncpg.UniqueViolationError):
        async with books.database.write() as tx:
            await tx.execute("insert into live_payout values ($1, 'downlink', 7)", parcel_key("zto", "W1"))


@pytest.mark.parametrize(
    "wrong",
    ["values ('\\x01', 0, 'accrued', 0, 1, 'a', 'a', 5, '2023-07')", "values ('\\x01', 0, 'accrued', 0, 1, 'a', 'b', 0, '2023-07')"],
)
async def test_an_imbalance_cannot_be_written(books: Books, wrong: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with books.database.write() as tx:
            await tx.execute(f"insert into posting {wrong}")


async def test_revisions_rise_in_the_order_of_commits_and_name_every_row(books: Books) -> None:
    for n in range(5):
        await books.send(scan(f"W{n}"))
    rows = await books.rows("select revision, recorded_at from batch order by revision")
    assert [r["revision"] for r in rows] == list(range(1, len(rows) + 1))
    moments = [r["recorded_at"] for r in rows]
    assert moments == sorted(moments)
    assert len(set(moments)) == len(moments)


async def test_a_change_asks_only_for_the_parcels_it_touches(books: Books) -> None:
    await books.send(scan("W1"), scan("W2", site=ELSEWHERE))
    before = len(await books.rows("select * from assessment"))
    await books.change(station("stn_44", aliases=[alias(ELSEWHERE)]))
    again = await books.rows("select parcel_key from assessment order by batch_no offset $1", before)
    assert [r["parcel_key"] for r in again] == [parcel_key("zto", "W2")]


IN_ONE_PARTITION = [w for w in (f"C{n}" for n in range(400)) if partition_of(parcel_key("zto", w), 8) == 0]


async def assessed(books: Books) -> dict[bytes, int]:
    """How often each parcel was."""
    return {r["parcel_key"]: r["n"] for r in await books.rows("select parcel_key, count(*) as n from assessment group by 1")}


@pytest.mark.parametrize("scans_a_parcel", [1, 2, 4])
async def test_a_long_task_is_drained_in_chunks_and_each_parcel_once(
    books: Books, monkeypatch: pytest.MonkeyPatch, scans_a_parcel: int
) -> None:
    """A chunk counts parcels, however often each was scanned at the site."""
    monkeypatch.setattr("services.subsidy.service.batch.CHUNK_ALONE", 3)
    await books.send(*(scan(w, scanned_at=at(14, 9 + n)) for w in IN_ONE_PARTITION[:20] for n in range(scans_a_parcel)))
    await books.change(station(filings=[filing(at(1))], version=2))
    assert await assessed(books) == {parcel_key("zto", w): 2 for w in IN_ONE_PARTITION[:20]}


async def test_a_task_over_a_dense_and_a_sparse_site_jumps_no_parcel(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.subsidy.service.batch.CHUNK_ALONE", 5)
    names = [alias("上王村便民服务点"), alias(ELSEWHERE)]
    await books.change(station(aliases=names, version=2))
    for n, waybill in enumerate(IN_ONE_PARTITION[:30]):
        scans = [scan(waybill, scanned_at=at(14, 9 + i)) for i in range(3)] if n % 5 else [scan(waybill, site=ELSEWHERE)]
        await books.send(*scans)
    await books.change(station(aliases=names, filings=[filing(at(1))], version=3))
    assert await assessed(books) == {parcel_key("zto", w): 2 for w in IN_ONE_PARTITION[:30]}


async def test_parcels_in_transit_fill_a_chunk_and_end_no_task(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.subsidy.service.batch.CHUNK_ALONE", 2)
    monkeypatch.setattr("services.subsidy.service.batch.CHUNK_BESIDE", 1)
    moving, closed = IN_ONE_PARTITION[:12:2], IN_ONE_PARTITION[1:12:2]
    await books.send(*(scan(w, "arrived") for w in moving), *(scan(w) for w in closed))
    await books.change(station(filings=[filing(at(1))], version=2), drain=False)
    await books.send(scan(IN_ONE_PARTITION[12]))
    await books.drain()
    times = await assessed(books)
    assert [times[parcel_key("zto", w)] for w in closed] == [2] * len(closed)


async def test_a_chunk_rides_along_with_new_scans(books: Books) -> None:
    await books.send(scan("W1"))
    await books.change(station(filings=[filing(at(1))], version=2), drain=False)
    neighbour = next(w for w in (f"N{n}" for n in range(100)) if _partition(w) == _partition("W1"))
    await books.send(scan(neighbour))
    assert await lines(books) == [("accrual", UNFILED), ("reversal", -UNFILED), ("accrual", FILED)]


def _partition(waybill: str) -> int:
    return partition_of(parcel_key("zto", waybill), 8)


async def test_a_month_of_noise_in_any_batches(books: Books) -> None:
    """Many parcels in all kinds of trouble; the audit of the fixture is the assertion."""
    events: list[ScanEvent] = []
    for n in range(60):
        w = f"M{n}"
        events += [scan(w, "arrived", at(10, 8), ELSEWHERE), scan(w, "station_inbound", at(14, n % 24))]
        if n % 3 == 0:
            events.append(scan(w, "station_pickup", at(15, n % 24)))
        if n % 7 == 0:
            events.append(scan(w, "returned", at(18), None))
        if n % 11 == 0:
            events.append(scan(w, "taken_back", at(16)))
        if n % 13 == 0:
            events.append(scan(w, "transferred", at(13), None))
        if n % 17 == 0:
            events.append(scan(w, "signed", at(14) + timedelta(days=190), None))
    for first in range(0, len(events), 23):
        await books.send(*events[first : first + 23])
        if first == 69:
            await books.change(*county()[:-1], station(filings=[filing(at(12), at(15))], version=2), drain=False)
    await books.drain()
    outcomes = {r["outcome"] for r in await books.rows("select distinct outcome from parcel")}
    assert outcomes == {"payable", "refused", "pending", "held"}


async def test_an_incident_is_kept_and_changes_no_money(books: Books) -> None:
    """What it means for money, a policy would have to say."""
    await books.send(scan())
    before = await books.balance()
    opened = IncidentSegment(valid_from=at(15), valid_to=None, status=IncidentStatus.OPEN, due_on=date(2023, 7, 20), note=None)
    await books.change(
        Incident(
            version=1, incident_id="inc_1", kind=IncidentKind.ILLEGAL_CHARGE, source=IncidentSource.COMPLAINT, station_id="stn_42",
            operator_id="opr_1", parcels=(IncidentParcel(brand="zto", waybill_no="W1"),), summary="村级取件加收2元", segments=(opened,),
        )
    )  # fmt: skip
    assert await books.balance() == before > 0
