"""72 real parcels (data/README.md) folded into Yuanqu's July 2023: real hours and durations, our county's places.

The rule, all of it. *Days*: the set has 18 May to 10 October without a year; its distinct days, in order, are laid on the 31 days of
July, so the order of days stays, and each parcel keeps its times of day. *Scans*: accept time → arrival at the county hub; delivery
time → inbound at the village station, and the villager's pick-up one minute later. *Places*: the delivery points from south to north
(then from west to east) are laid on the village stations in order of division code. *Senders*: `order_id` mod 3 tells which of the
three formats tells it.
"""

import csv
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from shared.calendar import SHANGHAI

SOURCE = Path(__file__).parent / "data" / "lade_jilin_sample.csv"
MONTH = date(2023, 7, 1)
DAYS = 31


@dataclass(frozen=True, slots=True)
class RealParcel:
    """One row, folded. `village` is an index into the county's village stations, `sender` into its three feeds."""

    order_id: int
    accepted_at: datetime
    delivered_at: datetime
    village: int
    sender: int


@dataclass(frozen=True, slots=True)
class _Row:
    order_id: int
    day: str  # mm-dd
    accepted: time
    delivered: time
    latitude: str
    longitude: str


def _row(fields: dict[str, str]) -> _Row:
    (day, accepted), (same_day, delivered) = fields["accept_time"].split(), fields["delivery_time"].split()
    assert day == same_day, "the sample has no parcel that stays overnight"
    times = time.fromisoformat(accepted), time.fromisoformat(delivered)
    return _Row(int(fields["order_id"]), day, *times, fields["delivery_lat"], fields["delivery_lng"])


def read(villages: int, source: Path = SOURCE) -> list[RealParcel]:
    """The sample on a county of so many village stations, in order of acceptance."""
    with source.open(encoding="utf-8", newline="") as file:
        rows = [_row(fields) for fields in csv.DictReader(file)]
    days = sorted({row.day for row in rows})
    july = {day: MONTH + timedelta(days=i * DAYS // len(days)) for i, day in enumerate(days)}
    northward = sorted(rows, key=lambda row: (float(row.latitude), float(row.longitude), row.order_id))
    village = {row.order_id: i * villages // len(rows) for i, row in enumerate(northward)}
    folded = [
        RealParcel(
            row.order_id,
            datetime.combine(july[row.day], row.accepted, SHANGHAI),
            datetime.combine(july[row.day], row.delivered, SHANGHAI),
            village[row.order_id],
            row.order_id % 3,
        )
        for row in rows
    ]
    return sorted(folded, key=lambda parcel: (parcel.accepted_at, parcel.order_id))
