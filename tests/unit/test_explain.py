"""What officials and villagers read: each outcome in both languages, from the trace that decided it."""

import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from string import Formatter
from typing import Any

import pytest

from services.subsidy.domain import wording
from services.subsidy.domain.events import DECIDING_ACTIONS
from services.subsidy.domain.explain import Lang, Names, Posted, Ruled, text
from services.subsidy.domain.policy import Mode, Policies
from services.subsidy.domain.said import BY_HAND
from services.subsidy.domain.trace import Role, Trace, trace
from services.subsidy.policies import read_directory
from shared.calendar import SHANGHAI
from shared.contracts.registry import IncidentKind, IncidentStatus, Level, OperatingStatus
from shared.contracts.scan import BRANDS
from tests.spec.page import DOWNLINK, Case, read_page

PAGE = read_page(DOWNLINK)
POLICIES = Policies(p for p, _ in read_directory())
CASES = {case.name.split()[0]: case for case in PAGE.cases}
NAMES = Names(PAGE.directory, datetime(2023, 7, 14, tzinfo=SHANGHAI), PAGE.sites)


def traced(name: str) -> Trace:
    case: Case = CASES[name]
    return trace(case.brand, case.events, PAGE.directory, POLICIES)


def told(name: str, lang: Lang, *payouts: Posted) -> str:
    return text(traced(name), NAMES, lang, payouts)


def posted(kind: str, amount_fen: int, day: int, reason: str, seq: int = 0, **of: Any) -> Posted:
    """A reversal takes back the first line unless it says which."""
    moment = datetime(2023, 7, day, 10, tzinfo=SHANGHAI)
    if kind == "reversal":
        seq, of = seq or 1, {"reverses": 0} | of
    return Posted(kind, amount_fen, moment, (reason,), "opr_1", "上王村", date(2023, 7, 14), "yuanqu-2023.1", seq)._replace(**of)


NEAR = {"filed": "rate.village.filed.near", "unfiled": "rate.village.unfiled.near"}


def test_payable_says_which_scan_decided_and_how_much() -> None:
    zh = told("别名移交后", "zh")
    assert "应予补贴 0.36 元（样例费率），付给企业opr_1，计入 2023-07-15" in zh
    assert "依据的扫描：2023-07-15 00:00:00，新城镇站清南村，到站入库（中通）" in zh
    assert "站点当时：村级站点，营业中，未就中通备案" in zh
    assert "1. 下行快件给予差异化补贴：符合。依据垣发改字〔2023〕30号 六：“下行快件给予差异化补贴”。" in zh
    assert "计算：档次“村级、未备案、近”（village.unfiled.near）0.36 元；合计 0.36 元。" in zh


def test_payable_in_english_says_the_same() -> None:
    en = told("别名移交后", "en")
    assert "0.36 yuan (sample rate) to be paid to 企业opr_1, counted on 2023-07-15" in en
    assert "received at the station (ZTO)" in en
    assert "rate “village, not filed, near” (village.unfiled.near) 0.36 yuan; total 0.36 yuan" in en


def test_an_assumption_is_told_as_one() -> None:
    assert "6. 站点当时正常营业：符合。项目假设，待县发改局确认：" in told("别名移交后", "zh")
    assert "to be confirmed by the county (项目假设，待县发改局确认)" in told("别名移交后", "en")


def test_a_report_shows_what_would_fail_and_changes_nothing() -> None:
    assert "7. 站点已就该品牌办理末端备案：不符合（仅提示，不影响补贴）" in told("别名移交后", "zh")
    results = {s.clause.clause_id: s.result for s in traced("别名移交后").steps}
    assert results["downlink.filed"] == results["downlink.hub_arrived"] == "would_fail"


def test_a_filing_would_have_earned_more() -> None:
    assert "如果2023年7月15日站点已就该品牌有效备案，可多得 8 分，共 0.44 元。" in told("别名移交后", "zh")
    said = "It would have earned 8 fen more, 0.44 yuan in all, had the station's filing for this brand been valid on 15 July 2023."
    assert said in told("别名移交后", "en")
    assert [(a.fact, a.amount_fen, a.difference_fen) for a in traced("别名移交后").alternatives] == [("station.filed", 44, 8)]


def test_a_filed_station_has_no_better_alternative() -> None:
    assert traced("营业时付").alternatives == ()


def test_refused_names_the_clause_and_what_opening_would_have_earned() -> None:
    zh = told("暂停营业不付", "zh")
    assert zh.startswith("结论：不予补贴。未满足：站点当时正常营业。")
    assert "6. 站点当时正常营业：不符合（因此不予补贴）" in zh
    assert "如果2023年7月15日站点正常营业，可多得 44 分，共 0.44 元。" in zh
    assert told("暂停营业不付", "en").startswith("Result: no subsidy. Not met: The station was open at that moment.")


