"""Standing: what a station was on a given day, for a brand, as one table."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import standing
from shared.contracts import registry as r
from shared.sites import site_id


def day(n: int) -> datetime:
    return datetime(2023, 7, 1, tzinfo=UTC) + timedelta(days=n - 1)


def segment(start: int, end: int | None, **changes: object) -> r.StationSegment:
    given: dict[str, object] = {
        "name": "上王村便民服务点", "division_code": "140827100200", "township_code": "140827100000", "operator_id": "opr_1",
        "brands": ("zto",), "operating_status": r.OperatingStatus.OPEN, "lat": None, "lng": None,
    }  # fmt: skip
    return r.StationSegment(valid_from=day(start), valid_to=day(end) if end else None, **(given | changes))  # type: ignore[arg-type]


def filing(filing_id: str, brands: tuple[str, ...], *spans: tuple[int, int | None, str]) -> r.Filing:
    segments = tuple(
        r.FilingSegment(valid_from=day(a), valid_to=day(b) if b else None, status=r.FilingStatus(status), receipt_no=None)
        for a, b, status in spans
    )
    return r.Filing(
        filing_id=filing_id, filer_id="opr_1", covers_brands=brands, authority="运城市邮政管理局", opened_on=date(2023, 5, 30),
        submitted_at=None, decided_at=None, segments=segments,
    )  # fmt: skip


STATION = r.Station(
    version=3,
    station_id="stn_1",
    level=r.Level.VILLAGE,
    segments=(segment(1, 10), segment(10, 20, operating_status=r.OperatingStatus.CLOSED), segment(20, None, operator_id="opr_2")),
    aliases=(
        r.Alias(alias_id="als_1", namespace="zto", site_code=None, site_name="上王村", valid_from=day(1), valid_to=day(15)),
        r.Alias(alias_id="als_2", namespace="gongpei", site_code="A7", site_name=None, valid_from=day(1), valid_to=None),
    ),
    filings=(
        filing("fil_1", ("zto",), (5, 8, "filed"), (8, 12, "change_pending"), (12, None, "lapsed")),
        filing("fil_2", ("yto",), (3, None, "submitted")),
    ),
)
VILLAGE = r.Division(
    version=1,
    code="140827100200",
    segments=(
        r.DivisionSegment(
            valid_from=day(1),
            valid_to=day(25),
            name="上王村",
            name_en="Shangwang",
            kind="village",
            parent_code="140827100000",
            edition=2023,
        ),
        r.DivisionSegment(
            valid_from=day(25),
            valid_to=None,
            name="上王社区",
            name_en="Shangwang",
            kind="community",
            parent_code="140827100000",
            edition=2024,
        ),
    ),
)
DIRECTORY = standing.Directory.of([VILLAGE, STATION])


@pytest.mark.parametrize(
    ("moment", "brand", "operating_status", "filed", "filing_id", "best", "operator", "rural"),
    [
        (day(1), "zto", "open", False, None, None, "opr_1", True),
        (day(4), "zto", "open", False, None, "submitted", "opr_1", True),
        (day(5), "zto", "open", True, "fil_1", "filed", "opr_1", True),
        (day(5), "yto", "open", False, None, "filed", "opr_1", True),  # a filing covers its own brands only
        (day(8), "zto", "open", True, "fil_1", "change_pending", "opr_1", True),
        (day(12) - timedelta(microseconds=1), "zto", "closed", True, "fil_1", "change_pending", "opr_1", True),
        (day(12), "zto", "closed", False, None, "submitted", "opr_1", True),
        (day(20), "zto", "open", False, None, "submitted", "opr_2", True),
        (day(25), "zto", "open", False, None, "submitted", "opr_2", False),  # its division became urban
    ],
)
def test_standing(
    moment: datetime, brand: str, operating_status: str, filed: bool, filing_id: str | None, best: str | None, operator: str, rural: bool
) -> None:
    found = DIRECTORY.standing("stn_1", brand, moment)
    assert found is not None
    assert (found.operating_status, found.filed, found.filing_id, found.filing_status) == (operating_status, filed, filing_id, best)
    assert (found.operator_id, found.rural, found.station_version) == (operator, rural, 3)
    assert found.valid_from <= moment
    assert found.valid_to is None or moment < found.valid_to


def test_nothing_is_known_before_a_station_was_registered() -> None:
    assert DIRECTORY.standing("stn_1", "zto", day(1) - timedelta(seconds=1)) is None
    assert DIRECTORY.standing("stn_9", "zto", day(5)) is None


@pytest.mark.parametrize(
    ("namespace", "code", "name", "moment", "station"),
    [
        ("zto", None, "上王村点", day(1), "stn_1"),
        ("zto", None, "上王村", day(15), None),  # `to` is exclusive
        ("sto", None, "上王村", day(1), None),
        ("gongpei", "a7", "别的名字", day(15), "stn_1"),  # the code decides where there is one
    ],
)
def test_mapping(namespace: str, code: str | None, name: str | None, moment: datetime, station: str | None) -> None:
    assert DIRECTORY.station_at(site_id(namespace, code, name), moment) == station


def test_a_newer_snapshot_replaces_what_the_older_one_claimed() -> None:
    directory = standing.Directory.of([VILLAGE, STATION])
    moved = r.Station(version=4, station_id="stn_1", level=r.Level.VILLAGE, segments=STATION.segments, aliases=(), filings=())
    directory.put(moved)
    assert directory.station_at(site_id("zto", None, "上王村"), day(1)) is None
    assert site_id("zto", None, "上王村") not in {site for site, _, _ in directory.claims()}
    now = directory.standing("stn_1", "zto", day(5))
    assert now is not None
    assert not now.filed


@given(st.integers(0, 40 * 24))
def test_a_standing_holds_for_its_whole_segment(hour: int) -> None:
    moment = day(1) + timedelta(hours=hour)
    found = DIRECTORY.standing("stn_1", "zto", moment)
    assert found is not None
    end = found.valid_to or moment + timedelta(days=1)
    for inside in (found.valid_from, moment, end - timedelta(microseconds=1)):
        assert DIRECTORY.standing("stn_1", "zto", inside) == found


def merchant(version: int, *segments: tuple[int, int | None, str, tuple[r.Shop, ...]]) -> r.Merchant:
    """Segments as (from, to, qualification, shops)."""
    return r.Merchant(
        version=version,
        merchant_id="mch_9",
        segments=tuple(
            r.MerchantSegment(
                valid_from=day(start), valid_to=day(end) if end else None, name="垣曲县山里果业有限公司", kind=r.MerchantKind.ENTERPRISE,
                registered_on=date(2021, 4, 6), division_code="140827100000", licence_no=None, shops=shops,
                qualification=r.Qualification(qualification), reason=None,
            )
            for start, end, qualification, shops in segments
        ),
        sales=(),
    )  # fmt: skip


def test_a_merchant_is_what_its_newest_snapshot_says_of_the_moment() -> None:
    seen, new = (r.Shop(platform=p, shop="山里果业", approved=ok) for p, ok in (("淘宝", True), ("抖音", False)))
    directory = standing.Directory.of([merchant(1, (5, None, "submitted", ()))])
    directory.put(merchant(2, (5, 10, "submitted", ()), (10, None, "approved", (seen, new))))
    assert directory.merchant_at("mch_9", day(4)) is None
    assert directory.merchant_at("mch_8", day(12)) is None
    held = directory.merchant_at("mch_9", day(9)), directory.merchant_at("mch_9", day(10))
    assert [s and s.qualification for s in held] == ["submitted", "approved"]
    assert held[1] is not None
    assert [standing.has_shop(held[1], platform) for platform in ("淘宝", "抖音", "拼多多")] == [True, False, False]
