"""What the spec page cannot say: how a log's value becomes an event, what is remembered between parcels, and what it costs."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.subsidy.domain.events import NO_EVENT, Event, read_scan
from services.subsidy.domain.fold import assess, current_versions, shown_combination
from services.subsidy.domain.policy import Outcome, Policies
from services.subsidy.policies import read_directory
from shared.contracts.scan import Retracts, ScanEvent
from shared.sites import site_id
from shared.standing import Directory
from tests.spec.page import DOWNLINK, read_page

PAGE = read_page(DOWNLINK)
POLICIES = Policies(p for p, _ in read_directory())
EVENT_ID = "6f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e"


def scan(retracts: Retracts | None = None, site_code: str | None = None) -> ScanEvent:
    return ScanEvent(
        event_id=EVENT_ID,
        content="9d" * 32,
        verdict="accepted",
        brand="zto",
        waybill_no="73100196611386",
        raw_action="INBOUND",
        scanned_at=datetime.fromisoformat("2023-07-14T09:12:03+08:00"),
        site_namespace="zto",
        site_code=site_code,
        site_name="上王村便民服务点",
        origin="330782000000",
        destination=None,
        goods=None,
        order_no=None,
        weight_g=850,
        retracts=retracts,
        action="station_inbound",
        mapping_version=3,
        feed="zto-yuanqu",
        receipt_id="rcp_1",
        received_at=datetime(2023, 7, 14, 2, tzinfo=UTC),
        verified="digest",
        payload_sha256="00" * 32,
    )


def test_a_scan_is_read_with_its_money_facts_alone() -> None:
    assert read_scan(scan()) == Event(
        event_id=UUID(EVENT_ID).bytes,
        content=bytes.fromhex("9d" * 32),
        mapping_version=3,
        feed="zto-yuanqu",
        action="station_inbound",
        scanned_at=datetime(2023, 7, 14, 1, 12, 3, tzinfo=UTC),
        site=site_id("zto", None, "上王村便民服务点"),
        origin="330782000000",
        retracts_event_id=None,
        retracts_previous_action=None,
    )


def test_a_site_is_its_code_if_it_has_one() -> None:
    assert read_scan(scan(site_code="D88")).site == site_id("zto", "D88", None) != read_scan(scan()).site


@pytest.mark.parametrize(
    ("retracts", "event_id", "action"),
    [
        (Retracts(event_id=EVENT_ID), UUID(EVENT_ID).bytes, None),
        (Retracts(event_id=EVENT_ID.upper()), UUID(EVENT_ID).bytes, None),
        (Retracts(event_id="EV-17"), NO_EVENT, None),
        (Retracts(previous_action="station_inbound"), None, "station_inbound"),
        (Retracts(), NO_EVENT, None),
    ],
    ids=["an id", "in capitals", "no id of ours", "an action", "nothing"],
)
def test_whatever_carries_retracts_is_a_retraction(retracts: Retracts, event_id: bytes | None, action: str | None) -> None:
    event = read_scan(scan(retracts))
    assert event.is_retraction
    assert (event.retracts_event_id, event.retracts_previous_action) == (event_id, action)


def test_ids_sort_as_bytes_as_they_do_as_text() -> None:
    ids = [UUID(int=n << 64 | 7) for n in (1, 2, 255, 256, 2**40, 2**63)]
    assert sorted(ids, key=str) == sorted(ids, key=lambda i: i.bytes)


def test_without_a_policy_nothing_is_paid_and_no_county_is_ours() -> None:
    case = next(c for c in PAGE.cases if c.outcome == "payable")
    a = assess(case.brand, case.events, PAGE.directory, Policies())
    assert (a.outcome, a.reason_codes, a.policy_version, a.station_id) == (Outcome.HELD, ("policy.not_in_force",), None, case.station)


def test_without_a_registry_every_place_is_unmapped() -> None:
    case = next(c for c in PAGE.cases if c.outcome == "payable")
    a = assess(case.brand, case.events, Directory(), POLICIES)
    assert (a.outcome, a.reason_codes, a.station_id) == (Outcome.PENDING, ("site.unmapped",), None)


def test_equal_facts_are_decided_once() -> None:
    policies = Policies(p for p, _ in read_directory())
    case = next(c for c in PAGE.cases if c.outcome == "payable")
    first, second = (assess(case.brand, case.events, PAGE.directory, policies) for _ in range(2))
    assert first.decision is second.decision


def test_a_moment_decides_by_the_instant_and_not_by_its_clock() -> None:
    """The same events in UTC and in +08:00."""
    for case in PAGE.cases:
        utc = [e._replace(scanned_at=e.scanned_at.astimezone(UTC)) for e in case.events]
        assert assess(case.brand, utc, PAGE.directory, POLICIES) == assess(case.brand, case.events, PAGE.directory, POLICIES)


def test_a_million_combinations_are_held_without_walking_them() -> None:
    case = next(c for c in PAGE.cases if c.outcome == "payable")
    noise = [
        Event(bytes([n]) * 16, bytes([v]) * 32, 1, "gongpei", "departed", case.events[0].scanned_at, None, None, None, None)
        for n in range(1, 21)
        for v in range(2)
    ]
    a = assess(case.brand, [*case.events, *noise], PAGE.directory, POLICIES)
    assert (a.outcome, a.reason_codes, a.held_fen) == (Outcome.HELD, ("evidence.contested",), 44)


def test_a_contested_hold_shows_the_first_combination_that_closes() -> None:
    """Past sixteen the closing one may be the last of a million: it is found, not walked to, so the hold has a day."""
    at = datetime(2023, 7, 14, 1, tzinfo=UTC)
    told = [
        Event(bytes([n]) * 16, bytes([v]) * 32, 1, "gongpei", "signed" if (n, v) == (1, 1) else "departed", at, None, None, None, None)
        for n in range(1, 21)
        for v in range(2)
    ]
    assert [e.content[0] for e in shown_combination(current_versions(told))] == [1] + [0] * 19
    a = assess("zto", told, PAGE.directory, POLICIES)
    assert (a.outcome, a.held_fen, str(a.service_date)) == (Outcome.HELD, 0, "2023-07-14")
