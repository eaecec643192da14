"""What incidents say of a parcel, and what a policy file may say about them: the parts of the option by themselves (docs/policies.md)."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from services.subsidy.domain.conditions import compile_condition, one_of_each
from services.subsidy.domain.facts import COUNTING, INCIDENTS, UplinkFacts, all_facts, by_name, context, of_names
from services.subsidy.domain.incidents import behind, found, lasted, status_of
from services.subsidy.domain.policy import Policies, PolicyError, decision_id
from services.subsidy.domain.policy_check import check, failing_cases
from services.subsidy.domain.policy_file import load
from services.subsidy.policies import SHIPPED, read_directory
from shared.identity import parcel_key
from shared.standing import Directory
from tests.incident_support import clause, incident, policy_text

EARLIER = load((SHIPPED / "earlier" / "yuanqu-2022.1.toml").read_bytes())
NOTICE = {"垣发改字〔2023〕30号": (SHIPPED / "sources" / "notice-2023-30.txt").read_text()}


def day(n: int) -> datetime:
    return datetime(2023, 7, n, tzinfo=UTC)


# the registry's side


@pytest.mark.parametrize(
    ("steps", "counts_as"),
    [
        (["open"], "open"),
        (["open", "investigating"], "investigating"),
        (["open", "substantiated", "rectified"], "rectified"),
        (["open", "substantiated", "rectified", "closed"], "closed"),
        (["open", "unfounded"], "unfounded"),
        (["open", "unfounded", "closed"], "unfounded"),
        (["open", "unfounded", "closed", "investigating"], "investigating"),
        (["open", "unfounded", "investigating", "substantiated", "rectified", "closed"], "closed"),
    ],
)
def test_the_latest_step_counts_and_what_was_closed_as_unfounded_is_that(steps: list[str], counts_as: str) -> None:
    assert status_of(incident(*((day(n), step) for n, step in enumerate(steps, 1)))) == counts_as


def test_it_lasts_until_it_ends_and_again_when_it_is_taken_up() -> None:
    of = incident((day(3), "open"), (day(5), "substantiated"), (day(7), "rectified"), (day(9), "closed"), (day(12), "investigating"))
    assert [n for n in range(1, 15) if lasted(of, day(n))] == [3, 4, 5, 6, 7, 8, 12, 13, 14]


def test_a_directory_finds_incidents_by_what_the_newest_snapshot_names() -> None:
    directory = Directory.of([incident((day(1), "open"), waybills=("W2", "W1"), station_id="stn_1", incident_id="inc_9")])
    directory.put(incident((day(2), "open"), waybills=("W1",), incident_id="inc_10"))

    def ids(waybill: str) -> list[str]:
        return [i.incident_id for i in directory.incidents_naming(parcel_key("zto", waybill))]

    assert (ids("W1"), ids("W2"), ids("W3")) == (["inc_10", "inc_9"], ["inc_9"], [])
    directory.put(incident((day(1), "open"), (day(3), "unfounded"), waybills=("W2",), station_id="stn_2", incident_id="inc_9"))
    assert (ids("W1"), ids("W2")) == (["inc_10"], ["inc_9"])
    assert directory.incidents_about("stn_1") == ()
    assert [i.version for i in directory.incidents_about("stn_2")] == [2]


def test_statuses_are_told_once_and_sorted_by_kind_and_what_is_unfounded_is_not() -> None:
    named = [
        incident((day(1), "open"), (day(2), status), incident_id=f"inc_{n}", kind=kind)
        for n, (kind, status) in enumerate([("false_data", "substantiated"), ("false_data", "open"), ("false_data", "open"),
                                            ("illegal_charge", "unfounded"), ("unconsented_receipt", "open")])
    ]  # fmt: skip
    reads = ("incident.illegal_charge", "incident.false_data", "station_incident.false_data")
    directory = Directory.of([incident((day(5), "open"), station_id="stn_1", incident_id="inc_7")])
    assert found(behind(reads, named, "stn_1", day(4), directory)) == (("incident.false_data", ("open", "substantiated")),)
    assert found(behind(reads, [], "stn_1", day(5), directory)) == (("station_incident.false_data", ("open",)),)
    assert found(behind(reads, [], None, day(5), directory)) == ()
    assert len(behind(reads, named, "stn_1", day(5), directory)) == 5, "the unfounded one is told, though it does not count"


# the policy's side


def test_without_the_option_decisions_keep_their_ids() -> None:
    """Those of all facts of one brand and of an uplink parcel, as they were before there was one."""
    uplink = UplinkFacts("uplink", "zto", "none", True, True, "matched", True, True, True, True, True, True)
    digest = sha256(b"".join(decision_id("yuanqu-2023.1", facts) for facts in all_facts(brand="zto")))
    digest.update(decision_id("yuanqu-2023.1", uplink))
    assert digest.hexdigest() == "ebd0ddd6822e36ba530c2879943b04d9ac6eeb8d6ac5cb70317b0f8b3a412660"


def test_no_shipped_policy_reads_an_incident() -> None:
    shipped = [load(path.read_bytes()) for path in SHIPPED.rglob("*.toml")]
    assert len(shipped) >= 4
    assert not any(Policies([policy]).incidents for policy in shipped)
    assert Policies([load(policy_text().encode())]).incidents == {
        "incident.false_data", "incident.illegal_charge", "station_incident.false_data",
    }  # fmt: skip
    assert not Policies(p for p, _ in read_directory()).incidents


def test_facts_by_name_hold_what_there_is_and_conditions_see_the_empty_lists_that_they_read() -> None:
    plain = next(all_facts())
    told = plain._replace(incidents=(("incident.false_data", ("open",)),))
    assert by_name(plain) | {"incident.false_data": ("open",)} == by_name(told)
    assert of_names("downlink", {**dict.fromkeys(INCIDENTS, ()), **by_name(told)}) == told
    seen = context(told, ("incident.false_data", "station_incident.false_data"))
    assert (seen["incident"], seen["station_incident"]) == ({"false_data": ("open",)}, {"false_data": ()})
    assert "incident" not in context(plain)


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("'opne' in incident.false_data", "policy.condition.constant"),
        ("'unfounded' in incident.false_data", "policy.condition.constant"),
        ("'open' in incident.rudeness", "policy.condition.unknown_fact"),
        ("size(incident) > 0", "policy.condition.unknown_fact"),
        ("incident.false_data", "policy.condition.not_bool"),
        ("incident.false_data[0] == 'open'", "policy.condition.type"),
        ("incident.false_data == 'open'", "policy.condition.constant"),
        (" || ".join(f"'open' in {name}" for name in list(INCIDENTS)[:4]), "policy.facts.too_many"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(condition: str, code: str) -> None:
    for scheme in ("downlink", "uplink"):
        with pytest.raises(PolicyError) as refused:
            compile_condition(condition, scheme)
        assert refused.value.code == code


def test_values_that_no_condition_tells_apart_are_tried_once() -> None:
    name = "incident.false_data"
    one = "!('open' in incident.false_data)"
    two = "!('open' in incident.false_data || 'closed' in incident.illegal_charge)"
    three = "'substantiated' in incident.false_data"
    assert one_of_each(name, "downlink", [one]) == ((), ("open",))
    assert one_of_each(name, "downlink", [one, two]) == ((), ("open",))
    assert one_of_each(name, "downlink", [two, three]) == ((), ("open",), ("substantiated",), ("open", "substantiated"))
    assert len(INCIDENTS[name]) == 2 ** len(COUNTING)


@pytest.mark.slow
def test_the_example_has_nothing_wrong_but_that_it_pays_less_where_there_is_an_incident() -> None:
    policy = load(policy_text().encode())
    assert list(failing_cases(policy)) == []
    told = [(f.code, f.about) for f in check(policy, EARLIER, NOTICE)]
    assert told == [
        ("policy.step_back.eligibility", "incident.false_data"),
        ("policy.step_back.eligibility", "incident.open"),
        ("policy.step_back.eligibility", "incident.station"),
        ("policy.step_back.average", "golden"),
    ]
    assert check(policy, None, NOTICE) == []


def test_a_case_names_lists_of_statuses() -> None:
    text = policy_text()
    assert [c.facts["incident.illegal_charge"] for c in load(text.encode()).golden] == [("substantiated",)]
    for wrong in ('["opne"]', '"open"', '["unfounded"]', '["open", "open"]'):
        with pytest.raises(PolicyError, match=r"policy\.golden\.fact") as refused:
            load(text.replace('["substantiated"]', wrong).encode())
        assert "a list of open, investigating, substantiated, rectified, closed" in refused.value.message


def test_a_clause_that_no_incident_can_reach_is_found() -> None:
    dead = clause("downlink", "hold", "!('substantiated' in incident.false_data)", "downlink.again")
    unreachable = [f.about for f in check(load((policy_text() + dead).encode()), None, {}) if f.code == "policy.clause.unreachable"]
    assert unreachable == ["downlink.again"]
