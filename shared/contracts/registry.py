"""`tongcun.registry.v1`: one registry transaction, as full-history snapshots of every record that it changed.

The position of the message is the registry revision. A snapshot holds the whole valid-time history as it was believed at that
revision, so what was believed earlier is the earlier snapshot: two times, no deltas to replay.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Literal

import msgspec

from shared.contracts.programme import Inspection, Programme
from shared.contracts.records import Level as Level
from shared.contracts.records import Record

TOPIC = "tongcun.registry.v1"
PARTITION = 0


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


class OperatorStatus(StrEnum):
    """动态管理 of lead operators (notice 垣发改字〔2023〕30号, 五(四))."""

    ADMITTED = "admitted"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class OperatorSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valid_from: datetime
    valid_to: datetime | None
    name: str
    status: OperatorStatus = OperatorStatus.ADMITTED
    reason: str | None = None  # of the status


class Licence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """快递业务经营许可 of an enterprise or of its branch: in which divisions its outlets may be filed, and how long.

    Filing regulation, arts. 8 and 10.
    """

    licence_id: str
    number: str
    authority: str
    holder: str  # as the licence names it: the enterprise, or its branch
    areas: tuple[str, ...]  # division codes, each with all that lies in it
    valid_from: datetime
    valid_to: datetime | None  # end of its term; null: none is told
    ended_at: datetime | None  # cancelled, or the branch struck off the register, before that
    reason: str | None  # of its end
    scope: tuple[str, ...] = ()  # 业务范围, in the licence's words; none: nobody has told


class Operator(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="operator"):
    operator_id: str
    segments: tuple[OperatorSegment, ...]
    licences: tuple[Licence, ...] = ()


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
    opened_on: date | None = None
    services_per_week: int | None = None  # how often parcels are brought to it, and fetched
    staff: int | None = None  # persons


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


class DocumentKind(StrEnum):
    """What a photograph or a paper is of. A filing's materials are named in art. 6 of the filing regulation."""

    PHOTO = "photo"  # of the premises 场所图片
    LICENCE = "licence"  # 营业执照 of whoever opens the outlet
    IDENTITY = "identity"  # 负责人身份证明: personal data
    AUTHORISATION = "authorisation"  # 授权书 of the enterprise's legal person, for its branch
    OTHER = "other"


class FilerType(StrEnum):
    ENTERPRISE = "enterprise"
    BRANCH = "branch"  # 分支机构: files with its enterprise's authorisation


class Material(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document that was handed in: its hash, never its bytes, which the registry keeps encrypted."""

    kind: DocumentKind
    document_id: str  # sha256:<64 hex digits>


class Filing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    filing_id: str
    filer_id: str
    covers_brands: tuple[str, ...]
    authority: str
    opened_on: date
    submitted_at: datetime | None
    decided_at: datetime | None
    segments: tuple[FilingSegment, ...]
    filer_type: FilerType = FilerType.ENTERPRISE
    materials: tuple[Material, ...] = ()
    scope: tuple[str, ...] = ()  # what the outlet does of its filer's 业务范围; none: nobody has told


class Station(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="station"):
    station_id: str
    level: Level  # never changes: another level is another station
    segments: tuple[StationSegment, ...]
    aliases: tuple[Alias, ...]
    filings: tuple[Filing, ...]
    photos: tuple[str, ...] = ()  # document ids of what it looks like, the first one first


class Qualification(StrEnum):
    """Of an applicant 申报主体 for the uplink subsidy: what the county's first review (工科局初审) says of it."""

    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class MerchantKind(StrEnum):
    ENTERPRISE = "enterprise"
    INDIVIDUAL = "individual"  # 个体工商户: its name and licence number are personal data of its owner


class SalesStatus(StrEnum):
    DECLARED = "declared"
    REVIEWED = "reviewed"
    REJECTED = "rejected"


class Shop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    platform: str  # as a policy lists it, e.g. 淘宝
    shop: str
    approved: bool  # seen by a reviewer; one that was added after the approval is not, and counts for nothing until then


class MerchantSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valid_from: datetime
    valid_to: datetime | None
    name: str
    kind: MerchantKind
    registered_on: date  # of the market registration (市场主体登记)
    division_code: str  # where it is registered
    licence_no: str | None
    shops: tuple[Shop, ...]
    qualification: Qualification
    reason: str | None  # of the decision


class Sales(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A calendar year's online sales as the merchant declared them; only reviewed ones count."""

    year: int
    sales_fen: int
    document: str  # what proves them
    status: SalesStatus
    reason: str | None  # of the review


class Merchant(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="merchant"):
    merchant_id: str
    segments: tuple[MerchantSegment, ...]
    sales: tuple[Sales, ...]  # one a year, by year


class IncidentKind(StrEnum):
    """What the service campaign (notice 垣发改字〔2023〕30号, 五(五)) and 《快递市场管理办法》 art. 54 are about."""

    NOT_DELIVERED_TO_ADDRESS = "not_delivered_to_address"  # 未按址投递
    ILLEGAL_CHARGE = "illegal_charge"  # 违规收费
    UNCONSENTED_RECEIPT = "unconsented_receipt"  # 未经用户同意代为确认收到，或投入站点
    FALSE_DATA = "false_data"  # 弄虚作假


class IncidentSource(StrEnum):
    COMPLAINT = "complaint"
    FINDING = "finding"  # of an inspection, or of somebody who looks at the data


class IncidentStatus(StrEnum):
    OPEN = "open"
    INVESTIGATING = "investigating"
    SUBSTANTIATED = "substantiated"  # 属实: to be rectified
    UNFOUNDED = "unfounded"  # 不属实
    RECTIFIED = "rectified"
    CLOSED = "closed"


class IncidentParcel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    brand: str
    waybill_no: str


class IncidentSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    valid_from: datetime
    valid_to: datetime | None
    status: IncidentStatus
    due_on: date | None  # by which the next step is to be taken
    note: str | None


class Incident(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="incident"):
    """A complaint or a finding, and what has come of it. What it means for money, a policy would have to say; none does so far."""

    incident_id: str
    kind: IncidentKind
    source: IncidentSource
    station_id: str | None
    operator_id: str | None
    parcels: tuple[IncidentParcel, ...]
    summary: str  # without anybody's name or number
    segments: tuple[IncidentSegment, ...]


AnyRecord = Division | Operator | Station | Merchant | Incident | Programme | Inspection


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
        case Merchant():
            return "merchant", record.merchant_id
        case Incident():
            return "incident", record.incident_id
        case Programme():
            return "programme", record.programme_id
        case Inspection():
            return "inspection", record.inspection_id