def test_two_failed_clauses_have_no_single_remedy() -> None:
    case = CASES["社区不是农村"]
    assert trace(case.brand, case.events, PAGE.directory, POLICIES).alternatives == ()


def test_a_return_names_the_scan_that_refused() -> None:
    zh = told("退回", "zh")
    assert "快件已退回寄件方" in zh
    assert "相关扫描：2023-07-14 09:12:00 到站入库，上王村；2023-07-18 09:00:00 已退回" in zh
    assert [s.clause.clause_id for s in traced("退回").steps if s.result == "fail"] == ["downlink.not_returned"]
    assert "如果快件2023年7月14日到站后没有退回或被拒收，可多得 44 分，共 0.44 元。" in zh
    assert {s.result for s in traced("没到过站点").steps} == {"not_applicable"}, "no clause is asked where no station was reached"


def test_pending_names_the_place_that_nobody_claims_and_the_remedy() -> None:
    zh = told("地点未对应", "zh")
    assert zh.startswith("结论：待定，等待补充材料，暂不计补贴。扫描中的站点名称或编码还没有对应到登记站点。")
    assert "2023-07-14 09:12:00 签收，寨里点（地点未对应到站点）" in zh
    assert {s.result for s in traced("地点未对应").steps} == {"unknown"}


def test_held_says_what_is_at_stake_and_what_each_version_comes_to() -> None:
    zh = told("站点不同暂缓", "zh")
    assert zh.startswith("结论：暂缓，等待人工处理；所涉金额 0.48 元（样例费率）。")
    assert "各版本的结果：应补 0.44 元，上王村（2023-07-14）；应补 0.48 元，同善村（2023-07-14）" in zh
    assert "依据的扫描" not in zh, "no scan has decided yet"
    assert {s.role for s in traced("站点不同暂缓").seen} == {Role.CONTESTED}


def test_in_transit_says_that_nothing_is_counted() -> None:
    assert told("在途", "zh").startswith("结论：快件在途")
    assert told("在途", "en").startswith("Result: in transit")


def test_a_reversed_parcel_shows_what_was_posted_and_why_it_went_back() -> None:
    payouts = posted("accrual", 44, 14, NEAR["filed"]), posted("reversal", -44, 18, "parcel.returned")
    zh = told("退回", "zh", *payouts)
    assert "此前记入的补贴已冲回：-0.44 元。原因：快件已退回寄件方。" in zh
    assert "2023-07-14 10:00:00 记入 0.44 元（档次“村级、已备案、近”）；2023-07-18 10:00:00 冲回 -0.44 元（快件已退回寄件方）" in zh
    assert zh.endswith("净额 0.00 元。")
    en = told("退回", "en", *payouts)
    assert "has been reversed: -0.44 yuan. Why: The parcel was returned to its sender." in en
    assert "reversed -0.44 yuan (The parcel was returned to its sender)" in en


def test_a_reversal_by_a_clause_names_what_was_not_met() -> None:
    payouts = posted("accrual", 44, 14, NEAR["filed"]), posted("reversal", -44, 18, "station.not_open")
    assert "已冲回：-0.44 元。原因：未满足：站点当时正常营业。" in told("暂停营业不付", "zh", *payouts)
    assert "Why: Not met: The station was open at that moment." in told("暂停营业不付", "en", *payouts)


def test_a_corrected_parcel_is_not_called_reversed() -> None:
    zh = told("营业时付", "zh", *corrected())
    assert "已冲回" not in zh
    assert zh.endswith("净额 0.44 元。")


def corrected(**new: Any) -> list[Posted]:
    """Posted as of an unfiled station, then anew with what `new` says."""
    again = posted("accrual", 44, 18, NEAR["filed"], 2)._replace(**new)
    return [posted("accrual", 36, 14, NEAR["unfiled"]), posted("reversal", -36, 18, again.reason_codes[0]), again]


@pytest.mark.parametrize(
    ("new", "zh", "en"),
    [
        (
            {},
            "备案状态更正后档次由“村级、未备案、近”改为“村级、已备案、近”",
            "the station's filing was corrected, so the rate changed from “village, not filed, near” to “village, filed, near”",
        ),
        (
            {"station_id": "同善村", "reason_codes": ["rate.village.filed.far"]},
            "决定补贴的站点由上王村改为同善村；档次由“村级、未备案、近”改为“村级、已备案、远”",
            "the station that decides changed from 上王村 to 同善村; "
            "the rate changed from “village, not filed, near” to “village, filed, far”",
        ),
        (
            {"service_date": date(2023, 7, 13), "reason_codes": [NEAR["unfiled"]], "amount_fen": 36},
            "计入日期由 2023-07-14 改为 2023-07-13",
            "the day it counts on changed from 2023-07-14 to 2023-07-13",
        ),
        (
            {"beneficiary_id": "opr_9", "reason_codes": [NEAR["unfiled"]], "amount_fen": 36},
            "收款企业由企业opr_1改为opr_9",
            "the operator to be paid changed from 企业opr_1 to opr_9",
        ),
        (
            {"reason_codes": [NEAR["unfiled"]]},
            "适用的补贴政策更新后金额由 0.36 元改为 0.44 元",
            "another policy applies, so the amount changed from 0.36 to 0.44 yuan",
        ),
    ],
)
def test_a_correction_says_what_changed(new: dict[str, Any], zh: str, en: str) -> None:
    assert f"冲回 -0.36 元（{zh}）" in told("营业时付", "zh", *corrected(**new))
    assert f"reversed -0.36 yuan ({en})" in told("营业时付", "en", *corrected(**new))


