"""The rules exist twice, in services/subsidy/domain and in deploy/demo/rules.py, written apart: on any parcel they must say the same."""

import json
import tomllib
from datetime import date, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.demo import incident_rules, records, rules
from services.subsidy.domain.events import Event, read_scan
from services.subsidy.domain.fold import assess, contested_events, versions_that_count
from services.subsidy.domain.incidents import with_incidents
from services.subsidy.domain.policy import Policies
from services.subsidy.domain.policy_file import load
from services.subsidy.domain.said import BY_HAND, Choice, Declared, Ruling, Said, digest_of
from services.subsidy.settings import POLICIES
from shared.calendar import SHANGHAI
from shared.contracts.registry import IncidentKind, decode_change
from shared.contracts.scan import Action, decode_scan
from shared.identity import parcel_key
from shared.standing import Directory
from tests import incident_support

FILE = POLICIES / "yuanqu-2023.1.toml"
SINCE, MIDDLE = "2023-01-01T00:00:00+08:00", "2023-07-14T15:00:00+08:00"
VILLAGE, TOWN, COMMUNITY = "140827101200", "140827101000", "140827400001"
SITES = ("远村", "近村", "关村", "社区", "镇上", "县仓", "无人认领", None)  # the last but one is mapped to nothing, null names no place
FEEDS = ("one", "two")
ACTIONS = [*(str(a) for a in Action), "a word of tomorrow"]

pytestmark = pytest.mark.slow  # its examples are many, and both sides compute each


def dated(**fields: Any) -> dict[str, Any]:
    return {"valid_from": SINCE, "valid_to": None} | fields


def division(code: str, kind: str) -> dict[str, Any]:
    segment = dated(name=code, name_en=code, kind=kind, parent_code=None, edition=2023)
    return {"type": "division", "version": 1, "code": code, "segments": [segment]}


def station(name: str, level: str, code: str, *, changes: dict[str, Any] | None = None, filed: str | None = None) -> dict[str, Any]:
    """Open and run by `opr_1`; `changes` hold from MIDDLE on; `filed` from then on, or from the beginning."""
    segment = {
        "name": name,
        "division_code": code,
        "township_code": None if level == "county_hub" else TOWN,
        "operator_id": "opr_1",
        "brands": ["zto"],
        "operating_status": "open",
        "lat": None,
        "lng": None,
    }
    segments = [dated(**segment)]
    if changes:
        segments = [dated(**segment) | {"valid_to": MIDDLE}, dated(**segment) | {"valid_from": MIDDLE} | changes]
    filing = {
        "filing_id": f"fil_{name}",
        "filer_id": "opr_1",
        "covers_brands": ["zto"],
        "authority": "a",
        "opened_on": "2023-01-01",
        "submitted_at": None,
        "decided_at": None,
        "segments": [{"valid_from": filed, "valid_to": None, "status": "filed", "receipt_no": "1"}],
    }
    return {
        "type": "station",
        "version": 1,
        "station_id": f"stn_{name}",
        "level": level,
        "segments": segments,
        "aliases": [dated(alias_id=f"als_{name}", namespace="zto", site_code=None, site_name=name)],
        "filings": [filing] if filed else [],
    }


def merchant(merchant_id: str, *, registered_on: str = "2021-04-06", later: dict[str, Any] | None = None) -> dict[str, Any]:
    """Approved, with one shop that was seen and one that was not; `later` holds from MIDDLE on."""
    segment = dated(
        name="某果业", kind="enterprise", registered_on=registered_on, division_code=TOWN, licence_no=None,
        qualification="approved", reason=None,
        shops=[{"platform": "淘宝", "shop": "a", "approved": True}, {"platform": "京东", "shop": "b", "approved": False}],
    )  # fmt: skip
    segments = [segment | {"valid_to": MIDDLE}, segment | {"valid_from": MIDDLE} | later] if later else [segment]
    return {"type": "merchant", "version": 1, "merchant_id": merchant_id, "segments": segments, "sales": []}


DECLARED = st.builds(
    records.Declared,
    merchant_id=st.sampled_from(["mch_1", "mch_1", "mch_2", "mch_3", "mch_nobody"]),
    platform=st.sampled_from(["淘宝", "淘宝", "京东", "Ｔ 某商城"]),
    order_no=st.just("ORD-1"),
    product=st.sampled_from(["山地苹果 5 斤", "核 桃", "手机壳"]),
    destination=st.sampled_from(["浙江省杭州市", "330100 杭州", "山西省垣曲县", "垣曲历山", "140827101000"]),
    freight_fen=st.sampled_from([1, 85, 99, 100, 101, 320]),
)

