"""Budgets are conserved, whoever asks in which order; a month's excess is what it says."""

from hypothesis import given
from hypothesis import strategies as st

from services.subsidy.domain.budget import Source, committed, in_turn
from services.subsidy.domain.closing import Total, carried_out, over_ceiling

fen = st.integers(0, 10**9)
amounts = st.dictionaries(st.sampled_from(list(Source)), fen)
asks = st.lists(st.integers(1, 10**6), max_size=30)


@given(amounts, st.integers(-(10**9), 4 * 10**9))
def test_a_source_is_what_is_committed_and_what_is_available(given_fen: dict[Source, int], accrued_fen: int) -> None:
    used = committed(given_fen, accrued_fen)
    assert all(0 <= used[source] <= given_fen.get(source, 0) for source in Source)
    assert sum(used.values()) == min(max(0, accrued_fen), sum(given_fen.values()))


@given(amounts, fen)
def test_a_later_source_is_used_when_the_earlier_ones_are_used_up(given_fen: dict[Source, int], accrued_fen: int) -> None:
    used = committed(given_fen, accrued_fen)
    for earlier, later in zip(Source, list(Source)[1:], strict=False):
        assert used[later] == 0 or used[earlier] == given_fen.get(earlier, 0)


@given(asks, fen)
def test_nothing_is_given_beyond_the_money_and_nothing_is_lost(asked: list[int], money_fen: int) -> None:
    got, left_fen = in_turn(asked, money_fen)
    assert sum(got) + left_fen == money_fen
    assert sum(got) == min(money_fen, sum(asked))
    assert all(0 <= g <= a for g, a in zip(got, asked, strict=True))


@given(asks, fen, st.integers(0, 30))
def test_it_makes_no_difference_in_how_many_pages_they_ask(asked: list[int], money_fen: int, cut: int) -> None:
    first, left_fen = in_turn(asked[:cut], money_fen)
    second, left_fen = in_turn(asked[cut:], left_fen)
    assert (first + second, left_fen) == in_turn(asked, money_fen)


@given(asks, fen, fen)
def test_more_money_gives_nobody_less(asked: list[int], money_fen: int, more_fen: int) -> None:
    got, _ = in_turn(asked, money_fen)
    richer, _ = in_turn(asked, money_fen + more_fen)
    assert all(a <= b for a, b in zip(got, richer, strict=True))


months = st.lists(st.tuples(st.integers(-50, 200), st.integers(-(10**4), 10**4)), max_size=12)  # parcels, net fen


@given(months, st.data())
def test_carried_along_the_ceiling_holds_over_all_months_together(lived: list[tuple[int, int]], data: st.DataObject) -> None:
    """Whatever a month's lines allow to take back, what is missing goes on: Σ net ≤ limit x Σ parcels + what is still carried."""
    limit_fen, carried_fen, net_fen, parcels = 50, 0, 0, 0
    for count, gross_fen in lived:
        total = Total("2023-07", "downlink", 2023, "p.1", count, gross_fen, 0)
        excess_fen = max(0, over_ceiling([total], {"p.1": limit_fen}, carried_fen))
        taken_fen = data.draw(st.integers(0, excess_fen))
        carried_fen = carried_out(excess_fen, -taken_fen)
        net_fen, parcels = net_fen + gross_fen - taken_fen, parcels + count
        assert gross_fen - taken_fen <= limit_fen * count + carried_fen
        assert net_fen <= limit_fen * parcels + carried_fen


def test_lines_of_a_policy_without_a_ceiling_make_no_room_and_take_none() -> None:
    capped = Total("2023-07", "downlink", 2023, "p.1", 1, 60, 0)
    free = Total("2023-07", "downlink", 2022, "p.0", 9, 9, 0)
    assert over_ceiling([capped, free], {"p.1": 50}, 0) == 10
    assert over_ceiling([capped, free], {"p.1": 70}, 3) == -7
