"""Valid time: a life as segments in order, without overlap.

One rule for whatever is back-dated without an end: it holds until the next recorded beginning, and what was recorded for a later time
stays as it was (api §3). A change *cuts* the segment that holds then (`changed_from`). A correction *overwrites* a period, across
segments and gaps, and only one that names its end reaches past the next beginning (`overwritten`, `next_beginning`).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import msgspec

from services.registry.domain.refusals import Invalid

MAX_AHEAD = timedelta(days=366)  # a change may be planned; a later one is a slip of the year that nobody would see until then


class Segment(Protocol):
    @property
    def valid_from(self) -> datetime: ...
    @property
    def valid_to(self) -> datetime | None: ...


S = TypeVar("S", bound=msgspec.Struct)


def index_at(segments: tuple[Any, ...], moment: datetime) -> int | None:
    """The place of the segment that holds at a moment, or None (before the first, in a gap, after the end)."""
    return next((i for i, s in enumerate(segments) if s.valid_from <= moment and (s.valid_to is None or moment < s.valid_to)), None)


def changed_from(segments: tuple[S, ...], moment: datetime, changes: dict[str, object]) -> tuple[S, ...] | None:
    """Cut the segment that holds at `moment`: from there to its end it carries `changes`. None where no segment holds.

    A moment that begins a segment replaces it whole. Equal neighbours are kept apart: where one begins something was recorded, and a
    later back-dated change holds until there.
    """
    i = index_at(segments, moment)
    if i is None:
        return None
    old: Any = segments[i]
    before = () if old.valid_from == moment else (msgspec.structs.replace(old, valid_to=moment),)
    return (*segments[:i], *before, msgspec.structs.replace(old, valid_from=moment, **changes), *segments[i + 1 :])


def next_beginning(segments: Iterable[Segment], moment: datetime) -> datetime | None:
    """When the next segment after `moment` begins; None after the last. Equal neighbours count: there something was recorded."""
    return min((s.valid_from for s in segments if s.valid_from > moment), default=None)


def overwritten(segments: tuple[S, ...], new: S) -> tuple[S, ...]:
    """Put `new` in place of whatever was recorded for its period; what lies outside stays."""
    put: Any = new
    kept: list[S] = []
    for old in segments:
        kept += _outside(old, put.valid_from, put.valid_to)
    return tuple(sorted([*kept, new], key=lambda s: s.valid_from))  # type: ignore[attr-defined]


def _outside(old: Any, start: datetime, end: datetime | None) -> Iterable[Any]:
    if old.valid_from < start:
        yield msgspec.structs.replace(old, valid_to=start if old.valid_to is None else min(old.valid_to, start))
    if end is not None and (old.valid_to is None or old.valid_to > end):
        yield msgspec.structs.replace(old, valid_from=max(old.valid_from, end))


def shown_at(segments: Sequence[Segment], now: datetime) -> datetime:
    """At which moment to show a record of which something undated has changed: now, or when its last segment begins where none holds."""
    held = index_at(tuple(segments), now) is not None
    return now if held else segments[-1].valid_from


def check_ahead(moment: datetime, now: datetime, pointer: str) -> None:
    if moment > now + MAX_AHEAD:
        raise Invalid(
            "moment.too_far_ahead",
            f"时间在一年以后（{moment.isoformat()}），请核对年份；最多可提前一年登记。",
            f"{moment.isoformat()} is more than a year ahead: check the year. A change is recorded at most a year before it holds.",
            pointer,
        )


def overlap(a: Segment, b: Segment) -> bool:
    """Whether two periods share a moment; an empty one shares none."""
    starts, ends = max(a.valid_from, b.valid_from), [e for e in (a.valid_to, b.valid_to) if e]
    return not ends or starts < min(ends)
