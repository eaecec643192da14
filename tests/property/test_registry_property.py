"""Whatever is recorded in whatever order: valid time stays a life, recorded time stays what it was."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.registry.domain import aliases, filings, segments
from services.registry.domain.history import Recorded, filing_rows
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.transitions import WITH_RECEIPT, allowed
from shared.contracts.registry import Filing, FilingStatus, OperatorSegment, Station
from shared.standing import Directory, at
from tests.unit.test_registry_domain import alias, filing, station

DAYS = 28
START = datetime(2023, 6, 1, tzinfo=UTC)

Life = tuple[OperatorSegment, ...]
days = st.integers(1, DAYS)
names = st.sampled_from("abc")
# (kind, from, to, name): a change has no end
operations = st.lists(st.tuples(st.sampled_from(("change", "correct")), days, days, names), max_size=12)


def t(number: int) -> datetime:
    return START + timedelta(days=number - 1)


def ordered(life: Sequence[segments.Segment]) -> bool:
    ends = all(s.valid_to is None or s.valid_from < s.valid_to for s in life)
    return ends and all(a.valid_to is not None and a.valid_to <= b.valid_from for a, b in pairwise(life))


class Naive:
    """The same rules, day by day: what held on each day, and on which days something was recorded to begin."""

    def __init__(self) -> None:
        self.held: list[str | None] = [None, *["start"] * DAYS]
        self.begins = {1}

    def change(self, start: int, name: str) -> None:
        end = min([b for b in self.begins if b > start], default=DAYS + 1)
        self._put(start, end, name)

    def correct(self, start: int, end: int, name: str) -> None:
        self.begins = {b for b in self.begins if not start <= b < end} | {end}
        self._put(start, end, name)

    def _put(self, start: int, end: int, name: str) -> None:
        self.held[start:end] = [name] * (end - start)
        self.begins.add(start)


@given(operations)
def test_segments_are_what_a_day_by_day_ledger_says(done: list[tuple[str, int, int, str]]) -> None:
    life: Life = (OperatorSegment(valid_from=t(1), valid_to=None, name="start"),)
    naive = Naive()
    for kind, start, end, name in done:
        if kind == "change":
            changed = segments.changed_from(life, t(start), {"name": name})
            assert changed is not None
            life = changed
            naive.change(start, name)
        elif start < end:
            life = segments.overwritten(life, OperatorSegment(valid_from=t(start), valid_to=t(end), name=name))
            naive.correct(start, end, name)
        assert ordered(life)
    assert [None, *(s.name if (s := at(life, t(d))) else None for d in range(1, DAYS + 1))] == naive.held


moves = st.lists(
    st.tuples(st.sampled_from(("move", "correct")), st.sampled_from(list(FilingStatus)), days, st.one_of(st.none(), days), st.booleans()),
    max_size=15,
)


def apply(before: Filing, kind: str, to: FilingStatus, start: int, end: int | None, receipt: bool) -> Filing:
    """The filing after it, or as it was where the rules refuse."""
    try:
        if kind == "move":
            return filings.moved(before, to, t(start), "R" if receipt else None)
        return filings.corrected(before, to, t(start), t(end) if end else None, "R" if receipt else None)
    except (Conflict, Invalid):
        return before


@given(moves)
def test_a_filing_stays_a_life_and_has_its_receipt_from_the_decision_on(
    done: list[tuple[str, FilingStatus, int, int | None, bool]],
) -> None:
    now = filing((FilingStatus.DRAFT, 1, None, None))
    for step in done:
        now = apply(now, *step)
        assert ordered(now.segments)
        assert all((s.receipt_no is not None) == (s.status in WITH_RECEIPT) for s in now.segments)


@given(moves)
def test_transitions_alone_never_leave_the_drawing(done: list[tuple[str, FilingStatus, int, int | None, bool]]) -> None:
    now = filing((FilingStatus.DRAFT, 1, None, None))
    for _, to, start, end, receipt in done:
        now = apply(now, "move", to, start, end, receipt)
        assert all(allowed(a.status, b.status) for a, b in pairwise(now.segments))


@given(moves)
def test_history_gives_back_what_was_believed_at_every_moment(done: list[tuple[str, FilingStatus, int, int | None, bool]]) -> None:
    now, snapshots = filing((FilingStatus.DRAFT, 1, None, None)), []
    for i, step in enumerate(done, 1):
        now = apply(now, *step)
        snapshots.append(Recorded(START + timedelta(minutes=i), replace(station(), filings=(now,))))
    rows = filing_rows(snapshots)
    for recorded_at, then, *_ in snapshots:
        believed = [r.segment for r in rows if r.recorded_at <= recorded_at and (r.superseded_at is None or recorded_at < r.superseded_at)]
        assert sorted(believed, key=lambda s: s.valid_from) == list(then.filings[0].segments)


claims = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("xyz"), days, st.one_of(st.none(), days), st.booleans()), max_size=15)


@given(claims)
def test_a_site_is_never_claimed_twice_at_one_moment(done: list[tuple[int, str, int, int | None, bool]]) -> None:
    known: list[Station] = [station(f"stn_{i}") for i in range(3)]
    for n, (i, name, start, end, add) in enumerate(done):
        try:
            if add:
                new = replace(alias(name, id_=f"als_{n}"), valid_from=t(start), valid_to=t(end) if end else None)
                known[i] = aliases.claimed(known[i], new, known)
            elif known[i].aliases and (found := aliases.ended(known[i], known[i].aliases[0].alias_id, t(start))):
                known[i] = found[0]
        except (Conflict, Invalid):
            continue
    directory = Directory.of(known)
    for name in "xyz":
        site = aliases.site_of(alias(name))
        for d in range(1, DAYS + 1):
            claimants = {s.station_id for s in known for a in s.aliases if a.site_name == name and at((a,), t(d))}
            assert len(claimants) <= 1
            assert directory.station_at(site, t(d)) == next(iter(claimants), None)
