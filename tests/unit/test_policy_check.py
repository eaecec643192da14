"""`tongcun policy check`: what is shipped passes, and every kind of mistake has a policy that makes it."""

from pathlib import Path

import pytest

from deploy.policies import check_file
from services.subsidy.domain.policy_check import MAX_ASSIGNMENTS, assignments, check
from services.subsidy.domain.policy_file import load
from services.subsidy.policies import SHIPPED
from services.subsidy.service.policies import PolicyRefused, read_policies

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


@pytest.mark.parametrize("path", [FILE, SHIPPED / "earlier" / "yuanqu-2022.1.toml"])
def test_what_is_shipped_has_nothing_wrong(path: Path) -> None:
    assert list(check_file(path)) == []


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


def test_a_case_about_a_fact_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"policy\.golden\.fact"):
        load(edited('"station.level" = "village"', '"station.level" = "county"').encode())


def test_a_policy_whose_cases_fail_is_never_activated(tmp_path: Path) -> None:
    (tmp_path / "yuanqu-2023.1.toml").write_text(edited("amount_fen = 48\n\n[[golden]]", "amount_fen = 47\n\n[[golden]]"))
    with pytest.raises(PolicyRefused, match=r"policy\.golden\.failed"):
        read_policies(tmp_path)


def test_only_facts_that_are_read_are_tried() -> None:
    assert sum(1 for _ in assignments([load(TEXT.encode())])) == 1024 <= MAX_ASSIGNMENTS
