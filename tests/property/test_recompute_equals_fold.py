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

from deploy.demo import records, rules
from services.subsidy.domain.events import Event, read_scan
from services.subsidy.domain.fold import assess, contested_events, versions_that_count
from services.subsidy.domain.policy import Policies
from services.subsidy.domain.policy_file import load
from services.subsidy.domain.said import BY_HAND, Choice, Declared, Ruling, Said, digest_of
from services.subsidy.settings import POLICIES
from shared.calendar import SHANGHAI
from shared.contracts.registry import decode_change
from shared.contracts.scan import Action, decode_scan
from shared.standing import Directory

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
}


@cache
def platform(policy: str) -> tuple[Directory, Policies]:
    return Directory.of(decode_change(json.dumps(CHANGE).encode()).records), Policies([load(FILES[policy].encode())])


@cache
def auditor(policy: str) -> tuple[records.Registry, list[rules.Policy]]:
    document = tomllib.loads(FILES[policy])
    valid = {name: document[name].isoformat() for name in ("valid_from", "valid_to")}
    return records.Registry.of([CHANGE]), [rules.Policy(document | valid | {"status": "active"} | {"uplink": document.get("uplink")})]


@st.composite
def parcels(draw: st.DrawFn, *, leaves: bool = False) -> list[dict[str, Any]]:
    """The log's values of one parcel: few places, few moments, so that ties and contradictions are common. `leaves`: often uplink."""
    numbers = count(1)
    values: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 7))):
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
def rulings(draw: st.DrawFn, values: list[dict[str, Any]], policy: str, declared: records.Declared | None = None) -> list[Ruling]:
    """What people decide of what the platform holds, by what it says that this is about."""
    made: list[Ruling] = []
    for number in range(draw(st.integers(0, 4))):
        said = Said(tuple(made), row_of(declared))
        events = events_of(values[: draw(st.integers(1, len(values)))] if draw(st.booleans()) else values)
        held = assess("zto", events, *platform(policy), said)
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


def by_platform(values: list[dict[str, Any]], policy: str, said: list[Ruling], declared: records.Declared | None = None) -> tuple[Any, ...]:
    a = assess("zto", events_of(values), *platform(policy), Said(tuple(said), row_of(declared)))
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


def by_auditor(values: list[dict[str, Any]], policy: str, said: list[Ruling], declared: records.Declared | None = None) -> tuple[Any, ...]:
    people = [records.ruling_of(shown(ruling)) for ruling in reversed(said)]
    r = rules.judge("zto", [records.scan_of(v) for v in values], *auditor(policy), people, declared)
    direction = r.direction if r.outcome else None
    return r.outcome, r.reasons, r.net_fen, r.held_fen, r.beneficiary_id, r.station_id, r.township_code, r.service_date, direction


@settings(max_examples=800, deadline=None)
@given(parcels(), st.sampled_from(sorted(FILES)), st.data())
def test_both_say_the_same(values: list[dict[str, Any]], policy: str, data: st.DataObject) -> None:
    assert by_auditor(values, policy, []) == by_platform(values, policy, [])
    said = data.draw(rulings(values, policy))
    assert by_auditor(values, policy, said) == by_platform(values, policy, said)


@settings(max_examples=800, deadline=None)
@given(parcels(leaves=True), st.sampled_from(sorted(FILES)), DECLARED, st.data())
def test_both_say_the_same_of_what_was_declared(
    values: list[dict[str, Any]], policy: str, declared: records.Declared, data: st.DataObject
) -> None:
    assert by_auditor(values, policy, [], declared) == by_platform(values, policy, [], declared)
    said = data.draw(rulings(values, policy, declared))
    assert by_auditor(values, policy, said, declared) == by_platform(values, policy, said, declared)