CHANGE = {
    "v": 1,
    "recorded_at": SINCE,
    "actor": "system",
    "reason": None,
    "records": [
        division(VILLAGE, "village"),
        division(TOWN, "town"),
        division(COMMUNITY, "community"),
        station("远村", "village", VILLAGE, filed=SINCE),
        station("近村", "village", VILLAGE, changes={"operator_id": None}, filed=MIDDLE),
        station("关村", "village", VILLAGE, changes={"operating_status": "closed"}),
        station("社区", "village", COMMUNITY),
        station("镇上", "township", TOWN),
        station("县仓", "county_hub", TOWN),
        division("140827000000", "county")
        | {"segments": [dated(name="垣曲县", name_en="Y", kind="county", parent_code=None, edition=2023)]},
        merchant("mch_1"),
        merchant("mch_2", registered_on="2023-06-01"),
        merchant("mch_3", later={"qualification": "withdrawn", "shops": []}),
    ],
}


TEXT = FILE.read_text(encoding="utf-8")
FILES = {  # the shipped file, and what next year's may say
    "as shipped": TEXT,
    "strict": TEXT.replace('mode = "report"', 'mode = "require"'),
    "holds": TEXT.replace('mode = "report"', 'mode = "hold"').replace("parcel.returned != 'returned'", "parcel.returned != 'none'"),
    "lenient": TEXT.replace('mode = "require"', 'mode = "report"'),
    "no uplink": TEXT[: TEXT.index("[uplink]")]
    + TEXT[TEXT.index("# --- cases that travel") : TEXT.index("[[golden]]")]
    + TEXT[TEXT.index("# --- distance") :],
    # Not as a county would write it: every status and several kinds, of both sorts of parcels.
    "incidents": incident_support.policy_text()
    + incident_support.clause(
        "uplink", "hold", "!('open' in incident.false_data || 'closed' in station_incident.illegal_charge)", "uplink.incident"
    )
    + incident_support.clause("uplink", "require", "!('rectified' in incident.illegal_charge)", "uplink.charged")
    + incident_support.clause("downlink", "hold", "size(station_incident.illegal_charge) < 2", "downlink.charged"),
}
Incidents = list[dict[str, Any]]
PATHS = [
    path.split()
    for path in (
        "open", "open investigating", "open substantiated", "open substantiated rectified", "open substantiated rectified closed",
        "open unfounded", "open unfounded closed", "open unfounded closed investigating", "open unfounded investigating",
    )
]  # fmt: skip


@cache
def of_platform(policy: str) -> tuple[Any, Policies]:
    return decode_change(json.dumps(CHANGE).encode()).records, Policies([load(FILES[policy].encode())])


def platform(policy: str, incidents: Incidents) -> tuple[Directory, Policies]:
    known, policies = of_platform(policy)
    more = decode_change(json.dumps(CHANGE | {"records": incidents}).encode()).records
    return Directory.of([*known, *more]), policies


@cache
def of_auditor(policy: str) -> list[rules.Policy]:
    document = tomllib.loads(FILES[policy])
    valid = {name: document[name].isoformat() for name in ("valid_from", "valid_to")}
    return [rules.Policy(document | valid | {"status": "active"} | {"uplink": document.get("uplink")})]


@st.composite
def incidents(draw: st.DrawFn) -> Incidents:
    """Of few stations and few kinds, about the moments of the scans; some name the parcel, or another."""
    made: Incidents = []
    for number in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        path = draw(st.sampled_from(PATHS))
        starts = sorted(draw(st.sets(st.sampled_from([-300 * 24, -1, 0, 1, 2, 3, 11, 500]), min_size=len(path), max_size=len(path))))
        moments = [(datetime(2023, 7, 14, 12, tzinfo=SHANGHAI) + timedelta(hours=h)).isoformat() for h in starts]
        segments = [
            {"valid_from": a, "valid_to": b, "status": status, "due_on": None, "note": None}
            for a, b, status in zip(moments, [*moments[1:], None], path, strict=True)
        ]
        named = draw(st.sampled_from([[], ["731"], ["731", "732"], ["732"]]))
        made.append(
            {
                "type": "incident",
                "version": len(segments),
                "incident_id": f"inc_{number + 8}",
                "kind": draw(st.sampled_from([IncidentKind.FALSE_DATA, IncidentKind.FALSE_DATA, IncidentKind.ILLEGAL_CHARGE])),
                "source": "finding",
                "station_id": draw(st.sampled_from([None, "stn_远村", "stn_近村", "stn_镇上", "stn_县仓"])),
                "operator_id": None,
                "parcels": [{"brand": "zto", "waybill_no": waybill} for waybill in named],
                "summary": "-",
                "segments": segments,
            }
        )
    return made


