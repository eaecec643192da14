"""An applicant's year of uplink parcels: vested or not, and capped (docs/rules.md, Closing a month, 2). Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from shared.contracts.registry import Merchant, SalesStatus

from .budget import in_turn


class YearLine(NamedTuple):
    """An accrual of the year that stands."""

    net_fen: int  # as it was accrued
    left_fen: int  # of it, after all that closings took and gave back
    year_fen: int  # of that, what this step took so far; ≤ 0


class Taken(NamedTuple):
    """What the step does to a line: `fen` < 0 takes, > 0 gives back."""

    kind: str
    fen: int
    reason_code: str


def reviewed_sales(merchant: Merchant | None, year: int) -> int:
    """Fen of the year's online sales that a reviewer has seen; what is only declared counts for nothing."""
    if merchant is None:
        return 0
    return sum(s.sales_fen for s in merchant.sales if s.year == year and s.status is SalesStatus.REVIEWED)


def settle(lines: Iterable[YearLine], money_fen: int) -> tuple[list[int], int]:
    """-> (by how much each line changes, the money that is left for those after them).

    In their order each may keep what was accrued while there is money, the last one a part, those after it nothing. A line that has less
    already, since something else took from it, is left alone; what this step took is given back as far as there is money again.
    """
    changes = []
    for line in lines:
        (allowed_fen,), money_fen = in_turn([line.net_fen], money_fen)
        less_fen = min(0, allowed_fen - line.left_fen)
        changes.append(less_fen or min(max(0, allowed_fen - line.left_fen), -line.year_fen))
    return changes, money_fen


def taken(change_fen: int, vested: bool) -> Taken | None:
    if change_fen == 0:
        return None
    if change_fen > 0:
        return Taken("adjustment", change_fen, "year.restored")
    return Taken("cap", change_fen, "cap.annual") if vested else Taken("vesting", change_fen, "vesting.not_met")
