"""The fold is a function of the set of a parcel's events: docs/rules.md, first paragraph, and rules 1 and 2."""

from collections.abc import Sequence
from itertools import groupby, product

from hypothesis import given
from hypothesis import strategies as st

from services.subsidy.domain.events import Event
from services.subsidy.domain.explain import Names, text
from services.subsidy.domain.fold import Assessment, assess
from services.subsidy.domain.policy import Outcome
from services.subsidy.domain.trace import Role, trace

from .fold_naive import naive_assess
from .fold_parcels import ACTIONS, DIRECTORY, MOMENTS, POLICIES, brands, parcels, plain_parcels


def assessed(brand: str, events: Sequence[Event]) -> Assessment:
    return assess(brand, events, DIRECTORY, POLICIES)


@given(brands, parcels(), st.data())
def test_order_repetition_and_batching_change_nothing(brand: str, parcel: list[Event], data: st.DataObject) -> None:
    """A split is a prefix assessed on its own first: what was kept from it (decisions, standings) must not colour the whole."""
    again = data.draw(st.permutations(parcel + data.draw(st.lists(st.sampled_from(parcel), max_size=4))))
    alone = assessed(brand, parcel)
    for end in range(1, len(again)):
        assessed(brand, again[:end])
    assert assessed(brand, again) == alone


def naively(brand: str, parcel: Sequence[Event]) -> tuple[object, ...]:
    n = naive_assess(brand, parcel, DIRECTORY, POLICIES)
    return n.outcome, n.reason_codes, n.net_fen, n.held_fen, n.beneficiary_id, n.station_id, n.township_code, n.service_date


def ours(brand: str, parcel: Sequence[Event]) -> tuple[object, ...]:
    a = assessed(brand, parcel)
    return a.outcome, a.reason_codes, a.net_fen, a.held_fen, a.beneficiary_id, a.station_id, a.township_code, a.service_date


@given(brands, plain_parcels())
def test_agrees_with_the_literal_reading_of_the_rules(brand: str, parcel: list[Event]) -> None:
    assert ours(brand, parcel) == naively(brand, parcel)


@given(brands, parcels())
def test_agrees_where_events_are_contested(brand: str, parcel: list[Event]) -> None:
    assert ours(brand, parcel) == naively(brand, parcel)


@given(brands, parcels(most=13, ids=6, contents=3))
def test_agrees_past_sixteen_combinations(brand: str, parcel: list[Event]) -> None:
    assert ours(brand, parcel) == naively(brand, parcel)


def newest_by_event(parcel: Sequence[Event]) -> list[list[Event]]:
    """For every event its contents in order, each in its newest reading."""
    ordered = sorted(parcel, key=lambda e: e.version)
    newest = {(e.event_id, e.content): e for e in ordered}
    return [list(group) for _, group in groupby(newest.values(), key=lambda e: e.event_id)]


@given(brands, parcels())
def test_contested_is_held_exactly_where_the_combinations_differ(brand: str, parcel: list[Event]) -> None:
    combinations = list(product(*newest_by_event(parcel)))[:17]
    each = [assessed(brand, combination) for combination in combinations]
    whole = assessed(brand, parcel)
    if len(combinations) <= 16 and len({a.agreement for a in each}) == 1:
        assert whole == each[0]
    elif any(a.outcome for a in each):
        assert (whole.outcome, whole.reason_codes, whole.net_fen) == (Outcome.HELD, ("evidence.contested",), 0)
        assert whole.held_fen == max(a.net_fen + a.held_fen for a in each[:16])


@given(brands, plain_parcels(), st.data())
def test_an_older_reading_of_the_same_content_counts_for_nothing(brand: str, parcel: list[Event], data: st.DataObject) -> None:
    older = [e._replace(mapping_version=0, action=data.draw(st.sampled_from(ACTIONS))) for e in parcel]
    assert assessed(brand, data.draw(st.permutations(parcel + older))) == assessed(brand, parcel)


@given(brands, parcels())
def test_only_payable_has_a_net_and_only_held_a_held_amount(brand: str, parcel: list[Event]) -> None:
    a = assessed(brand, parcel)
    assert (a.net_fen > 0) == (a.outcome is Outcome.PAYABLE)
    assert a.held_fen == 0 or a.outcome is Outcome.HELD
    assert (a.service_date is None) == (a.outcome is None)
    assert bool(a.reason_codes) == (a.outcome is not None)


@given(brands, parcels())
def test_the_explanation_adds_up_to_what_is_assessed(brand: str, parcel: list[Event]) -> None:
    traced = trace(brand, parcel, DIRECTORY, POLICIES)
    assert traced.assessment == assessed(brand, parcel)
    assert sum(line.amount_fen for line in traced.arithmetic) == traced.assessment.net_fen
    assert {s.event for s in traced.seen} == set(parcel)
    deciding = [s.event.event_id for s in traced.seen if s.role is Role.DECIDING]
    assert deciding == ([traced.assessment.deciding_event_id] if traced.assessment.deciding_event_id else [])
    names = Names(DIRECTORY, MOMENTS[0])
    assert len(text(traced, names, "zh").splitlines()) == len(text(traced, names, "en").splitlines())


@given(brands, parcels())
def test_what_a_failed_clause_says_is_the_reason(brand: str, parcel: list[Event]) -> None:
    traced = trace(brand, parcel, DIRECTORY, POLICIES)
    failed = tuple(step.reason_code for step in traced.steps if step.result == "fail")
    if failed:
        assert traced.assessment.outcome is Outcome.HELD or traced.assessment.reason_codes == failed
