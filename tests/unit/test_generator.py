"""The demo's month: the same seed tells the same pushes, in the proportions that it promises, readable by ingest's own formats."""

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.demo import county, lade, wire
from deploy.demo.generator import BRANDS_OF, KUAIDI100, Month, Push, month
from services.ingest.brands import NATIVE, kuaidi100
from services.ingest.brands.base import BadSignature, Feed, RawPush, Unparseable
from services.ingest.brands.brackets import site_in
from services.ingest.domain.items import Item, Unreadable

DIVISIONS = Path(county.__file__).parents[2] / "services" / "registry" / "data" / "yuanqu_divisions.csv"
SECRET = b"a secret"


@pytest.fixture(scope="module")
def plan() -> county.County:
    with DIVISIONS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return county.plan(
        {"code": r["code"], "name": r["name"].removesuffix("委会"), "kind": r["kind"], "parent_code": r["parent"]} for r in rows
    )


@pytest.fixture(scope="module")
def july(plan: county.County) -> Month:
    return month(plan, lade.read(len(plan.villages)), seed=30)


def test_the_county_has_the_notices_shape(plan: county.County) -> None:
    assert (len(plan.townships), len(plan.villages)) == (11, 71)
    assert sum(v.filed_at is not None for v in plan.villages) == 10
    assert len({s.site_code for s in plan.stations}) == len({s.name for s in plan.stations}) == 83


def test_real_parcels_keep_hours_and_the_order_of_days() -> None:
    real = lade.read(71)
    assert len(real) == 72
    assert {p.village for p in real} <= set(range(71))
    assert all(datetime(2023, 7, 1, tzinfo=p.accepted_at.tzinfo) <= p.accepted_at <= p.delivered_at for p in real)
    first, last = real[0], real[-1]
    assert (first.order_id, first.accepted_at.isoformat()) == (4076400, "2023-07-01T08:38:00+08:00")  # 18 May 08:38
    assert (last.order_id, last.delivered_at.isoformat()) == (236676, "2023-07-31T14:36:00+08:00")  # 10 October 14:36


def test_the_same_seed_tells_the_same_month(plan: county.County, july: Month) -> None:
    real = lade.read(len(plan.villages))
    assert month(plan, real, seed=30) == july
    assert month(plan, real, seed=31) != july


def test_every_place_of_a_kuaidi100_line_is_read_back(july: Month) -> None:
    for push in july.first + july.late:
        if push.feed == KUAIDI100:
            told = [s.station.name_for(push.brand) if s.station else s.place for s in reversed(push.scans)]
            (letter,) = wire.letters([push])
            moments = letter.payload["lastResult"]["data"]
            at_station = [
                (m["context"], m["statusCode"] in kuaidi100.SITE_IS_LAST, m["statusCode"] in kuaidi100.BY_STATION) for m in moments
            ]
            assert [site_in(context, last=last, by_station=by) for context, last, by in at_station] == told


def test_proportions(july: Month) -> None:
    pushes = july.first + july.late
    distinct = {(p.feed, p.brand, p.waybill_no, s) for p in pushes for s in p.scans}
    received = sum(len(p.scans) for p in pushes)
    assert 2_900 <= len(july.parcels) <= 3_200
    assert 11_500 <= len(distinct) <= 12_500
    assert received - len(distinct) == pytest.approx(received * 0.20, rel=0.05)
    assert out_of_order(pushes) == pytest.approx(len(distinct) * 0.10, rel=0.15)
    assert len(july.late) >= 60


def out_of_order(pushes: tuple[Push, ...]) -> int:
    """Scans that are told for the first time after a later scan of the same parcel."""
    latest: dict[tuple[str, str], datetime] = {}
    known, found = set(), 0
    for push in pushes:
        parcel = push.brand, push.waybill_no
        for scan in push.scans:
            if (push.feed, parcel, scan) not in known:
                known.add((push.feed, parcel, scan))
                found += scan.at < latest.get(parcel, scan.at)
                latest[parcel] = max(scan.at, latest.get(parcel, scan.at))
    return found


def test_every_story_is_told(july: Month) -> None:
    stories = Counter(p.story for p in july.parcels)
    assert stories["real"] == 72
    for story in (
        "late",
        "returned",
        "returned_late",
        "refused",
        "transferred",
        "uplink",
        "taken_back",
        "conflict",
        "contested",
        "unmapped",
    ):
        assert stories[story], story


def test_waybill_numbers_never_repeat(july: Month) -> None:
    assert len({(p.brand, p.waybill_no) for p in july.parcels}) == len(july.parcels)


def test_what_is_late_is_told_late(july: Month) -> None:
    late = {p.waybill_no for p in july.told("returned_late")}
    first_words = {s.action for p in july.first if p.waybill_no in late for s in p.scans}
    assert "station_inbound" in first_words
    assert not first_words & {"returning", "returned"}


def read(letter: wire.Letter) -> list[Item | Unreadable]:
    """As ingest reads it: the signature first."""
    body, content_type = letter.wire(SECRET)
    name = wire.FORMAT_OF[letter.feed]
    namespace = county.GONGPEI if name == "gongpei" else None
    push = RawPush(Feed(letter.feed, name, BRANDS_OF[letter.feed], namespace, "live", 7200), body, content_type, datetime.now(UTC))
    NATIVE[name].verify(push, [SECRET])
    return NATIVE[name].parse(push)


def test_every_push_is_readable_and_says_what_was_meant(july: Month) -> None:
    """Kuaidi100 has one code for the villager's receipt, at a station or not."""
    meant = Counter(
        "signed" if p.feed == KUAIDI100 and s.action == "station_pickup" else s.action for p in july.first + july.late for s in p.scans
    )
    items = [item for letter in wire.letters(july.first + july.late) for item in read(letter)]
    assert [i for i in items if isinstance(i, Unreadable)] == []
    assert Counter(str(i.action) for i in items if isinstance(i, Item)) == meant


def test_what_goes_wrong_is_told_wrongly() -> None:
    wrong, garbage, impossible, moved, unknown = (bad.letter for bad in wire.bad_letters("73100196611386"))
    with pytest.raises(BadSignature):
        read(wrong)
    with pytest.raises(Unparseable):
        read(garbage)
    assert [type(i) for letter in (impossible, moved) for i in read(letter)] == [Unreadable, Unreadable]
    assert [i.action for i in read(unknown) if isinstance(i, Item)] == ["unknown"]
