"""What a month's close works out, as functions of sums (docs/rules.md, Closing a month). Pure."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from shared.calendar import SHANGHAI, next_month


class Status(StrEnum):
    """open → closing → closed; a month without lines is none of these."""

    OPEN = "open"  # lines join it
    CLOSING = "closing"  # no line joins any more; the close adjusts those that did
    CLOSED = "closed"  # nothing in it changes any more


class Total(NamedTuple):
    """Lines of one month, by scheme, year of the service date and policy."""

    period: str
    scheme: str
    year: int
    policy_version: str
    parcels: int  # accruals less their reversals
    gross_fen: int  # of the same lines
    adjusted_fen: int  # of caps, vestings and adjustments, and of their reversals

    @property
    def net_fen(self) -> int:
        return self.gross_fen + self.adjusted_fen


def over_ceiling(totals: Iterable[Total], limits: Mapping[str, int], carried_in_fen: int) -> int:
    """By how many fen a month lies above limit x parcels, what earlier months have left over included; negative: it has room.

    `totals`: one scheme's; `limits`: policy version → fen a parcel, of the versions that have a ceiling. Room that one month leaves is not
    carried to the next.
    """
    over_fen = sum(t.net_fen - limits[t.policy_version] * t.parcels for t in totals if t.policy_version in limits)
    return carried_in_fen + over_fen


def carried_out(excess_fen: int, adjusted_fen: int) -> int:
    """What could not be taken back (the lines that stand in the month had no more) goes to the next month."""
    return max(0, excess_fen + adjusted_fen)


def ends(period: str) -> datetime:
    """The instant at which a month is over."""
    after = next_month(period)
    return datetime(int(after[:4]), int(after[5:]), 1, tzinfo=SHANGHAI)


def last_day(period: str) -> date:
    return date.fromordinal(ends(period).date().toordinal() - 1)
