"""`tongcun policy check`: what is shipped passes, and every kind of mistake has a policy that makes it."""

import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.policies import check_file
from services.subsidy.domain.conditions import MAX_ASSIGNMENTS
from services.subsidy.domain.facts import all_facts
from services.subsidy.domain.policy import REFUSED_ZH, Policies, PolicyError
from services.subsidy.domain.policy_check import assignments, check
from services.subsidy.domain.policy_file import load
from services.subsidy.policies import SHIPPED
from services.subsidy.service.policies import PolicyRefused, read_policies

pytestmark = pytest.mark.slow  # each looks at every combination of the facts
FILE = SHIPPED / "yuanqu-2023.1.toml"
TEXT = FILE.read_text()
EARLIER = load((SHIPPED / "earlier" / "yuanqu-2022.1.toml").read_bytes())
STRICT = SHIPPED / "variants" / "yuanqu-2023-strict.toml"
NOTICE = {"垣发改字〔2023〕30号": (SHIPPED / "sources" / "notice-2023-30.txt").read_text()}
NEAR_TIER = """[[tiers]]
rate_id = "township.unfiled.near"
scheme = "downlink"
when = { level = "township", filed = false, distance = "near" }
amount_fen = 20
"""
TWICE = """[[clauses]]
clause_id = "downlink.not_suspended"
scheme = "downlink"
mode = "require"
condition = "station.operating_status != 'suspended'"
reason_code = "station.suspended"
title = { zh = "站点没有停业", en = "The station was not suspended" }
basis = "assumption"
how = { zh = "假设", en = "Assumed." }

[[tiers]]"""


def found(text: str) -> list[tuple[str, str]]:
    return [(f.code, f.about) for f in check(load(text.encode()), EARLIER, NOTICE)]


def edited(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize("path", [FILE, SHIPPED / "earlier" / "yuanqu-2022.1.toml", SHIPPED / "later" / "yuanqu-2025.1.toml"])
def test_what_is_shipped_has_nothing_wrong(path: Path) -> None:
    assert list(check_file(path)) == []


def test_of_2025_the_uplink_thresholds_are_known_and_no_downlink_rate_is_guessed() -> None:
    policies = Policies([load((SHIPPED / "later" / "yuanqu-2025.1.toml").read_bytes())])
    uplink = policies.uplink_of(2025)
    assert uplink is not None
    assert (uplink.min_parcels, uplink.min_sales_fen, uplink.cap_fen) == (1000, 2_000_000, 100_000_000)
    assert policies.uplink_of(2024) is None
    facts = next(all_facts(level="village", operating_status="open", rural=True, returned="none"))
    assert policies.decide(policies.versions[0], facts).reason_codes == ("policy.no_rate",)


def test_the_strict_variant_is_a_step_back_and_says_so() -> None:
    lines = list(check_file(STRICT))
    assert {line.rpartition("[")[2] for line in lines} == {"policy.step_back.eligibility]", "policy.step_back.average]"}
    assert any("station.not_filed" in line and "不得退坡" in line and "must not step back" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "code", "about"),
    [
        (edited("[[tiers]]", TWICE), "policy.clause.unreachable", "downlink.not_suspended"),
        (edited("mode = \"report\"\ncondition = \"station.filed\"", "mode = \"require\"\ncondition = \"station.filed\""),
         "policy.tier.unreachable", "village.unfiled.far"),
        (edited(NEAR_TIER, ""), "policy.tier.gap", "level = township, filed = false, distance = near"),
        (edited("amount_fen = 48\n\n[[golden]]", "amount_fen = 47\n\n[[golden]]"), "policy.golden.failed",
         "送到偏远村、已备案、正常营业的站点 · delivered to an open, filed station of a far village"),
        (edited('quote = "下行快件给予差异化补贴"', 'quote = "下行快件给予补贴"'), "policy.quote.not_found", "downlink.differentiated"),
        (edited(NEAR_TIER, NEAR_TIER.replace("20", "17")), "policy.step_back.tier", "township.unfiled.near"),
        (edited("mode = \"report\"\ncondition = \"parcel.final_receipt\"", "mode = \"hold\"\ncondition = \"parcel.final_receipt\""),
         "policy.step_back.eligibility", "parcel.no_final_receipt"),
        (edited("limit_fen_per_parcel = 50", "limit_fen_per_parcel = 45"), "policy.step_back.average", "ceiling downlink"),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_is_found(text: str, code: str, about: str) -> None:
    assert (code, about) in found(text)


def test_a_lower_total_on_the_cases_that_travel_with_it_is_a_lower_average() -> None:
    cheaper = edited("amount_fen = 48\n\n[[tiers]]", "amount_fen = 40\n\n[[tiers]]")
    assert ("policy.step_back.average", "golden") in found(cheaper)


def test_what_a_file_may_be_instead_is_one_line(tmp_path: Path) -> None:
    broken, alone = tmp_path / "broken.toml", tmp_path / "alone.toml"
    broken.write_text("policy_version = 1.5")
    alone.write_text(edited('not_below = "yuanqu-2022.1"', 'not_below = "nowhere-1999"').replace("sources/", f"{SHIPPED}/sources/"))
    assert [line.split(": ")[0] for line in check_file(broken)] == ["broken.toml"]
    (missing,) = check_file(tmp_path / "nothing.toml")
    assert "policy.file.unreadable" in missing
    assert any("policy.not_below.unknown" in line for line in check_file(alone))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\x00\xff" * 700_000)
    assert "policy.file.too_large" in next(check_file(binary))


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5_000,
        "a = " + "{b = " * 5_000,
        "a" + ".b" * 60_000 + " = 1",
        "[" + "a." * 20_000 + "b]",
        "x = [\n" * 400,
        "a = 1" + "0" * 5_000,
    ],
    ids=["arrays", "tables", "keys", "headings", "lines", "digits"],
)
def test_a_file_that_is_made_to_cost_is_refused_before_it_does(text: str) -> None:
    tracemalloc.start()
    with pytest.raises(PolicyError, match=r"policy\.file\.(too_deep|syntax)"):
        load(text.encode())
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("source", ["/etc/passwd", "../policy_check.py", "sources/none.txt", "sources\\u0000", "broken.bin", "."])
def test_a_source_that_is_no_text_beside_the_policy_is_a_finding(tmp_path: Path, source: str) -> None:
    (tmp_path / "broken.bin").write_bytes(b"\xff\xfe")
    file = tmp_path / "p.toml"
    file.write_text(edited("sources/notice-2023-30.txt", source))
    assert any("policy.source.unreadable" in line for line in check_file(file))