CODE = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("reason", sorted(wording.REASONS["zh"]) + sorted(c.reason_code for p in POLICIES.versions for c in p.clauses))
def test_no_code_stands_for_a_word(reason: str, lang: Lang) -> None:
    lines = told("退回", lang, posted("accrual", 44, 14, NEAR["filed"]), posted("reversal", -44, 18, reason)).splitlines()
    assert not [line for line in lines if CODE.search(line)]


@pytest.mark.parametrize("name", CASES)
def test_a_rate_stands_as_code_in_the_arithmetic_only(name: str) -> None:
    for lang, arithmetic in (("zh", "计算："), ("en", "Arithmetic:")):
        lines = text(traced(name), NAMES, lang).splitlines()  # type: ignore[arg-type]
        assert not [line for line in lines if CODE.search(line) and not line.startswith(arithmetic)]


# roles of evidence


def roles(name: str) -> list[tuple[str, str]]:
    return [(s.event.action, s.role) for s in traced(name).seen]


def test_the_same_scan_by_other_senders_corroborates() -> None:
    seen = traced("三方来源只付一次").seen
    assert [s.role for s in seen] == [Role.DECIDING, Role.CORROBORATING, Role.CORROBORATING]
    assert [s.corroborates for s in seen] == [None, seen[0].event.event_id, seen[0].event.event_id]


def test_a_sender_that_repeats_itself_corroborates_nothing() -> None:
    case = CASES["营业时付"]
    (event,) = case.events
    again = event._replace(event_id=b"again".rjust(16), scanned_at=event.scanned_at + timedelta(minutes=5))
    seen = trace(case.brand, [event, again], PAGE.directory, POLICIES).seen
    assert [s.role for s in seen] == [Role.DECIDING, Role.SUPPORTING]


def test_retracted_voided_and_unread_scans_are_told_apart() -> None:
    assert roles("按编号撤销") == [("station_inbound", "retracted"), ("retracted", "supporting")]
    assert roles("取回后再入库") == [("station_inbound", "ignored"), ("taken_back", "supporting"), ("station_inbound", "deciding")]
    assert roles("在途") == [("arrived", "supporting"), ("out_for_delivery", "ignored"), ("delivery_failed", "ignored")]


def test_an_older_reading_is_ignored_beside_the_one_that_decides() -> None:
    assert roles("新码表读出入库") == [("unknown", "ignored"), ("station_inbound", "deciding")]


def test_a_contradiction_without_consequence_still_shows_what_decided() -> None:
    assert roles("结果一致照付") == [("station_inbound", "deciding"), ("station_inbound", "contested")]


# facts and their sources


def test_each_fact_names_the_record_that_it_was_read_from() -> None:
    facts = {f.name: (f.value, f.source_type, f.source_id) for step in traced("经县统仓同价").steps for f in step.facts}
    assert facts == {
        "parcel.direction": ("downlink", "parcel", None),
        "station.rural": (True, "division", "140827100200"),
        "station.operating_status": ("open", "station", "上王村"),
        "station.filed": (True, "filing", "fil_1"),
        "parcel.hub_arrived": (True, "event", "00000000-0000-0000-0000-000000000000"),
        "parcel.returned": ("none", "parcel", None),
        "parcel.final_receipt": (False, "parcel", None),
    }


def test_a_return_and_a_receipt_name_their_scan() -> None:
    facts = {f.name: (f.value, f.source_type) for step in traced("签收后又拒收").steps for f in step.facts}
    assert facts["parcel.returned"] == ("refused", "event")
    assert facts["parcel.final_receipt"] == (True, "event")


# wording


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


@pytest.mark.parametrize(
    "table", [wording.ACTIONS, wording.BRANDS, wording.REASONS, wording.LEVELS, wording.STATUSES, wording.RESULTS, wording.ALTERNATIVES,
              wording.SENTENCES, wording.OUTCOMES, wording.TIERS, wording.KINDS, wording.INCIDENT_KINDS, wording.INCIDENT_STATUSES,
              wording.INCIDENT_ABOUT]
)  # fmt: skip
def test_chinese_and_english_have_the_same_words(table: dict[str, dict[str, str]]) -> None:
    assert table["zh"].keys() == table["en"].keys()
    assert [k for k in table["zh"] if fields(table["zh"][k]) != fields(table["en"][k])] == []


