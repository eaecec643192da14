"""The allotment adds up, takes from nobody more than he has, and never takes less for taking more in all; it knows no order of input."""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.subsidy.domain.allot import allot

amounts = st.lists(st.one_of(st.integers(1, 60), st.integers(1, 10**9)), min_size=1, max_size=30)
small = st.lists(st.integers(1, 60), min_size=1, max_size=30)


def shares(total_fen: int, lines: Sequence[int]) -> list[int]:
    """Of lines in key order."""
    allotted, seen, taken = allot(total_fen, Counter(lines)), Counter[int](), []
    for amount in lines:
        share = allotted[amount]
        taken.append(share.fen + (seen[amount] < share.first))
        seen[amount] += 1
    return taken


def by_fen(total_fen: int, lines: Sequence[int]) -> list[int]:
    """The rule itself, fen by fen: the highest a / (2k - 1) next; then the larger amount, then the key."""
    taken = [0] * len(lines)
    for _ in range(total_fen):
        best = None
        for i, amount in enumerate(lines):
            k = 2 * taken[i] + 1
            if taken[i] < amount and (best is None or better(amount, k, lines[best], 2 * taken[best] + 1)):
                best = i
        assert best is not None
        taken[best] += 1
    return taken


def better(a: int, k: int, b: int, j: int) -> bool:
    return (a * j, a) > (b * k, b)


@given(small, st.data())
def test_it_is_the_rule_fen_by_fen(lines: list[int], data: st.DataObject) -> None:
    total_fen = data.draw(st.integers(0, min(sum(lines), 200)))
    assert shares(total_fen, lines) == by_fen(total_fen, lines)


@given(amounts, st.data())
def test_it_adds_up_and_nobody_gives_more_than_he_has(lines: list[int], data: st.DataObject) -> None:
    total_fen = data.draw(st.integers(0, sum(lines)))
    taken = shares(total_fen, lines)
    assert sum(taken) == total_fen
    assert all(0 <= share <= amount for share, amount in zip(taken, lines, strict=True))


@given(amounts, st.data())
def test_a_larger_total_takes_less_from_nobody(lines: list[int], data: st.DataObject) -> None:
    less = data.draw(st.integers(0, sum(lines)))
    more = data.draw(st.integers(less, sum(lines)))
    assert all(a <= b for a, b in zip(shares(less, lines), shares(more, lines), strict=True))


@given(amounts, st.data())
def test_it_depends_on_the_amounts_and_keys_alone(lines: list[int], data: st.DataObject) -> None:
    total_fen = data.draw(st.integers(0, sum(lines)))
    counts = Counter(lines)
    shuffled = dict(data.draw(st.permutations(list(counts.items()))))
    assert allot(total_fen, shuffled) == allot(total_fen, counts)


@given(amounts, st.data())
def test_a_larger_amount_gives_no_less(lines: list[int], data: st.DataObject) -> None:
    total_fen = data.draw(st.integers(0, sum(lines)))
    ordered = sorted(lines)
    taken = shares(total_fen, ordered)
    assert all(small <= large + 1 for small, large in pairwise(taken))
    allotted = allot(total_fen, Counter(lines))
    fen = [allotted[amount].fen for amount in sorted(allotted)]
    assert fen == sorted(fen)


def test_the_worked_example_of_the_rules() -> None:
    """docs/rules.md: 60, 60, 44, 36 and 36 fen, 236 in all; 11 of them are to be taken."""
    assert shares(11, [60, 60, 44, 36, 36]) == [3, 3, 2, 2, 1]


def test_two_hundred_thousand_lines_cost_no_more_than_their_amounts() -> None:
    counts = dict.fromkeys(range(1, 61), 200_000 // 60)
    started = time.process_time()
    allotted = allot(1_234_567, counts)
    assert time.process_time() - started < 0.1
    assert sum(s.fen * counts[a] + s.first for a, s in allotted.items()) == 1_234_567


@pytest.mark.parametrize(("total", "counts"), [(-1, {1: 1}), (2, {1: 1}), (0, {0: 1}), (0, {1: 0}), (1, {})])
def test_what_cannot_be_taken_is_refused(total: int, counts: dict[int, int]) -> None:
    with pytest.raises(ValueError):
        allot(total, counts)


def test_nothing_from_nobody() -> None:
    assert dict(allot(0, {})) == {}