@st.composite
def parcels(draw: st.DrawFn, *, leaves: bool = False, most: int = 7) -> list[dict[str, Any]]:
    """The log's values of one parcel: few places, few moments, so that ties and contradictions are common. `leaves`: often uplink."""
    numbers = count(1)
    values: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, most))):
        again = draw(st.booleans()) and values and draw(st.integers(0, 3)) == 0
        event_id = (
            draw(st.sampled_from(values))["event_id"]
            if again
            else f"00000000-0000-8000-8000-{draw(st.integers(0, 9)):06d}{next(numbers):06d}"
        )
        hours = draw(st.sampled_from([0, 0, 1, 2, 3, 3, 10, 24 * 170, 24 * 181, -24 * 300]))
        retracts = draw(st.sampled_from([None] * 8 + [{"previous_action": draw(st.sampled_from(ACTIONS))}, "id"]))
        if retracts == "id":
            retracts = {"event_id": draw(st.sampled_from(values))["event_id"]} if values else None
        values.append(
            {
                "v": 1,
                "event_id": event_id,
                "content": f"{draw(st.integers(0, 3)):064x}" if again else f"{0:064x}",
                "verdict": "accepted",
                "brand": "zto",
                "waybill_no": "731",
                "raw_action": "X",
                "scanned_at": (datetime(2023, 7, 14, 12, tzinfo=SHANGHAI) + timedelta(hours=hours)).isoformat(),
                "site_namespace": "zto",
                "site_code": None,
                "site_name": draw(st.sampled_from(SITES)),
                "origin": draw(st.sampled_from([None] * (1 if leaves else 9) + ["140827101000"])),
                "destination": draw(st.sampled_from([None] * 6 + ["140827101000", "330100000000"])),
                "goods": None,
                "order_no": draw(st.sampled_from([None] * 6 + ["ORD-1", "ORD-2"])),
                "weight_g": None,
                "retracts": retracts,
                "action": draw(
                    st.sampled_from(ACTIONS + (["picked_up"] * 9 if leaves else ["station_inbound", "signed", "station_pickup"] * 6))
                ),
                "mapping_version": draw(st.integers(1, 2)),
                "feed": draw(st.sampled_from(FEEDS)),
                "receipt_id": "rcp_1",
                "received_at": SINCE,
                "verified": "none",
                "payload_sha256": "00" * 32,
            }
        )
    unique = {(v["event_id"], v["content"], v["mapping_version"]): v for v in values}  # the key of evidence
    return list(unique.values())


def events_of(values: list[dict[str, Any]]) -> list[Event]:
    return [read_scan(decode_scan(json.dumps(v).encode())) for v in values]


def row_of(d: records.Declared | None) -> Declared | None:
    if d is None:
        return None
    day = date(2023, 7, 14)
    return Declared("dec_1", 2, d.merchant_id, d.platform, d.order_no, d.product, d.destination, d.freight_fen, day, "zto", "731")


@st.composite
def rulings(
    draw: st.DrawFn, values: list[dict[str, Any]], policy: str, told: Incidents, declared: records.Declared | None = None
) -> list[Ruling]:
    """What people decide of what the platform holds, by what it says that this is about; some of it before all was told."""
    made: list[Ruling] = []
    for number in range(draw(st.integers(0, 4))):
        directory, policies = platform(policy, told[: draw(st.integers(0, len(told)))] if draw(st.booleans()) else told)
        said = said_of(made, declared, directory, policies)
        events = events_of(values[: draw(st.integers(1, len(values)))] if draw(st.booleans()) else values)
        held = assess("zto", events, directory, policies, said)
        if held.subject is None or draw(st.integers(0, 4)) == 0:
            made.append(Ruling(number, "place", draw(st.sampled_from(BY_HAND)), None, {}))
            continue
        word = draw(st.sampled_from(["release", "release", "confirm"]))
        contested = contested_events(versions_that_count(events, said)) if word == "release" else {}
        choices = {e: Choice(draw(st.sampled_from(contents)), digest_of(contents)) for e, contents in contested.items()}
        made.append(Ruling(number, word, held.reason_codes[0], held.subject, choices))
    return made


