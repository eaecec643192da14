"""The filings of a station over both times: every row that was ever believed, and when it was."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from shared.contracts.registry import Filing, FilingSegment, Merchant, Station

R = TypeVar("R", Station, Merchant)


class Recorded(NamedTuple, Generic[R]):
    """A record as somebody recorded it, and why if they said so."""

    recorded_at: datetime
    record: R
    actor: str | None = None
    reason: str | None = None


@dataclass
class Row:
    """One period of a filing; believed from `recorded_at` until `superseded_at` (null: still). `actor`, `reason`: of the recording."""

    filing: Filing
    segment: FilingSegment
    recorded_at: datetime
    actor: str | None
    reason: str | None
    superseded_at: datetime | None = None


def filing_rows(snapshots: Iterable[Recorded[Station]]) -> list[Row]:
    """Rows by filing, valid time and recorded time. `snapshots`: oldest first."""
    believed: dict[tuple[str, FilingSegment], Row] = {}
    gone: list[Row] = []
    for recorded_at, station, actor, reason in snapshots:
        now = {(f.filing_id, s): (f, s) for f in station.filings for s in f.segments}
        for key in [k for k in believed if k not in now]:
            believed[key].superseded_at = recorded_at
            gone.append(believed.pop(key))
        for key, (filing, segment) in now.items():
            row = believed.setdefault(key, Row(filing, segment, recorded_at, actor, reason))
            row.filing = filing  # what is known of the filing as a whole may grow while this period stands
    rows = [*gone, *believed.values()]
    return sorted(rows, key=lambda r: (r.filing.filing_id, r.segment.valid_from, r.recorded_at))
