"""A filing over both times against a ledger of days: 300 lives of up to 50 acts, told in any order of valid time.

The model knows no segments: one word a day, the days on which something was recorded to begin, and a copy of all that for every recorded
act. After each act, and whenever it likes, the machine asks any day as of any act, in the filing's rows and in the standing.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from services.registry.domain import filings
from services.registry.domain.history import Recorded, filing_rows
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.transitions import TRANSITIONS, WITH_RECEIPT
from shared.contracts.registry import FILED, Filing, FilingStatus, Station
from shared.standing import Directory, holds
from tests.unit.test_registry_domain import filing, station

START = datetime(2023, 6, 1, tzinfo=UTC)
DAYS = 30
FIRST = 5  # the day on which it is opened, as a draft
days = st.integers(1, DAYS)


def t(day: int) -> datetime:
    return START + timedelta(days=day - 1)


class Day(NamedTuple):
    status: FilingStatus
    receipt: str | None


class Ledger:
    """What was so on each day, and on which days something was recorded to begin."""

    def __init__(self, held: dict[int, Day], begins: frozenset[int]) -> None:
        self.held, self.begins = held, begins

    def end_of(self, day: int) -> int:
        """The first day after `day` that another record speaks of, or that none does."""
        return next(d for d in range(day + 1, DAYS + 2) if d in self.begins or d not in self.held or d > DAYS)

    def moved(self, to: FilingStatus, day: int, receipt: str | None) -> "Ledger | None":
        """None: refused."""
        now = self.held.get(day)
        if now is None or to not in TRANSITIONS[now.status]:
            return None
        if day in self.begins and (earlier := [d for d in self.held if d < day]) and to not in TRANSITIONS[self.held[max(earlier)].status]:
            return None
        end = self.end_of(day)
        if end in self.held and self.held[end].status not in TRANSITIONS[to]:
            return None
        if to in WITH_RECEIPT and not (receipt or now.receipt):
            return None
        if receipt and to not in WITH_RECEIPT:
            return None
        said = Day(to, (receipt or now.receipt) if to in WITH_RECEIPT else None)
        return self._put(day, end, said, self.begins | {day})

    def corrected(self, status: FilingStatus, day: int, until: int | None, receipt: str | None) -> "Ledger | None":
        if until is not None and until <= day:
            return None
        known = next((self.held[d].receipt for d in sorted(self.held, reverse=True) if self.held[d].receipt), None)
        if (status in WITH_RECEIPT and not (receipt or known)) or (receipt and status not in WITH_RECEIPT):
            return None
        end = until or next((d for d in sorted(self.begins) if d > day), DAYS + 1)
        begins = frozenset(b for b in self.begins if not day <= b < end) | {day} | ({end} if end in self.held else set())
        return self._put(day, end, Day(status, (receipt or known) if status in WITH_RECEIPT else None), begins)

    def _put(self, start: int, end: int, said: Day, begins: frozenset[int]) -> "Ledger":
        return Ledger(self.held | dict.fromkeys(range(start, min(end, DAYS + 1)), said), begins)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        first = replace(filing((FilingStatus.DRAFT, 1, None, None)).segments[0], valid_from=t(FIRST))
        self.now = replace(filing(), segments=(first,))
        ledger = Ledger({d: Day(FilingStatus.DRAFT, None) for d in range(FIRST, DAYS + 1)}, frozenset({FIRST}))
        self.told: list[tuple[Recorded[Station], Ledger]] = []
        self._record(ledger)

    def _record(self, ledger: Ledger) -> None:
        at = START + timedelta(days=400, minutes=len(self.told))
        self.told.append((Recorded(at, replace(station(), filings=(self.now,))), ledger))

    def _agree(self, said: "Ledger | None", act: Filing | None) -> None:
        assert (act is None) == (said is None), "one refuses what the other takes"
        if act is not None and said is not None:
            self.now = act
            if said is not self.told[-1][1]:
                self._record(said)

    @rule(to=st.sampled_from(list(FilingStatus)), day=days, receipt=st.sampled_from([None, "R1", "R2"]))
    def move(self, to: FilingStatus, day: int, receipt: str | None) -> None:
        try:
            act = filings.moved(self.now, to, t(day), receipt)
        except (Conflict, Invalid):
            act = None
        self._agree(self.told[-1][1].moved(to, day, receipt), act)

    @precondition(lambda self: len(self.told[-1][1].held) > 0)
    @rule(data=st.data(), day=days, receipt=st.sampled_from([None, "R1"]))
    def move_on(self, data: st.DataObject, day: int, receipt: str | None) -> None:
        """Somewhere that the drawing leads to: chance alone seldom gets beyond the second status."""
        held = self.told[-1][1].held.get(day)
        if held is not None and TRANSITIONS[held.status]:
            to = data.draw(st.sampled_from(TRANSITIONS[held.status]))
            self.move(to, day, receipt if to in WITH_RECEIPT else None)

    @rule(status=st.sampled_from(list(FilingStatus)), day=days, until=st.none() | days, receipt=st.sampled_from([None, "R1"]))
    def correct(self, status: FilingStatus, day: int, until: int | None, receipt: str | None) -> None:
        try:
            act = filings.corrected(self.now, status, t(day), t(until) if until else None, receipt)
        except (Conflict, Invalid):
            act = None
        self._agree(self.told[-1][1].corrected(status, day, until, receipt), act)

    @rule(day=days, when=st.integers(0, 10_000))
    def look(self, day: int, when: int) -> None:
        """As it was on a day, as it was known after an act."""
        recorded, ledger = self.told[when % len(self.told)]
        rows = filing_rows(r for r, _ in self.told)
        believed = [
            row.segment
            for row in rows
            if row.recorded_at <= recorded.recorded_at and (row.superseded_at is None or recorded.recorded_at < row.superseded_at)
        ]
        self._same(day, [(s.status, s.receipt_no) for s in believed if holds(s, t(day))], ledger)
        standing = Directory.of([recorded.record]).standing("stn_1", "zto", t(day))
        held = ledger.held.get(day)
        assert (standing is not None and standing.filed) == (held is not None and held.status in FILED)

    @invariant()
    def every_day_is_as_the_ledger_has_it(self) -> None:
        for day in range(1, DAYS + 1):
            self._same(day, [(s.status, s.receipt_no) for s in self.now.segments if holds(s, t(day))], self.told[-1][1])

    def _same(self, day: int, held: list[tuple[FilingStatus, str | None]], ledger: Ledger) -> None:
        assert held == ([tuple(ledger.held[day])] if day in ledger.held else []), (day, held)


@pytest.mark.slow
def test_a_filing_and_the_ledger_of_days_never_part() -> None:
    depth = settings(max_examples=300, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Machine, settings=depth)