def test_every_value_that_can_occur_has_its_word() -> None:
    zh = wording
    assert set(BRANDS) == set(zh.BRANDS["zh"])
    assert set(zh.ACTIONS["zh"]) >= DECIDING_ACTIONS
    assert set(zh.STATUSES["zh"]) == set(OperatingStatus)
    assert (set(zh.INCIDENT_KINDS["zh"]), set(zh.INCIDENT_STATUSES["zh"])) == (set(IncidentKind), set(IncidentStatus))
    assert set(zh.LEVELS["zh"]) == set(Level) - {Level.COUNTY_HUB}
    told_by_clauses = {c.reason_code for p in POLICIES.versions for c in p.clauses}
    told_by_tiers = {f"rate.{t.rate_id}" for p in POLICIES.versions for t in p.tiers}
    on_the_page = {code for case in PAGE.cases for code in case.reason_codes}
    assert on_the_page - told_by_clauses - told_by_tiers <= set(zh.REASONS["zh"])
    assert {"policy.no_rate", "hold.confirmed", *BY_HAND, *BY_CLOSING} <= set(zh.REASONS["zh"])


BY_CLOSING = ["ceiling.average", "cap.annual", "budget.exhausted", "budget.awaiting", "budget.available", "vesting.not_met"]


def capped() -> list[Posted]:
    return [posted("accrual", 44, 14, NEAR["filed"]), posted("cap", -3, 31, "ceiling.average", 1, adjusts=0)]


def test_what_a_closing_took_is_part_of_the_arithmetic() -> None:
    zh, en = told("营业时付", "zh", *capped()), told("营业时付", "en", *capped())
    assert zh.startswith("结论：应予补贴 0.41 元")
    assert "封顶（当月平均每件超过政策上限，超出部分不付）-0.03 元；合计 0.41 元。" in zh
    assert "capped (The month's average per parcel is above the policy's ceiling) -0.03 yuan; total 0.41 yuan." in en


def test_what_a_closing_took_goes_with_its_line() -> None:
    taken = posted("reversal", -44, 18, "parcel.returned", 2), posted("reversal", 3, 18, "parcel.returned", 3, reverses=1, adjusts=0)
    zh = told("退回", "zh", *capped(), *taken)
    assert "此前记入的补贴已冲回：-0.41 元。原因：快件已退回寄件方。" in zh
    assert "冲回 0.03 元（封顶随原补贴一并冲回）" in zh
    assert zh.endswith("净额 0.00 元。")


# holds


def ruled(word: str, reason_code: str) -> Ruled:
    return Ruled(word, reason_code, "li", datetime(2023, 8, 1, 10, tzinfo=SHANGHAI), "已核对")


def test_a_hold_says_what_a_release_would_give() -> None:
    assert "解除暂缓后：应补 0.48 元，同善村（2023-07-15）。" in told("转其他快递", "zh")
    assert "Once the hold is released: payable 0.48 yuan, 同善村 (2023-07-15)." in told("转其他快递", "en")


def test_a_decision_says_who_when_what_and_why() -> None:
    rulings = [ruled("release", "transfer.unlinked")]
    zh = text(traced("转其他快递"), NAMES, "zh", (), rulings)
    assert "人工处理：2023-08-01 10:00:00 li 解除暂缓（快件转给了其他快递企业，两张运单尚未关联），理由：已核对。" in zh
    en = text(traced("转其他快递"), NAMES, "en", (), rulings)
    assert "2023-08-01 10:00:00 li released the hold (The parcel went on with another courier" in en


def test_a_clause_that_holds_says_so_and_what_would_have_spared_it() -> None:
    (policy,) = POLICIES.versions
    holding = Policies([replace(policy, clauses=tuple(replace(c, mode=Mode.HOLD) if c.mode is Mode.REPORT else c for c in policy.clauses))])
    case = CASES["经县统仓同价"]
    held = trace(case.brand, case.events, PAGE.directory, holding)
    zh, en = text(held, NAMES, "zh"), text(held, NAMES, "en")
    assert zh.startswith("结论：暂缓，等待人工处理；所涉金额 0.44 元（样例费率）。未满足：有收件人取件或签收的记录。")
    assert "9. 有收件人取件或签收的记录：不符合（因此暂缓，由人工处理）" in zh
    assert "如果快件2023年7月14日到站后有收件人取件或签收的记录，0.44 元无须人工处理即应补。" in zh
    assert "0.44 yuan would be payable without anybody's decision, had the addressee's own receipt been known" in en
