"""incidents.md, row by row: the fold, its explanation and the second implementation, under the example of docs/policies.md."""

import pytest

from services.subsidy.domain.explain import Names, text
from services.subsidy.domain.fold import assess
from services.subsidy.domain.incidents import with_incidents
from services.subsidy.domain.policy import Policies
from services.subsidy.domain.policy_file import load
from services.subsidy.domain.said import NOTHING
from services.subsidy.domain.trace import trace
from services.subsidy.policies import read_directory
from shared.contracts.registry import IncidentKind, IncidentStatus
from shared.identity import parcel_key
from tests import incident_support
from tests.property.fold_naive import naive_assess

from .page import DOWNLINK, INCIDENTS, WAYBILL, Case, expected, read_page, shown

PAGE = read_page(INCIDENTS, DOWNLINK)
SHIPPED = Policies(p for p, _ in read_directory())
POLICIES = Policies([load(incident_support.policy_text().encode())])
every_case = pytest.mark.parametrize("case", PAGE.cases, ids=lambda c: "".join(x for x in f"{c.section}: {c.name}" if x.isascii()).strip())


@every_case
def test_comes_to_what_the_page_says(case: Case) -> None:
    policies, directory = case.policies(POLICIES), PAGE.registry(case)
    a = assess(case.brand, case.events, directory, policies, case.said(directory, policies))
    assert shown(a.outcome, a.reason_codes, a.net_fen, a.held_fen, a.station_id, a.service_date) == expected(case)


@every_case
def test_the_second_implementation_reads_the_page_alike(case: Case) -> None:
    policies, directory = case.policies(POLICIES), PAGE.registry(case)
    n = naive_assess(case.brand, case.events, directory, policies, case.said(directory, policies))
    assert shown(n.outcome, n.reason_codes, n.net_fen, n.held_fen, n.station_id, n.service_date) == expected(case)


@every_case
def test_is_explained_in_both_languages(case: Case) -> None:
    policies, directory = case.policies(POLICIES), PAGE.registry(case)
    traced = trace(case.brand, case.events, directory, policies, case.said(directory, policies))
    names = Names(directory, case.events[0].scanned_at, PAGE.sites)
    zh, en = text(traced, names, "zh"), text(traced, names, "en")
    assert sum(line.amount_fen for line in traced.arithmetic) == traced.assessment.net_fen
    assert len(zh.splitlines()) == len(en.splitlines())
    assert "{" not in zh + en
    if any(code.startswith("incident.") for code in case.reason_codes):
        assert "服务质量问题：inc_" in zh
        assert "Incidents: inc_" in en


@every_case
def test_without_the_option_no_incident_counts(case: Case) -> None:
    """The shipped policy comes to the same with incidents as without, and its decisions are the same, to their ids."""
    key = parcel_key(case.brand, WAYBILL)
    said = with_incidents(NOTHING, key, PAGE.registry(case), SHIPPED)
    assert said == NOTHING
    assert assess(case.brand, case.events, PAGE.registry(case), SHIPPED, said) == assess(case.brand, case.events, PAGE.directory, SHIPPED)


def test_the_page_has_every_kind_and_status() -> None:
    told = [i for case in PAGE.cases for i in case.incidents]
    assert {i.kind for i in told} == set(IncidentKind)
    assert {s.status for i in told for s in i.segments} == set(IncidentStatus)
