"""From old and new results of parcels to the rows of the books. Pure: sets of values in, rows out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

import asyncpg

from services.subsidy.domain.fold import Assessment
from services.subsidy.domain.policy import Decision
from services.subsidy.domain.said import BY_HAND
from services.subsidy.service.context import posting_period
from shared.calendar import shanghai_day

NONE = ""  # in a rollup's key, where a parcel has no station, township, beneficiary, reason or policy


class Parcel(NamedTuple):
    """A row of `parcel` (the columns of repository.batch.PARCELS): what the latest assessment says."""

    parcel_key: bytes
    brand: str
    waybill_no: str
    direction: str
    outcome: str | None
    net_fen: int
    held_fen: int
    beneficiary_id: str | None
    station_id: str | None
    township_code: str | None
    service_date: date | None
    reason_code: str | None
    policy_version: str | None
    hold_reason: str | None
    hold_batch_no: int | None
    hold_subject: bytes | None
    payouts: int
    live_seq: int | None
    adjusted_fen: int


class Line(NamedTuple):
    """A payout that stands, or one that adjusts it (the columns of repository.batch.LINES)."""

    parcel_key: bytes
    seq: int
    amount_fen: int
    beneficiary_id: str
    station_id: str | None  # null: uplink, from a place that is no registered station
    township_code: str | None
    service_date: date
    brand: str
    scheme: str
    stage: str
    policy_version: str
    adjusts: int | None = None  # the accrual's seq


class Adjustment(NamedTuple):
    """What a closing does to a line: `cap` and `vesting` take from it, `adjustment` gives back."""

    kind: str
    amount_fen: int
    reason_code: str


Rows = list[tuple[object, ...]]


@dataclass
class Entries:
    """Everything that one batch adds to the books. Column orders are those of repository.batch."""

    partition: int
    batch_no: int
    county_code: str
    posted_at: datetime
    closed_through: str | None
    posted_date: date = field(init=False)
    assessments: Rows = field(default_factory=list)
    payouts: Rows = field(default_factory=list)
    postings: Rows = field(default_factory=list)
    new_parcels: Rows = field(default_factory=list)
    changed_parcels: Rows = field(default_factory=list)
    new_pointers: Rows = field(default_factory=list)
    moved_pointers: Rows = field(default_factory=list)
    dropped_pointers: Rows = field(default_factory=list)
    holds: Rows = field(default_factory=list)
    releases: Rows = field(default_factory=list)
    rollup: dict[tuple[object, ...], list[int]] = field(default_factory=dict)
    totals: dict[tuple[str, str, int, str], list[int]] = field(default_factory=dict)  # by month, scheme, year of service, policy
    adjusted_parcels: Rows = field(default_factory=list)
    decisions: dict[bytes, Decision] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.posted_date = shanghai_day(self.posted_at)

    def add(self, key: bytes, brand: str, waybill_no: str, old: Parcel | None, new: Assessment, lines: Sequence[Line]) -> None:
        """One parcel's new assessment. `lines`: the payout that stands and what adjusts it, given where `reverses(old, new)`."""
        decision = new.decision
        if decision is not None:
            self.decisions[decision.decision_id] = decision
        self.assessments.append((
            key, self.batch_no, self.partition, new.direction, new.outcome, new.reason_codes, new.net_fen, new.held_fen, new.beneficiary_id,
            new.station_id, new.township_code, new.service_date, new.deciding_event_id,
            decision.policy_version if decision else None, decision.decision_id if decision else None,
        ))  # fmt: skip
        if old is not None and unchanged(old, new):
            return
        adjusted_fen = old.adjusted_fen if old and not reverses(old, new) else 0
        self._count(old, brand, new, adjusted_fen)
        payouts, live_seq = self._pay(key, brand, old, new, lines)
        hold = self._hold(key, old, new)
        state = (
            new.direction, new.outcome, new.net_fen, new.held_fen, new.beneficiary_id, new.station_id, new.township_code, new.service_date,
            new.reason_code, new.policy_version, *hold, payouts, live_seq, adjusted_fen,
        )  # fmt: skip
        if old is None:
            self.new_parcels.append((key, self.partition, brand, waybill_no, *state))
        else:
            self.changed_parcels.append((key, *state))

    def _count(self, old: Parcel | None, brand: str, new: Assessment, adjusted_fen: int) -> None:
        """The parcel leaves the cell of its old state and enters that of the new one, both on today's posted day."""
        if old is not None and old.outcome is not None:
            cell = self._state_cell(brand, old)
            cell[0] -= 1
            cell[1] -= old.net_fen + old.adjusted_fen
            cell[2] -= old.held_fen
        if new.outcome is not None:
            cell = self._state_cell(brand, new)
            cell[0] += 1
            cell[1] += new.net_fen + adjusted_fen
            cell[2] += new.held_fen

    def _state_cell(self, brand: str, of: Parcel | Assessment) -> list[int]:
        return self._cell(
            of.station_id, of.township_code, of.service_date, brand, of.direction, of.outcome, of.beneficiary_id, of.reason_code,
            of.policy_version,
        )  # fmt: skip

    def _cell(
        self, station_id: str | None, township_code: str | None, day: date | None, brand: str, direction: str, outcome: str | None,
        beneficiary_id: str | None, reason_code: str | None, policy_version: str | None,
    ) -> list[int]:  # fmt: skip
        key = (
            station_id or NONE, township_code or NONE, day, brand, direction, str(outcome), beneficiary_id or NONE, reason_code or NONE,
            policy_version or NONE,
        )  # fmt: skip
        if (cell := self.rollup.get(key)) is None:
            cell = self.rollup[key] = [0, 0, 0, 0, 0]
        return cell

    def _pay(self, key: bytes, brand: str, old: Parcel | None, new: Assessment, lines: Sequence[Line]) -> tuple[int, int | None]:
        """Reverse the line that stands and post the new one, where they differ -> (lines so far, the line that stands)."""
        payouts, live = (old.payouts, old.live_seq) if old else (0, None)
        if not reposts(old, new):
            return payouts, live
        before = live
        if live is not None:
            assert old, "a line stands for a parcel that was there"
            _stands(old, lines)
            for line in reversed(lines):  # what adjusts the line first, then the line
                self._post(line._replace(seq=payouts, amount_fen=-line.amount_fen), new.reason_codes, "reversal", line.seq)
                payouts += 1
            live = None
        if new.net_fen:
            assert new.beneficiary_id, "a payable parcel has a beneficiary"
            assert new.service_date, "a payable parcel has a deciding event"
            assert new.policy_version, "a payable parcel has a policy"
            live = payouts
            accrual = Line(
                key, live, new.net_fen, new.beneficiary_id, new.station_id, new.township_code, new.service_date, brand, new.direction,
                "accrued", new.policy_version,
            )  # fmt: skip
            self._post(accrual, new.reason_codes, "accrual", None)
            payouts += 1
        self._point(key, (lines[0].scheme, before) if before is not None else None, (new.direction, live) if live is not None else None)
        return payouts, live

    def _point(self, key: bytes, before: tuple[str, int] | None, live: tuple[str, int] | None) -> None:
        """The pointer of each scheme, which is the parcel's direction."""
        if before and live and before[0] == live[0]:
            self.moved_pointers.append((key, *before, live[1]))
            return
        if before:
            self.dropped_pointers.append((key, *before))
        if live:
            self.new_pointers.append((key, *live))

    def adjust(self, parcel: Parcel, line: Line, by: Adjustment, period: str) -> None:
        """Post a closing's word on the line that stands, into the month that is closing."""
        _stands(parcel, [line])
        self._post(line._replace(seq=parcel.payouts, amount_fen=by.amount_fen, adjusts=line.seq), (by.reason_code,), by.kind, None, period)
        self.adjusted_parcels.append((parcel.parcel_key, parcel.payouts, line.seq, by.amount_fen))
        cell = self._state_cell(parcel.brand, parcel)
        cell[1] += by.amount_fen

    def _post(self, line: Line, reason_codes: Sequence[str], kind: str, reverses: int | None, period: str | None = None) -> None:
        period = period or posting_period(line.service_date, self.closed_through)
        self.payouts.append((
            line.parcel_key, line.seq, self.partition, self.batch_no, line.brand, line.scheme, kind, line.amount_fen, reverses, line.stage,
            line.beneficiary_id, line.station_id, line.township_code, line.service_date, self.posted_at, self.posted_date, period,
            line.policy_version, reason_codes, line.adjusts,
        ))  # fmt: skip
        programme = f"programme/{self.county_code}/{line.scheme}/{line.service_date.year}"
        payable = f"payable/{line.beneficiary_id}/{line.stage}"
        debit, credit = (programme, payable) if line.amount_fen > 0 else (payable, programme)
        self.postings.append(
            (line.parcel_key, line.seq, line.stage, self.partition, self.batch_no, debit, credit, abs(line.amount_fen), period)
        )
        cell = self._cell(
            line.station_id, line.township_code, line.service_date, line.brand, line.scheme, "payable", line.beneficiary_id,
            next(iter(reason_codes), None), line.policy_version,  # a parcel that is in transit again has no reason
        )  # fmt: skip
        parcels = 0 if line.adjusts is not None else 1 if line.amount_fen > 0 else -1
        cell[3] += parcels
        cell[4] += line.amount_fen
        total = self.totals.setdefault((period, line.scheme, line.service_date.year, line.policy_version), [0, 0, 0])
        total[0] += parcels
        total[1 if line.adjusts is None else 2] += line.amount_fen

    def _hold(self, key: bytes, old: Parcel | None, new: Assessment) -> tuple[str | None, int | None, bytes | None]:
        """-> (reason, batch, subject) of the hold that is open now. A hold says what it is about and whose: what changes is another one."""
        reason = new.reason_codes[0] if new.outcome == "held" else None
        if old is not None and old.hold_batch_no is not None:
            if (old.hold_reason, old.hold_subject, *_place(old)) == (reason, new.subject, *_place(new)):
                return reason, old.hold_batch_no, new.subject
            self.releases.append((key, old.hold_batch_no, self.partition, self.batch_no))
        if reason is None:
            return None, None, None
        placed_by = "hand" if reason in BY_HAND else "rule"
        self.holds.append((key, self.batch_no, self.partition, reason, new.station_id, placed_by, new.subject, new.held_fen))
        return reason, self.batch_no, new.subject


