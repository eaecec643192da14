"""docs/rules.md, case by case, against the demo's independent recomputation. `V` is an open, filed village station, `T` its township's."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from deploy.demo.records import SHANGHAI, Registry, Scan, site_of
from deploy.demo.rules import Policy, Result, judge

NOON = datetime(2023, 7, 14, 12, tzinfo=SHANGHAI)
SINCE = "2023-01-01T00:00:00+08:00"
PLACES = {"V": "village", "W": "village", "T": "township", "H": "county_hub"}


def station(name: str, level: str, status: str = "open", operator: str | None = "opr_1") -> dict[str, Any]:
    dated = {"valid_from": SINCE, "valid_to": None}
    code = None if level == "county_hub" else "140827100000"
    segment = dated | {"division_code": "140827100200", "township_code": code, "operator_id": operator, "operating_status": status}
    filed = {"covers_brands": ["zto"], "segments": [dated | {"status": "filed"}]}
    return {
        "type": "station",
        "station_id": name,
        "level": level,
        "segments": [segment],
        "aliases": [dated | {"namespace": "zto", "site_code": None, "site_name": name}],
        "filings": [filed] if name == "V" else [],
    }


def registry(**changed: Any) -> Registry:
    division = {"type": "division", "code": "140827100200", "segments": [{"valid_from": SINCE, "valid_to": None, "kind": "village"}]}
    stations = [station(name, level, **changed.get(name, {})) for name, level in PLACES.items()]
    return Registry.of([{"records": [division, *stations]}])


POLICY = Policy(
    {
        "policy_version": "test.1",
        "status": "active",
        "county_code": "140827000000",
        "valid_from": SINCE,
        "valid_to": "2024-01-01T00:00:00+08:00",
        "clauses": [
            *(
                {"scheme": "downlink", "mode": "require", "reason_code": f"parcel.{way}", "condition": f"parcel.returned != '{way}'"}
                for way in ("returned", "returning", "refused")
            ),
            {"scheme": "downlink", "mode": "require", "reason_code": "station.not_rural", "condition": "station.rural"},
            {"scheme": "downlink", "mode": "require", "reason_code": "station.not_open", "condition": "station.operating_status == 'open'"},
            {"scheme": "downlink", "mode": "report", "reason_code": "hub.missing", "condition": "parcel.hub_arrived"},
        ],
        "tiers": [
            {"scheme": "downlink", "rate_id": "village.filed", "when": {"level": "village", "filed": True}, "amount_fen": 45},
            {"scheme": "downlink", "rate_id": "village", "when": {"level": "village"}, "amount_fen": 40},
            {"scheme": "downlink", "rate_id": "township", "when": {"level": "township"}, "amount_fen": 20},
        ],
        "tables": {},
    }
)


def scan(action: str, place: str | None = None, hour: float = 0, **other: Any) -> Scan:
    """`hour`: hours after noon of 14 July. The event id is its action, place and hour unless given."""
    given: dict[str, Any] = {"event_id": f"{action}/{place}/{hour}", "content": "c1", "mapping_version": 1, "feed": "f"} | other
    return Scan(action=action, at=NOON + timedelta(hours=hour), site=site_of("zto", None, place), **given)


def judged(*scans: Scan, **changed: Any) -> Result:
    return judge("zto", scans, registry(**changed), [POLICY])


IN = scan("station_inbound", "V")
CASES = {
    "4: nothing closing, in transit": ([scan("arrived", "H"), scan("departed", "H", 1)], None, "", 0),
    "13: an open, filed village": ([IN], "payable", "rate.village.filed", 45),
    "13: an open village without filing": ([scan("station_inbound", "W")], "payable", "rate.village", 40),
    "13: a township station": ([scan("signed", "T")], "payable", "rate.township", 20),
    "11: the deepest level decides, not the earliest": ([scan("station_inbound", "T", -3), IN], "payable", "rate.village.filed", 45),
    "11: at a place that nobody claims": ([scan("station_inbound", "somewhere")], "pending", "site.unmapped", 0),
    "11: at the hub, which is no door": ([scan("signed", "H")], "pending", "evidence.no_station", 0),
    "1: a word that we do not know": ([scan("teleported", "V")], None, "", 0),
    "6: picked up at a station of ours": ([scan("picked_up", "V", -9), scan("signed", "far", 9)], "pending", "uplink.needs_declaration", 0),
    "6: an origin in the county": ([IN, scan("arrived", "H", origin="140827100000")], "pending", "uplink.needs_declaration", 0),
    "7, 8: taken back after the inbound": ([IN, scan("taken_back", "V", 1)], "pending", "evidence.voided", 0),
    "7: taken back, then brought again": (
        [IN, scan("taken_back", "V", 1), scan("station_inbound", "V", 2)],
        "payable",
        "rate.village.filed",
        45,
    ),
    "7: taken back elsewhere": ([IN, scan("taken_back", "W", 1)], "payable", "rate.village.filed", 45),
    "10: taken back nobody knows where": ([IN, scan("taken_back", "?", 1)], "pending", "site.unmapped", 0),
    "10: … before the inbound": ([IN, scan("taken_back", "?", -1)], "payable", "rate.village.filed", 45),
    "9: on its way back": ([IN, scan("returning", "H", 9)], "refused", "parcel.returning", 0),
    "9: back": ([IN, scan("returning", "H", 9), scan("returned", "far", 99)], "refused", "parcel.returned", 0),
    "9: refused at the door": ([IN, scan("refused", "V", 1)], "refused", "parcel.refused", 0),
    "9: refused, then accepted": ([IN, scan("refused", "V", 1), scan("signed", "V", 2)], "payable", "rate.village.filed", 45),
    "9: accepted at the very moment is not after": ([IN, scan("refused", "V", 1), scan("signed", "V", 1)], "refused", "parcel.refused", 0),
    "3: retracted by id": ([IN, scan("retracted", hour=1, retracts_id=IN.event_id)], "pending", "evidence.voided", 0),
    "3: by another feed: nothing": ([IN, scan("retracted", retracts_id=IN.event_id, feed="g")], "payable", "rate.village.filed", 45),
    "3: the previous of that action": (
        [IN, scan("signed", "V", 1), scan("retracted", hour=2, retracts_action="signed")],
        "payable",
        "rate.village.filed",
        45,
    ),
    "3: not one that lies after it": (
        [scan("signed", "V", 3), scan("retracted", hour=2, retracts_action="signed")],
        "payable",
        "rate.village.filed",
        45,
    ),
    "5: half a year between": ([IN, scan("arrived", "H", 24 * 181)], "held", "waybill.reused", 45),
    "5: exactly 180 days are no reuse": ([IN, scan("arrived", "H", 24 * 180)], "payable", "rate.village.filed", 45),
    "12: handed to another carrier": ([IN, scan("transferred", "H", 4)], "held", "transfer.unlinked", 45),
    "2: two contents, two stations": (
        [IN, scan("station_inbound", "W", event_id=IN.event_id, content="c2")],
        "held",
        "evidence.contested",
        45,
    ),
    "2: two contents, the same money": (
        [IN, scan("station_inbound", "V", event_id=IN.event_id, content="c2")],
        "payable",
        "rate.village.filed",
        45,
    ),
}


def shown(result: Result) -> tuple[str | None, str, int]:
    return result.outcome, ",".join(result.reasons), result.net_fen + result.held_fen


@pytest.mark.parametrize("case", CASES)
def test_rule(case: str) -> None:
    scans, outcome, reason, amount_fen = CASES[case]
    assert shown(judged(*scans)) == (outcome, reason, amount_fen)


@pytest.mark.parametrize("case", CASES)
def test_order_of_arrival_does_not_matter(case: str) -> None:
    scans = CASES[case][0]
    assert judged(*reversed(scans)) == judged(*scans, *scans)


def test_the_highest_mapping_version_counts() -> None:
    first, corrected = scan("signed", "V", event_id="e"), scan("station_pickup", "V", event_id="e", mapping_version=2)
    assert judged(corrected, first) == judged(corrected)


def test_seventeen_combinations_are_held() -> None:
    told = [scan("station_inbound", "V", i, event_id=str(i), content=c) for i in range(5) for c in ("c1", "c2")]
    assert shown(judged(*told)) == ("held", "evidence.contested", 45)


def test_a_closed_station_refuses_with_every_clause_that_fails() -> None:
    result = judged(IN, V={"status": "closed"})
    assert (result.outcome, result.reasons, result.station_id) == ("refused", ("station.not_open",), "V")


def test_a_station_without_operator_waits() -> None:
    assert shown(judged(IN, V={"operator": None})) == ("pending", "station.no_operator", 0)


def test_no_policy_in_force_holds() -> None:
    assert shown(judged(scan("station_inbound", "V", 24 * 365))) == ("held", "policy.not_in_force", 0)


def test_service_date_is_the_shanghai_day_of_the_deciding_scan() -> None:
    assert judged(scan("station_inbound", "V", 11.9)).service_date == date(2023, 7, 14)
    assert judged(scan("station_inbound", "V", 12)).service_date == date(2023, 7, 15)


def test_refused_keeps_the_station_pending_has_none() -> None:
    assert judged(IN, scan("returned", "far", 1)).station_id == "V"
    assert judged(IN, scan("taken_back", "V", 1)).station_id is None


@pytest.mark.parametrize("text", ["上王村便民服务点", " 上王村 便民服务 点", "上王村便民服务店", "上王村便民服务"])
def test_names_of_one_place(text: str) -> None:
    assert site_of("zto", None, text) == ("zto", "name", "上王村便民服务")


def test_a_code_is_the_site_even_beside_a_name() -> None:
    assert site_of("g", "YQ1", "上王村") == ("g", "code", "yq1")
    assert site_of("g", None, None) is None
