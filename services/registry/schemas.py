"""HTTP shapes of the registry (`api.md` §3). An unknown field of a request is 422; a documented field of an answer is always there."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from shared.contracts.registry import DIVISION_KINDS, Level, OperatingStatus, OperatorStatus
from shared.contracts.scan import BRANDS
from shared.problems import mistake
from shared.values import AS_WHOLE, CONTROL, DEFAULT_LIMIT, EARLIEST, LATEST, MAX_CURSOR_BYTES, MAX_LIMIT, AsOf, Day, Instant, Moment

MAX_ALIASES = 50  # of one request
MAX_BODY_BYTES = 64 * 1024
DIVISION_CODE = r"^[0-9]{12}$"
DIVISION_CODES = r"^ *[0-9]{12} *(, *[0-9]{12} *)*$"  # of a filter: a misspelt code would answer an empty list in silence


def _day_in_range(day: date) -> date:
    if not EARLIEST.date() <= day < LATEST.date():
        raise mistake("date.out_of_range", "日期须在 2000 年至 2100 年之间。", "must lie between 2000 and 2100")
    return day


def _plain(text: str) -> str:
    """Without NUL, control or bidirectional characters, and not blank."""
    if not CONTROL.isdisjoint(text):
        raise mistake("text.control", "不得含控制字符。", "control characters are not allowed")
    if not (stripped := text.strip()):
        raise mistake("text.blank", "不得为空白。", "must not be blank")
    return stripped


def _brand(brand: str) -> str:
    """A misspelt brand would cover nothing in silence, so only known carriers are taken."""
    if brand not in BRANDS:
        known = ", ".join(BRANDS)
        raise mistake("brand.unknown", f"没有这个品牌，可用：{known}。", f"must be one of {known}")
    return brand


def _once_each(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


Date = Annotated[Day, AfterValidator(_day_in_range)]
Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)]
Note = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_plain)]
Code = Annotated[str, Field(pattern=DIVISION_CODE)]
OperatorId = Annotated[str, Field(pattern=r"^opr_[0-9]{1,19}$", examples=["opr_1"])]
Brand = Annotated[str, Field(max_length=32), AfterValidator(_brand)]
Brands = Annotated[list[Brand], Field(max_length=len(BRANDS)), AfterValidator(_once_each)]


Services = Annotated[int, Field(ge=0, le=70, description="how often a week parcels are brought and fetched; 7: daily"), AS_WHOLE]
Staff = Annotated[int, Field(ge=0, le=500, description="persons"), AS_WHOLE]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


LAT, LNG = (3.5, 54.0), (73.0, 136.0)  # China, its islands included


class Location(Body):
    lat: float = Field(ge=-90, le=90, allow_inf_nan=False)
    lng: float = Field(ge=-180, le=180, allow_inf_nan=False)
    crs: Literal["WGS84"] = "WGS84"


class GivenLocation(Location):
    """In China; two numbers in the wrong order are told."""

    lat: float = Field(allow_inf_nan=False, description="of 3.5 to 54")
    lng: float = Field(allow_inf_nan=False, description="of 73 to 136")

    @model_validator(mode="after")
    def _in_china(self) -> "GivenLocation":
        if LAT[0] <= self.lng <= LAT[1] and LNG[0] <= self.lat <= LNG[1]:
            raise mistake(
                "location.swapped", "经纬度填反了：lat 是纬度（约 35），lng 是经度（约 111）。", "lat and lng are the wrong way round"
            )
        if not (LAT[0] <= self.lat <= LAT[1] and LNG[0] <= self.lng <= LNG[1]):
            raise mistake("location.outside_china", "坐标不在中国境内，请核对。", "this is not in China: check it")
        return self


class NewOperator(Body):
    name: Name
    effective_at: Moment


class OperatorChange(Body):
    """Absent: not changed. A `status` other than `admitted` has its `reason`, which a change of status without one takes away."""

    name: Name = Field(default_factory=str)  # a factory: the OpenAPI shows no default for what is absent
    status: OperatorStatus = Field(default_factory=lambda: OperatorStatus.ADMITTED)
    reason: Note | None = None
    effective_at: Moment


class InlineAlias(Body):
    """An alias given with its station; valid from the station's `effective_at` where it says nothing else."""

    namespace: Name
    site_code: Name | None = None
    site_name: Name | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None


class NewAlias(InlineAlias):
    valid_from: Moment


class NewStation(Body):
    name: Name
    level: Level
    division_code: Code
    location: GivenLocation | None = None
    operator_id: OperatorId | None = None
    brands: Brands = []
    operating_status: OperatingStatus = OperatingStatus.PLANNED
    opened_on: Date | None = None
    services_per_week: Services | None = None
    staff: Staff | None = None
    aliases: list[InlineAlias] = Field([], max_length=MAX_ALIASES)
    effective_at: Moment


class StationChange(Body):
    """Absent: not changed. Null where nobody knows: location, operator, opening, services, staff."""

    name: Name = Field(default_factory=str)  # a factory: the OpenAPI shows no default for what is absent
    division_code: Code = Field(default_factory=str)
    location: GivenLocation | None = None
    operator_id: OperatorId | None = None
    brands: Brands = Field(default_factory=list)
    operating_status: OperatingStatus = Field(default_factory=lambda: OperatingStatus.PLANNED)
    opened_on: Date | None = None
    services_per_week: Services | None = None
    staff: Staff | None = None
    effective_at: Moment


