"""The registry's rules as tables: valid time, transitions, corrections, aliases, places."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.registry.domain import aliases, divisions, filings, segments, stations
from services.registry.domain.history import Recorded, filing_rows
from services.registry.domain.refusals import Conflict, Invalid
from services.registry.domain.transitions import SUBMISSIONS, TRANSITIONS, WITH_RECEIPT
from shared.contracts.registry import (
    FILED,
    Alias,
    Division,
    DivisionSegment,
    Filing,
    FilingSegment,
    FilingStatus,
    Level,
    OperatingStatus,
    OperatorSegment,
    Station,
    StationSegment,
)

S = FilingStatus
ROOT = Path(__file__).parents[2]


def t(number: int) -> datetime:
    """The n-th day of June 2023."""
    return datetime(2023, 6, number, tzinfo=UTC)


def life(*pieces: tuple[str, int, int | None]) -> tuple[OperatorSegment, ...]:
    """Segments as (name, from, to)."""
    return tuple(OperatorSegment(name=name, valid_from=t(start), valid_to=t(end) if end else None) for name, start, end in pieces)


ONE, TWO, GAP = life(("a", 1, None)), life(("a", 1, 10), ("b", 10, None)), life(("a", 1, 5), ("b", 10, 20))


@pytest.mark.parametrize(
    ("before", "moment", "after"),
    [
        (ONE, 5, life(("a", 1, 5), ("x", 5, None))),
        (ONE, 1, life(("x", 1, None))),
        (TWO, 5, life(("a", 1, 5), ("x", 5, 10), ("b", 10, None))),  # back-dated: until the next recorded one
        (TWO, 10, life(("a", 1, 10), ("x", 10, None))),
        (TWO, 12, life(("a", 1, 10), ("b", 10, 12), ("x", 12, None))),
        (GAP, 12, life(("a", 1, 5), ("b", 10, 12), ("x", 12, 20))),
        (GAP, 7, None),  # nothing held then
        (GAP, 20, None),  # the end is exclusive
    ],
)
def test_a_change_holds_until_the_next_recorded_one(
    before: tuple[OperatorSegment, ...], moment: int, after: tuple[OperatorSegment, ...] | None
) -> None:
    assert segments.changed_from(before, t(moment), {"name": "x"}) == after


def test_a_repeated_fact_is_still_a_recorded_change() -> None:
    same = segments.changed_from(ONE, t(10), {"name": "a"})
    assert same is not None
    assert segments.changed_from(same, t(5), {"name": "x"}) == life(("a", 1, 5), ("x", 5, 10), ("a", 10, None))


@pytest.mark.parametrize(
    ("before", "start", "end", "after"),
    [
        (ONE, 5, 8, life(("a", 1, 5), ("x", 5, 8), ("a", 8, None))),
        (ONE, 5, None, life(("a", 1, 5), ("x", 5, None))),
        (TWO, 5, 15, life(("a", 1, 5), ("x", 5, 15), ("b", 15, None))),
        (TWO, 1, None, life(("x", 1, None))),
        (GAP, 3, 12, life(("a", 1, 3), ("x", 3, 12), ("b", 12, 20))),
        (GAP, 6, 8, life(("a", 1, 5), ("x", 6, 8), ("b", 10, 20))),
        (GAP, 20, 25, life(("a", 1, 5), ("b", 10, 20), ("x", 20, 25))),
        (life(("a", 5, None)), 1, 5, life(("x", 1, 5), ("a", 5, None))),
    ],
)
def test_a_correction_replaces_its_period_only(
    before: tuple[OperatorSegment, ...], start: int, end: int | None, after: tuple[OperatorSegment, ...]
) -> None:
    assert segments.overwritten(before, life(("x", start, end))[0]) == after


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [((1, 5), (5, 9), False), ((1, 5), (4, 9), True), ((1, None), (9, None), True), ((1, 5), (9, None), False), ((3, 3), (1, 9), False)],
)
def test_periods_overlap_where_they_share_a_moment(a: tuple[int, int | None], b: tuple[int, int | None], shared: bool) -> None:
    (one,), (other,) = life(("a", *a)), life(("b", *b))
    assert segments.overlap(one, other) is segments.overlap(other, one) is shared


# filings
def test_the_drawing_is_the_machine() -> None:
    drawn = re.findall(r"^    (\S+) --> (\S+)$", (ROOT / "docs/registry-filings.md").read_text(encoding="utf-8"), re.MULTILINE)
    begins, ends = {b for a, b in drawn if a == "[*]"}, {a for a, b in drawn if b == "[*]"}
    assert {(a, b) for a, b in drawn if "[*]" not in (a, b)} == {(a.value, b.value) for a, to in TRANSITIONS.items() for b in to}
    assert begins == {"draft"}
    assert ends == {a.value for a, to in TRANSITIONS.items() if not to}


def test_every_status_is_in_the_machine_and_what_pays_has_a_receipt() -> None:
    assert set(TRANSITIONS) == set(S)
    assert FILED <= WITH_RECEIPT
    assert not (SUBMISSIONS & WITH_RECEIPT) - {S.CHANGE_PENDING}


def filing(*pieces: tuple[FilingStatus, int, int | None, str | None]) -> Filing:
    """A filing as (status, from, to, receipt)."""
    held = tuple(FilingSegment(status=s, valid_from=t(a), valid_to=t(b) if b else None, receipt_no=r) for s, a, b, r in pieces)
    return Filing(
        filing_id="fil_1",
        filer_id="opr_1",
        covers_brands=("zto",),
        authority="运城市邮政管理局",
        opened_on=date(2023, 5, 30),
        submitted_at=None,
        decided_at=None,
        segments=held,
    )


SUBMITTED = filing((S.SUBMITTED, 1, None, None))
FILED_12 = filing((S.SUBMITTED, 1, 12, None), (S.FILED, 12, None, "R"))


@pytest.mark.parametrize("status", list(S))
@pytest.mark.parametrize("to", list(S))
def test_exactly_the_drawn_transitions_are_taken(status: FilingStatus, to: FilingStatus) -> None:
    before = filing((status, 1, None, "R" if status in WITH_RECEIPT else None))
    receipt = "R" if to in WITH_RECEIPT else None
    if to in TRANSITIONS[status]:
        assert filings.moved(before, to, t(5), receipt).segments[-1] == FilingSegment(
            status=to, valid_from=t(5), valid_to=None, receipt_no=receipt
        )
    else:
        with pytest.raises(Conflict, match="cannot become") as refused:
            filings.moved(before, to, t(5), receipt)
        assert all(option in refused.value.en for option in TRANSITIONS[status])


def test_the_first_submission_and_the_first_decision_are_dated() -> None:
    filed = filings.moved(filings.moved(filing((S.DRAFT, 1, None, None)), S.SUBMITTED, t(8), None), S.FILED, t(12), "R")
    assert (filed.submitted_at, filed.decided_at) == (t(8), t(12))
    again = filings.moved(filings.moved(filed, S.CHANGE_PENDING, t(20), None), S.FILED, t(25), "R-2")
    assert (again.submitted_at, again.decided_at) == (t(8), t(12))
    assert [s.receipt_no for s in again.segments] == [None, None, "R", "R", "R-2"]


@pytest.mark.parametrize(
    ("to", "receipt", "code"),
    [(S.FILED, None, "filing.receipt_required"), (S.CORRECTION_REQUESTED, "R", "filing.receipt_not_yet")],
)
def test_a_receipt_exists_exactly_from_the_decision_on(to: FilingStatus, receipt: str | None, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        filings.moved(SUBMITTED, to, t(5), receipt)
    assert (refused.value.code, refused.value.pointer) == (code, "/receipt_no")


def test_a_back_dated_transition_must_lead_on_to_the_next_recorded_one() -> None:
    chain = filing((S.SUBMITTED, 1, 12, None), (S.CORRECTION_REQUESTED, 12, None, None))
    with pytest.raises(Conflict) as refused:
        filings.moved(FILED_12, S.CORRECTION_REQUESTED, t(5), None)  # from which `filed` cannot be reached
    assert refused.value.code == "filing.transition_contradicts_later"
    with pytest.raises(Conflict):
        filings.moved(chain, S.FILED, t(5), "R")


@pytest.mark.parametrize(
    ("before", "to", "after"),
    [
        (SUBMITTED, S.FILED, [(S.FILED, 1)]),  # submitted and filed on one morning
        (filing((S.CORRECTION_REQUESTED, 1, None, None)), S.RESUBMITTED, [(S.RESUBMITTED, 1)]),
        (filing((S.FILED, 1, 12, "R"), (S.SUSPENDED, 12, None, "R")), S.LAPSED, [(S.FILED, 1), (S.LAPSED, 12)]),
        (FILED_12, S.CANCELLED, None),  # submitted, then cancelled: a status that nobody may reach
        (filing((S.DRAFT, 1, 12, None), (S.SUBMITTED, 12, None, None)), S.FILED, None),
    ],
)
def test_a_transition_at_the_moment_of_the_present_one_follows_from_the_one_before(
    before: Filing, to: FilingStatus, after: list[tuple[FilingStatus, int]] | None
) -> None:
    moment = before.segments[-1].valid_from
    if after is None:
        with pytest.raises(Conflict, match="correction") as refused:
            filings.moved(before, to, moment, "R")
        assert refused.value.code == "filing.transition_same_moment"
    else:
        receipt = "R" if to in WITH_RECEIPT else None
        assert [(s.status, s.valid_from) for s in filings.moved(before, to, moment, receipt).segments] == [(s, t(d)) for s, d in after]


def test_nothing_moves_before_it_was_opened() -> None:
    with pytest.raises(Conflict, match="corr") as refused:
        filings.moved(filing((S.SUBMITTED, 5, None, None)), S.FILED, t(4), "R")
    assert refused.value.code == "filing.not_open_then"


def test_a_correction_needs_no_transition_and_keeps_the_receipt() -> None:
    lapsed = filings.moved(FILED_12, S.LAPSED, t(20), None)
    corrected = filings.corrected(lapsed, S.FILED, t(20), None)
    assert corrected.segments[-1] == FilingSegment(status=S.FILED, valid_from=t(20), valid_to=None, receipt_no="R")
    never = filings.corrected(lapsed, S.DRAFT, t(1), t(25))
    assert [(s.status, s.receipt_no) for s in never.segments] == [(S.DRAFT, None), (S.LAPSED, "R")]


CANCELLED = filing((S.SUBMITTED, 1, 12, None), (S.FILED, 12, 20, "R"), (S.CANCELLED, 20, None, "R"))
CORRECTIONS = {
    "inside one segment, until the next recorded": (
        (S.FILED, 5, None),
        [(S.SUBMITTED, 1, 5), (S.FILED, 5, 12), (S.FILED, 12, 20), (S.CANCELLED, 20, None)],
    ),
    "inside one segment, with its end": (
        (S.FILED, 5, 8),
        [(S.SUBMITTED, 1, 5), (S.FILED, 5, 8), (S.SUBMITTED, 8, 12), (S.FILED, 12, 20), (S.CANCELLED, 20, None)],
    ),
    "across, with its end": ((S.FILED, 5, 25), [(S.SUBMITTED, 1, 5), (S.FILED, 5, 25), (S.CANCELLED, 25, None)]),
    "at the start of one": ((S.RESUBMITTED, 1, None), [(S.RESUBMITTED, 1, 12), (S.FILED, 12, 20), (S.CANCELLED, 20, None)]),
    "at the start of one in between": ((S.SUSPENDED, 12, None), [(S.SUBMITTED, 1, 12), (S.SUSPENDED, 12, 20), (S.CANCELLED, 20, None)]),
    "at the start of the last": ((S.FILED, 20, None), [(S.SUBMITTED, 1, 12), (S.FILED, 12, 20), (S.FILED, 20, None)]),
    "inside the last": (
        (S.FILED, 25, None),
        [(S.SUBMITTED, 1, 12), (S.FILED, 12, 20), (S.CANCELLED, 20, 25), (S.FILED, 25, None)],
    ),
}


@pytest.mark.parametrize("case", CORRECTIONS)
def test_a_correction_without_an_end_holds_until_the_next_recorded_status(case: str) -> None:
    (status, start, end), after = CORRECTIONS[case]
    corrected = filings.corrected(CANCELLED, status, t(start), t(end) if end else None)
    assert [(s.status, s.valid_from, s.valid_to) for s in corrected.segments] == [(s, t(a), t(b) if b else None) for s, a, b in after]


DATED = replace(CANCELLED, submitted_at=t(1), decided_at=t(12))
TOLD = replace(filing((S.FILED, 12, None, "R")), submitted_at=t(8), decided_at=t(11))  # as told when it was opened
DATES = {
    "filed earlier": (DATED, (S.FILED, 5, None), (1, 5)),
    "filed later": (DATED, (S.SUBMITTED, 12, 15), (1, 15)),
    "never filed": (DATED, (S.SUBMITTED, 12, 28), (1, None)),  # then cancelled: a decision without the day of the first
    "submitted later": (DATED, (S.DRAFT, 1, 3), (3, 12)),
    "no more than a draft": (replace(filing((S.SUBMITTED, 1, None, None)), submitted_at=t(1)), (S.DRAFT, 1, None), (None, None)),
    "another period": (DATED, (S.FILED, 20, None), (1, 12)),
    "another period of what was told": (TOLD, (S.LAPSED, 20, None), (8, 11)),
    "filed before it was submitted, as told": (TOLD, (S.FILED, 5, None), (None, 5)),
}


@pytest.mark.parametrize("case", DATES)
def test_a_correction_moves_the_dates_of_submission_and_decision(case: str) -> None:
    before, (status, start, end), dates = DATES[case]
    corrected = filings.corrected(before, status, t(start), t(end) if end else None)
    assert (corrected.submitted_at, corrected.decided_at) == tuple(t(d) if d else None for d in dates)


@pytest.mark.parametrize("end", [5, 4])
def test_a_correction_of_no_time_is_refused(end: int) -> None:
    with pytest.raises(Invalid, match="valid_to"):
        filings.corrected(FILED_12, S.DRAFT, t(5), t(end))


def test_a_correction_to_filed_needs_a_receipt() -> None:
    with pytest.raises(Invalid, match="receipt"):
        filings.corrected(SUBMITTED, S.FILED, t(5), None)
    assert filings.corrected(SUBMITTED, S.FILED, t(5), None, "R").segments[-1].receipt_no == "R"


def test_a_decision_before_its_submission_is_refused() -> None:
    blank = replace(SUBMITTED, segments=(), submitted_at=t(9), decided_at=t(8))
    with pytest.raises(Invalid, match="earlier"):
        filings.opened(blank, t(9), S.FILED, "R")


# stations and aliases
def station(id_: str = "stn_1", *operators: tuple[str | None, int, int | None], held: tuple[Alias, ...] = ()) -> Station:
    lives = operators or (("opr_1", 1, None),)
    return Station(
        version=1,
        station_id=id_,
        level=Level.VILLAGE,
        aliases=held,
        filings=(),
        segments=tuple(
            StationSegment(
                valid_from=t(start),
                valid_to=t(end) if end else None,
                name="上王村",
                division_code="140827100200",
                township_code="140827100000",
                operator_id=operator,
                brands=("zto",),
                operating_status=OperatingStatus.OPEN,
                lat=None,
                lng=None,
            )
            for operator, start, end in lives
        ),
    )


def alias(name: str, start: int = 1, end: int | None = None, *, id_: str = "als_1", namespace: str = "zto") -> Alias:
    return Alias(alias_id=id_, namespace=namespace, site_code=None, site_name=name, valid_from=t(start), valid_to=t(end) if end else None)


@pytest.mark.parametrize(
    ("theirs", "ours", "code"),
    [
        (alias("王村店"), alias("王 村 店"), "alias.claimed"),  # the same once normalised
        (alias("王村店"), alias("王村站"), "alias.claimed"),
        (alias("王村店", 1, 10), alias("王村店", 10), None),
        (alias("王村店", 1, 10), alias("王村店", 9), "alias.claimed"),
        (alias("王村店", 10), alias("王村店", 1, 10), None),
        (alias("王村店"), alias("王村店", namespace="yto"), None),
        (alias("王村店"), alias("李村店"), None),
    ],
)
def test_a_site_is_claimed_by_one_station_at_a_time(theirs: Alias, ours: Alias, code: str | None) -> None:
    other = station("stn_2", held=(theirs,))
    if code is None:
        assert aliases.claimed(station(), ours, [other]).aliases == (ours,)
    else:
        with pytest.raises(Conflict, match="stn_2") as refused:
            aliases.claimed(station(), ours, [other])
        assert refused.value.code == code


def test_a_code_and_a_name_are_different_sites() -> None:
    by_code = replace(alias("A1"), site_code="A1", site_name=None)
    assert aliases.claimed(station(), by_code, [station("stn_2", held=(alias("A1"),))]).aliases == (by_code,)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(alias("x"), site_code="x"),
        replace(alias("x"), site_name=None),
        alias("\u3000\u3000"),  # nothing but white space
        alias("x", 5, 5),
    ],
)
def test_an_alias_names_one_site_for_some_time(wrong: Alias) -> None:
    with pytest.raises(Invalid):
        aliases.site_of(wrong)


@pytest.mark.parametrize(
    ("operator", "start", "end", "may"),
    [
        (None, 1, None, True),
        ("opr_1", 1, 10, True),
        ("opr_1", 1, None, False),  # its successor's time, too
        ("opr_1", 12, None, False),
        ("opr_2", 12, None, True),
        ("opr_2", 5, None, False),
        ("", 5, None, False),
        ("opr_1", 1, 11, False),
    ],
)
def test_an_operator_writes_about_its_own_time_only(operator: str | None, start: int, end: int | None, may: bool) -> None:
    handed_over = station("stn_1", ("opr_1", 1, 10), ("opr_2", 10, None))
    assert stations.writable_by(handed_over, operator, t(start), t(end) if end else None) is may


def division(kind: str) -> Division:
    segment = DivisionSegment(valid_from=t(1), valid_to=None, name="某", name_en="X", kind=kind, parent_code="P", edition=2023)
    return Division(version=1, code="C", segments=(segment,))


@pytest.mark.parametrize(
    ("level", "kind", "township"),
    [
        (Level.VILLAGE, "village", "P"),
        (Level.VILLAGE, "community", "P"),
        (Level.VILLAGE, "town", Invalid),
        (Level.TOWNSHIP, "town", "C"),
        (Level.TOWNSHIP, "village", "P"),
        (Level.TOWNSHIP, "county", Invalid),
        (Level.COUNTY_HUB, "county", None),
        (Level.COUNTY_HUB, "community", None),
    ],
)
def test_where_a_station_of_a_level_may_stand(level: Level, kind: str, township: str | type[Invalid] | None) -> None:
    if township is Invalid:
        with pytest.raises(Invalid, match="can in"):
            stations.place(level, "C", division(kind), t(5))
    else:
        assert stations.place(level, "C", division(kind), t(5)) == township


def test_a_division_is_known_from_its_day_on() -> None:
    with pytest.raises(Invalid, match="no division"):
        stations.place(Level.VILLAGE, "C", division("village"), datetime(2023, 5, 31, tzinfo=UTC))
    with pytest.raises(Invalid, match="no division"):
        stations.place(Level.VILLAGE, "C", None, t(5))


@pytest.mark.parametrize(
    ("name", "kind", "short"),
    [("上王村委会", "village", "上王村"), ("胡家峪社区居委会", "community", "胡家峪社区"), ("新城镇", "town", "新城镇")],
)
def test_people_read_the_place_and_not_its_committee(name: str, kind: str, short: str) -> None:
    assert divisions.short_name(name, kind) == short


def test_the_county_of_every_division_is_yuanqu() -> None:
    table = (ROOT / "services/registry/data/yuanqu_divisions.csv").read_text(encoding="utf-8")
    codes = [d.code for d in divisions.read(table)]
    assert len(codes) == len(set(codes)) == 100
    assert {divisions.county_of(code) for code in codes} == {"140827000000"}


def test_history_shows_what_was_believed_and_until_when() -> None:
    then = [
        Recorded(t(13), replace(station(), filings=(SUBMITTED,)), "operator:a"),
        Recorded(t(14), replace(station(), filings=(FILED_12,)), "postal:b", "已核"),
    ]
    rows = filing_rows([*then, Recorded(t(20), replace(station(), filings=(SUBMITTED,)), None)])
    assert [(r.segment.status, r.recorded_at, r.superseded_at, r.actor, r.reason) for r in rows] == [
        (S.SUBMITTED, t(13), t(14), "operator:a", None),
        (S.SUBMITTED, t(14), t(20), "postal:b", "已核"),
        (S.SUBMITTED, t(20), None, None, None),  # believed again: a row of its own
        (S.FILED, t(14), t(20), "postal:b", "已核"),
    ]