def test_a_policy_is_compared_with_the_year_before_and_a_ceiling_that_is_new_is_one() -> None:
    before = load(edited('policy_version = "yuanqu-2023.1"', 'policy_version = "other-2023"').encode())
    codes = {f.code for f in check(load(TEXT.encode()), before, {})}
    assert "policy.not_below.same_time" in codes
    unlimited = replace(EARLIER, ceilings=())
    told = [(f.code, f.about) for f in check(load(TEXT.encode()), unlimited, {})]
    assert told == [("policy.step_back.average", "ceiling downlink")]


def test_a_clause_that_always_holds_is_told_as_such() -> None:
    always = TWICE.replace("station.operating_status != 'suspended'", "parcel.direction == 'downlink' && parcel.direction == 'downlink'")
    policy = load(edited("[[tiers]]", always).encode())
    clauses = [
        replace(c, reads=("parcel.direction", "parcel.brand")) if c.clause_id == "downlink.not_suspended" else c for c in policy.clauses
    ]
    assert ("policy.clause.always_met", "downlink.not_suspended") in [
        (f.code, f.about) for f in check(replace(policy, clauses=tuple(clauses)), None, {})
    ]


def test_a_case_about_a_fact_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"policy\.golden\.fact"):
        load(edited('"station.level" = "village"', '"station.level" = "county"').encode())


def test_a_policy_whose_cases_fail_is_never_activated(tmp_path: Path) -> None:
    (tmp_path / "yuanqu-2023.1.toml").write_text(edited("amount_fen = 48\n\n[[golden]]", "amount_fen = 47\n\n[[golden]]"))
    with pytest.raises(PolicyRefused, match=r"policy\.golden\.failed"):
        read_policies(tmp_path)


def test_only_facts_that_are_read_are_tried() -> None:
    assert sum(1 for _ in assignments([load(TEXT.encode())])) == 1024 <= MAX_ASSIGNMENTS


def test_every_refusal_has_its_chinese() -> None:
    """Of the codes that are raised, wherever in the domain; what `check` finds brings its own."""
    sources = [Path(f"services/subsidy/domain/{name}.py").read_text() for name in ("conditions", "policy_file")]
    raised = {code for text in sources for code in re.findall(r'"(policy\.[a-z_.]+)"', text)}
    assert len(raised) > 15
    assert sorted(raised - set(REFUSED_ZH)) == []
    with pytest.raises(PolicyError) as refused:
        load(edited("station.operating_status == 'open'", "station.colour == 'red'").encode())
    assert refused.value.zh == "条件用了不存在的事实"
