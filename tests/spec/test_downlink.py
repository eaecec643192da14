"""downlink.md, row by row: what officials read there is what the fold, its explanation and the second implementation do."""

import pytest

from services.subsidy.domain.explain import Names, text
from services.subsidy.domain.fold import assess
from services.subsidy.domain.policy import Policies
from services.subsidy.domain.said import BY_HAND, Word
from services.subsidy.domain.trace import trace
from services.subsidy.policies import read_directory
from tests.property.fold_naive import naive_assess

from .page import DOWNLINK, Case, expected, read_page, shown

PAGE = read_page(DOWNLINK)
POLICIES = Policies(p for p, _ in read_directory())
every_case = pytest.mark.parametrize("case", PAGE.cases, ids=lambda c: "".join(x for x in f"{c.section}: {c.name}" if x.isascii()).strip())


@every_case
def test_comes_to_what_the_page_says(case: Case) -> None:
    policies = case.policies(POLICIES)
    a = assess(case.brand, case.events, PAGE.directory, policies, case.said(PAGE.directory, policies))
    assert shown(a.outcome, a.reason_codes, a.net_fen, a.held_fen, a.station_id, a.service_date) == expected(case)


@every_case
def test_the_second_implementation_reads_the_page_alike(case: Case) -> None:
    policies = case.policies(POLICIES)
    n = naive_assess(case.brand, case.events, PAGE.directory, policies, case.said(PAGE.directory, policies))
    assert shown(n.outcome, n.reason_codes, n.net_fen, n.held_fen, n.station_id, n.service_date) == expected(case)


@every_case
def test_is_explained_in_both_languages(case: Case) -> None:
    policies = case.policies(POLICIES)
    traced = trace(case.brand, case.events, PAGE.directory, policies, case.said(PAGE.directory, policies))
    names = Names(PAGE.directory, case.events[0].scanned_at, PAGE.sites)
    zh, en = text(traced, names, "zh"), text(traced, names, "en")
    assert sum(line.amount_fen for line in traced.arithmetic) == traced.assessment.net_fen
    assert len(zh.splitlines()) == len(en.splitlines())
    stated = {"payable": case.paid, "held": case.held}.get(case.outcome)
    assert stated is None or (f"{stated} 元" in zh.splitlines()[0] and f"{stated} yuan" in en.splitlines()[0])
    assert case.station is None or case.station in zh
    assert "{" not in zh + en


def test_the_page_has_a_case_for_every_tier_clause_hold_and_decision() -> None:
    (policy,) = POLICIES.versions
    told = {code for case in PAGE.cases for code in case.reason_codes}
    assert {f"rate.{tier.rate_id}" for tier in policy.tiers} <= told
    # Uplink is refused a clause of its own before any downlink clause is asked, so parcel.not_downlink can never be told.
    assert {c.reason_code for c in policy.clauses_of("downlink")} - {"parcel.not_downlink"} <= told
    assert {*BY_HAND, "hold.confirmed", "evidence.contested", "waybill.reused", "transfer.unlinked", "policy.not_in_force"} <= told
    assert {d.word for case in PAGE.cases for d in case.decisions} == set(Word)
    assert {mode for case in PAGE.cases for _, mode in case.modes} == {"require", "hold", "report"}
    assert len(PAGE.cases) >= 80
