"""Taking an amount from many lines, to the fen: Webster's divisor method (docs/rules.md, The allotment). Pure, integers only.

The k-th fen of a line of amount a has the priority a / (2k - 1); the fen with the highest priorities are taken. So a line gives at most
what it has (its last fen's priority is above 1/2, the next one's would be below), and a larger total never takes less from anybody: the
fen taken for a smaller one are the first ones of the larger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Share:
    """What a line of one amount gives: `fen`, and one more in the first `first` lines in key order."""

    fen: int
    first: int


def allot(total_fen: int, counts: Mapping[int, int]) -> Mapping[int, Share]:
    """Take `total_fen` from lines that are told by amount -> how many lines have it. Amounts, for each: its lines' shares.

    Lines of one amount differ only in their key, so the work depends on how many amounts there are, not on how many lines.
    ValueError: amounts or counts that are not positive, or a total that is negative or more than there is.
    """
    if any(amount <= 0 or count <= 0 for amount, count in counts.items()):
        raise ValueError("amounts and counts are positive")
    if not 0 <= total_fen <= sum(amount * count for amount, count in counts.items()):
        raise ValueError("a total between nothing and everything")
    if not counts:
        return MappingProxyType({})
    level, scale = _level(total_fen, counts)
    taken = {amount: _above(amount, level, scale) for amount in counts}
    left = total_fen - sum(taken[amount] * count for amount, count in counts.items())
    shares = {}
    for amount in sorted(counts, reverse=True):  # of equal priorities the larger amount's goes first
        tied = _above(amount, level + 1, scale) > taken[amount]
        first = min(left, counts[amount]) if tied else 0
        shares[amount] = Share(taken[amount], first)
        left -= first
    assert left == 0, "the next level down holds what is left"
    return MappingProxyType(shares)


def _above(amount: int, level: int, scale: int) -> int:
    """How many fen of a line have a priority of at least scale / level, at most all of them."""
    return min(amount, (amount * level // scale + 1) // 2)


def _level(total_fen: int, counts: Mapping[int, int]) -> tuple[int, int]:
    """-> (level, scale): the largest level at which no more than the total is taken.

    The inverse priorities (2k - 1) / a of two amounts are equal or at least 1 / (a x b) apart. On a grid that fine, one step contains one
    priority only: what is left after the last full level is a matter of ties.
    """
    largest = max(counts)
    scale = largest * largest
    low, high = 0, 2 * scale  # at 2 x scale everything is taken: (2a - 1) / a < 2
    while low < high:
        middle = (low + high + 1) // 2
        if sum(_above(amount, middle, scale) * count for amount, count in counts.items()) <= total_fen:
            low = middle
        else:
            high = middle - 1
    return low, scale
