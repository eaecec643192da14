"""What a parcel comes to is a function of the set of its events and the set of what people said of it: docs/rules.md 14."""

from hypothesis import given
from hypothesis import strategies as st

from services.subsidy.domain.events import Event
from services.subsidy.domain.explain import Names, text
from services.subsidy.domain.fold import assess
from services.subsidy.domain.policy import Outcome, Policies
from services.subsidy.domain.said import NOTHING, Ruling, Said, Word
from services.subsidy.domain.trace import NEVER_YET, trace

from .fold_naive import naive_assess
from .fold_parcels import DIRECTORY, MOMENTS, brands, parcels, policies, ruled_parcels

Ruled = tuple[str, list[Event], Policies, Said]


@given(ruled_parcels(), st.data())
def test_neither_the_order_of_events_nor_that_of_rulings_changes_anything(ruled: Ruled, data: st.DataObject) -> None:
    brand, parcel, of, said = ruled
    shuffled = Said(tuple(data.draw(st.permutations(said.rulings))))
    again = data.draw(st.permutations(parcel + data.draw(st.lists(st.sampled_from(parcel), max_size=3))))
    assert assess(brand, again, DIRECTORY, of, shuffled) == assess(brand, parcel, DIRECTORY, of, said)


@given(ruled_parcels())
def test_agrees_with_the_literal_reading_of_the_rules(ruled: Ruled) -> None:
    brand, parcel, of, said = ruled
    a, n = assess(brand, parcel, DIRECTORY, of, said), naive_assess(brand, parcel, DIRECTORY, of, said)
    ours = (a.outcome, a.reason_codes, a.net_fen, a.held_fen, a.beneficiary_id, a.station_id, a.township_code, a.service_date, a.subject)
    held = n.subject if n.outcome == "held" else None
    assert ours == (n.outcome, n.reason_codes, n.net_fen, n.held_fen, n.beneficiary_id, n.station_id, n.township_code, n.service_date, held)


@given(ruled_parcels())
def test_the_explanation_follows_the_rulings(ruled: Ruled) -> None:
    brand, parcel, of, said = ruled
    traced = trace(brand, parcel, DIRECTORY, of, said)
    assert traced.assessment == assess(brand, parcel, DIRECTORY, of, said)
    assert sum(line.amount_fen for line in traced.arithmetic) == traced.assessment.net_fen
    assert all(other.amount_fen >= 0 for other in traced.alternatives)
    names = Names(DIRECTORY, MOMENTS[0])
    assert len(text(traced, names, "zh").splitlines()) == len(text(traced, names, "en").splitlines())


@given(ruled_parcels())
def test_what_is_held_says_what_it_is_about_and_nothing_else_does(ruled: Ruled) -> None:
    brand, parcel, of, said = ruled
    a = assess(brand, parcel, DIRECTORY, of, said)
    assert (a.subject is not None) == (a.outcome is Outcome.HELD)
    assert (a.net_fen > 0) == (a.outcome is Outcome.PAYABLE)
    assert a.held_fen == 0 or a.outcome is Outcome.HELD


@given(ruled_parcels(), st.sampled_from([Word.RELEASE, Word.CONFIRM]))
def test_a_decision_on_something_else_changes_nothing(ruled: Ruled, word: Word) -> None:
    brand, parcel, of, said = ruled
    a = assess(brand, parcel, DIRECTORY, of, said)
    stale = Ruling(NEVER_YET, word, a.reason_codes[0] if a.reason_codes else "waybill.reused", b"another subject".ljust(32), {})
    assert assess(brand, parcel, DIRECTORY, of, Said((*said.rulings, stale))) == a


@given(ruled_parcels())
def test_a_confirmation_of_what_is_held_refuses_it(ruled: Ruled) -> None:
    brand, parcel, of, said = ruled
    held = assess(brand, parcel, DIRECTORY, of, said)
    if held.subject is not None:
        confirm = Ruling(NEVER_YET, Word.CONFIRM, held.reason_codes[0], held.subject, {})
        a = assess(brand, parcel, DIRECTORY, of, Said((*said.rulings, confirm)))
        inside = held.reason_codes[0] not in ("evidence.contested", *(r.reason_code for r in said.rulings if r.decision == Word.PLACE))
        assert (a.outcome, a.reason_codes) == (Outcome.REFUSED, ("hold.confirmed",)) or (inside and a.outcome is Outcome.HELD)
        assert a.net_fen == 0


@given(brands, parcels(), policies)
def test_where_nobody_said_anything_the_policy_alone_decides(brand: str, parcel: list[Event], of: Policies) -> None:
    """Over policies of every mode: the two implementations agree."""
    a, n = assess(brand, parcel, DIRECTORY, of, NOTHING), naive_assess(brand, parcel, DIRECTORY, of)
    assert (a.outcome, a.reason_codes, a.net_fen, a.held_fen, a.station_id, a.service_date) == (
        n.outcome, n.reason_codes, n.net_fen, n.held_fen, n.station_id, n.service_date,
    )  # fmt: skip