def _place(of: Parcel | Assessment) -> tuple[str | None, str | None, str | None]:
    return of.station_id, of.beneficiary_id, of.township_code


def _stands(parcel: Parcel, lines: Sequence[Line]) -> None:
    """Stop where the line at hand, or what adjusts it (where that is given), is not what the parcel says."""
    if not lines or (lines[0].seq, lines[0].amount_fen) != (parcel.live_seq, parcel.net_fen):
        raise AssertionError("the line that stands is not the one that the parcel points at")
    if len(lines) > 1 and sum(line.amount_fen for line in lines[1:]) != parcel.adjusted_fen:
        raise AssertionError("what adjusts the line does not come to what the parcel says")


def unchanged(old: Parcel, new: Assessment) -> bool:
    """Nothing that a total, a payout or a hold reads is another."""
    return (
        old.outcome == new.outcome
        and old.net_fen == new.net_fen
        and old.held_fen == new.held_fen
        and old.station_id == new.station_id
        and old.service_date == new.service_date
        and old.beneficiary_id == new.beneficiary_id
        and old.township_code == new.township_code
        and old.direction == new.direction
        and old.reason_code == new.reason_code
        and old.policy_version == new.policy_version
        and (new.outcome != "held" or (old.hold_reason, old.hold_subject) == (new.reason_codes[0], new.subject))
    )


def reposts(old: Parcel | None, new: Assessment) -> bool:
    """Whether the line that stands (none is one, too) is no longer the one that should (docs/rules.md, The books)."""
    if old is None or old.live_seq is None:
        return new.net_fen > 0
    return (
        old.net_fen != new.net_fen
        or old.beneficiary_id != new.beneficiary_id
        or old.station_id != new.station_id
        or old.service_date != new.service_date
        or old.direction != new.direction
    )


def reverses(old: Parcel | None, new: Assessment) -> bool:
    return old is not None and old.live_seq is not None and reposts(old, new)


def parcels_of(rows: Sequence[asyncpg.Record]) -> dict[bytes, Parcel]:
    return {row[0]: Parcel._make(row) for row in rows}