def shown(ruling: Ruling) -> dict[str, Any]:
    """As `GET /v1/rulings` lists it."""
    choices = [{"event_id": str(UUID(bytes=e)), "content": c.content.hex(), "among": c.among.hex()} for e, c in ruling.choices.items()]
    subject = ruling.subject.hex() if ruling.subject else None
    plain = {"revision": ruling.number, "decision": ruling.decision, "reason_code": ruling.reason_code}
    return plain | {"subject": subject, "choices": choices}


def said_of(rulings: list[Ruling], declared: records.Declared | None, directory: Directory, policies: Policies) -> Said:
    return with_incidents(Said(tuple(rulings), row_of(declared)), parcel_key("zto", "731"), directory, policies)


def by_platform(
    values: list[dict[str, Any]], policy: str, told: Incidents, said: list[Ruling], declared: records.Declared | None = None
) -> tuple[Any, ...]:
    known = platform(policy, told)
    a = assess("zto", events_of(values), *known, said_of(said, declared, *known))
    return (
        a.outcome and str(a.outcome),
        a.reason_codes,
        a.net_fen,
        a.held_fen,
        a.beneficiary_id,
        a.station_id,
        a.township_code,
        a.service_date,
        a.direction if a.outcome else None,  # the rules give a parcel in transit none
    )


def by_auditor(
    values: list[dict[str, Any]], policy: str, told: Incidents, said: list[Ruling], declared: records.Declared | None = None
) -> tuple[Any, ...]:
    people = [records.ruling_of(shown(ruling)) for ruling in reversed(said)]
    registry = records.Registry.of([CHANGE, {"records": told}])
    naming = incident_rules.by_parcel(registry).get(("zto", "731"), ())
    r = rules.judge("zto", [records.scan_of(v) for v in values], registry, of_auditor(policy), people, declared, naming)
    direction = r.direction if r.outcome else None
    return r.outcome, r.reasons, r.net_fen, r.held_fen, r.beneficiary_id, r.station_id, r.township_code, r.service_date, direction


POLICY = st.sampled_from(sorted(FILES))


@settings(max_examples=800, deadline=None)
@given(parcels(), POLICY, incidents(), st.data())
def test_both_say_the_same(values: list[dict[str, Any]], policy: str, told: Incidents, data: st.DataObject) -> None:
    assert by_auditor(values, policy, told, []) == by_platform(values, policy, told, [])
    said = data.draw(rulings(values, policy, told))
    assert by_auditor(values, policy, told, said) == by_platform(values, policy, told, said)


@settings(max_examples=800, deadline=None)
@given(parcels(leaves=True), POLICY, incidents(), DECLARED, st.data())
def test_both_say_the_same_of_what_was_declared(
    values: list[dict[str, Any]], policy: str, told: Incidents, declared: records.Declared, data: st.DataObject
) -> None:
    assert by_auditor(values, policy, told, [], declared) == by_platform(values, policy, told, [], declared)
    said = data.draw(rulings(values, policy, told, declared))
    assert by_auditor(values, policy, told, said, declared) == by_platform(values, policy, told, said, declared)


@settings(max_examples=800, deadline=None)
@given(parcels(most=2), st.sampled_from(["远村", "近村", "镇上"]), st.integers(0, 3), incidents(), st.data())
def test_both_say_the_same_of_what_incidents_hold(
    values: list[dict[str, Any]], site: str, hours: int, told: Incidents, data: st.DataObject
) -> None:
    """Parcels that would mostly be paid."""
    at = (datetime(2023, 7, 14, 12, tzinfo=SHANGHAI) + timedelta(hours=hours)).isoformat()
    plain = {"event_id": "00000000-0000-8000-8000-999999999999", "action": "station_inbound", "retracts": None, "origin": None}
    values = [*values, values[0] | plain | {"scanned_at": at, "site_name": site}]
    assert by_auditor(values, "incidents", told, []) == by_platform(values, "incidents", told, [])
    said = data.draw(rulings(values, "incidents", told))
    assert by_auditor(values, "incidents", told, said) == by_platform(values, "incidents", told, said)


@settings(max_examples=200, deadline=None)
@given(parcels(), incidents(), st.sampled_from(sorted(FILES.keys() - {"incidents"})))
def test_a_policy_that_reads_no_incident_decides_as_if_there_were_none(values: list[dict[str, Any]], told: Incidents, policy: str) -> None:
    assert by_platform(values, policy, told, []) == by_platform(values, policy, [], [])
