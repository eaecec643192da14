"""`tongcun.registry.v1`: one registry transaction, as full-history snapshots of every record that it changed.

The position of the message is the registry revision. A snapshot holds the whole valid-time history as it was believed at that
revision, so what was believed earlier is the earlier snapshot: two times, no deltas to replay.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Literal

import msgspec

TOPIC = "tongcun.registry.v1"
PARTITION = 0


class Level(StrEnum):
    COUNTY_HUB = "county_hub"
    TOWNSHIP = "township"
    VILLAGE = "village"


class OperatingStatus(StrEnum):
    PLANNED = "planned"
    OPEN = "open"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class FilingStatus(StrEnum):
    """末端备案, 《快递末端网点备案暂行规定》 arts. 5–10."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    CORRECTION_REQUESTED = "correction_requested"
    RESUBMITTED = "resubmitted"
    FILED = "filed"
    CHANGE_PENDING = "change_pending"
    LAPSED = "lapsed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUSPENDED = "suspended"


FILED = frozenset({FilingStatus.FILED, FilingStatus.CHANGE_PENDING})  # a change under review does not end a filing (art. 9)
DIVISION_KINDS = ("county", "town", "township", "village", "community", "statistical")
RURAL_KINDS = frozenset({"village", "town", "township"})  # a community is urban, a statistical unit is no township


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A snapshot; `type` says of what. Segments are in order of `valid_from`, do not overlap and may leave gaps."""

    version: int  # 1, 2 … of this record


class DivisionSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valid_from: datetime
    valid_to: datetime | None
    name: str
    name_en: str
    kind: str  # one of DIVISION_KINDS
    parent_code: str | None
    edition: int  # year of the statistical bureau's table


class Division(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="division"):
    code: str  # 12 digits
    segments: tuple[DivisionSegment, ...]


class OperatorSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valid_from: datetime
    valid_to: datetime | None
    name: str


class Operator(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="operator"):
    operator_id: str
    segments: tuple[OperatorSegment, ...]


class StationSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valid_from: datetime
    valid_to: datetime | None
    name: str
    division_code: str
    township_code: str | None  # of the division; null for a county hub
    operator_id: str | None
    brands: tuple[str, ...]
    operating_status: OperatingStatus
    lat: float | None  # WGS 84
    lng: float | None


class Alias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a sender names the station, by code or by name, in a namespace; valid from … to (exclusive)."""

    alias_id: str
    namespace: str
    site_code: str | None
    site_name: str | None
    valid_from: datetime
    valid_to: datetime | None


class FilingSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valid_from: datetime
    valid_to: datetime | None
    status: FilingStatus
    receipt_no: str | None


class Filing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    filing_id: str
    filer_id: str
    covers_brands: tuple[str, ...]
    authority: str
    opened_on: date
    submitted_at: datetime | None
    decided_at: datetime | None
    segments: tuple[FilingSegment, ...]


class Station(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="station"):
    station_id: str
    level: Level  # never changes: another level is another station
    segments: tuple[StationSegment, ...]
    aliases: tuple[Alias, ...]
    filings: tuple[Filing, ...]


AnyRecord = Division | Operator | Station


class RegistryChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The value of one position of the registry log; its position is the registry revision."""

    v: Literal[1] = 1
    recorded_at: datetime
    actor: str  # subject of the token, or `system`
    reason: str | None
    records: tuple[AnyRecord, ...]


decode_change = msgspec.json.Decoder(RegistryChange).decode


def record_id(record: AnyRecord) -> tuple[str, str]:
    """(kind, id) of a snapshot, as in the key of its message."""
    match record:
        case Division():
            return "division", record.code
        case Operator():
            return "operator", record.operator_id
        case Station():
            return "station", record.station_id