# what is asked (an unknown query key is refused before: `shared.openapi.documented`)
class ListQuery(BaseModel):
    known_at: Moment | None = Field(None, description="as recorded by then")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=MAX_CURSOR_BYTES, description="`next_cursor` of the page before; pins its revision")


class DatedQuery(ListQuery):
    valid_at: Moment | None = Field(None, description="facts that held then; absent: now")


class OneQuery(BaseModel):
    valid_at: Moment | None = Field(None, description="facts that held then; absent: now")
    known_at: Moment | None = Field(None, description="as recorded by then")


class DivisionQuery(DatedQuery):
    parent_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)
    kind: str | None = Field(None, max_length=200, description=" ".join(DIVISION_KINDS))
    q: str | None = Field(None, max_length=100)


class OperatorQuery(DatedQuery):
    status: str | None = Field(None, max_length=100, description=" ".join(OperatorStatus))
    q: str | None = Field(None, max_length=100)


class StationFilters(BaseModel):
    """Several values of one filter: comma-separated."""

    county_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)
    township_code: str | None = Field(None, max_length=1300, pattern=DIVISION_CODES)
    level: str | None = Field(None, max_length=200)
    filing_status: str | None = Field(None, max_length=200)
    operating_status: str | None = Field(None, max_length=200)
    brand: str | None = Field(None, max_length=200)
    q: str | None = Field(None, max_length=100, description="part of the name, or its pinyin: whole, by initials, or mixed")


class StationQuery(StationFilters, DatedQuery):
    pass


class MapQuery(StationFilters, OneQuery):
    """All at once: a map has no pages."""


class StandingQuery(OneQuery):
    station_id: str = Field(max_length=40)
    brand: Brand
    known_revision: int | None = Field(None, ge=0, le=10**15, description="a registry revision, instead of known_at")


# what is answered
class Label(BaseModel):
    zh: str
    en: str


class DivisionItem(BaseModel):
    code: str
    name: str
    label: Label
    kind: str
    parent_code: str | None
    rural: bool
    edition: int


class LicenceItem(BaseModel):
    """`status`: `expired` by its term, `ended` before it; `planned`: not valid yet."""

    licence_id: str
    number: str
    authority: str
    holder: str
    areas: list[str]
    scope: list[str]
    valid_from: Instant
    valid_to: Instant | None
    ended_at: Instant | None
    reason: str | None
    status: Literal["planned", "valid", "expired", "ended"]


class OperatorItem(BaseModel):
    operator_id: str
    name: str
    status: OperatorStatus
    reason: str | None
    licences: list[LicenceItem]
    valid_from: Instant
    valid_to: Instant | None
    recorded_at: Instant
    version: int


class AliasItem(BaseModel):
    alias_id: str
    namespace: str
    site_code: str | None
    site_name: str | None
    valid_from: Instant
    valid_to: Instant | None


class StationItem(BaseModel):
    """`valid_from`/`valid_to`: for how long everything shown here held (the aliases carry their own)."""

    station_id: str
    name: str
    level: str
    division_code: str
    township_code: str | None
    county_code: str
    location: Location | None
    operator_id: str | None
    brands: list[str]
    operating_status: str
    opened_on: date | None
    services_per_week: int | None
    staff: int | None
    filing_status: str
    aliases: list[AliasItem]
    photos: list[str] = Field(description="document ids, of what it looks like now")
    valid_from: Instant
    valid_to: Instant | None
    recorded_at: Instant
    version: int


class OperatorAnswer(OperatorItem):
    as_of: AsOf


class AliasAnswer(AliasItem):
    station_id: str
    as_of: AsOf


class StationAnswer(StationItem):
    as_of: AsOf


class DivisionList(BaseModel):
    items: list[DivisionItem]
    next_cursor: str | None
    as_of: AsOf


class OperatorList(BaseModel):
    items: list[OperatorItem]
    next_cursor: str | None
    as_of: AsOf


class StationList(BaseModel):
    items: list[StationItem]
    next_cursor: str | None
    as_of: AsOf


class SegmentItem(BaseModel):
    valid_from: Instant
    valid_to: Instant | None


class Point(BaseModel):
    type: Literal["Point"] = "Point"
    coordinates: tuple[float, float] = Field(description="longitude, latitude; WGS 84 (RFC 7946 §4)")


class StationFeature(BaseModel):
    """`geometry` null: nobody has told where it is."""

    type: Literal["Feature"] = "Feature"
    id: str
    geometry: Point | None
    properties: StationItem


class StationMap(BaseModel):
    """RFC 7946, with `as_of` as a foreign member."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[StationFeature]
    as_of: AsOf


class StandingAnswer(BaseModel):
    """`standard`: both departments have passed it by its level's checklist, in the inspection that was decided last; of the moment.

    `segment`: for how long the rest held.
    """

    station_id: str
    brand: str
    level: str
    division_code: str
    operator_id: str | None
    operating_status: str
    filed: bool
    filing_id: str | None
    standard: bool
    inspection_id: str | None
    segment: SegmentItem
    as_of: AsOf


def changes_of(change: StationChange | OperatorChange) -> dict[str, Any]:
    """The fields that were given, without the time."""
    return {name: getattr(change, name) for name in change.model_fields_set - {"effective_at"}}
