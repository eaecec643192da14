"""HTTP shapes of ingest (`api.md` §2), for OpenAPI and for what administrators send."""

from datetime import date
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from services.ingest.brands import FORMATS
from services.ingest.domain import outlet
from services.ingest.domain.verdicts import VERDICTS
from services.ingest.feeds import NAME, OVERLAP_S
from shared.contracts.scan import BRANDS
from shared.problems import mistake
from shared.values import AS_WHOLE, AsOf, Instant, SafeText, Whole

FeedName = Annotated[str, Field(pattern=f"^{NAME.pattern}$", description="lower-case letters, digits and hyphens")]
Mode = Literal["sandbox", "live", "paused"]
# A sender that already signs with a secret of its own (ZTO's appSecret) keeps it.
OwnSecret = Annotated[str, Field(pattern=r"^[!-~]{1,256}$", description="the sender's own secret: printable ASCII; without it one is made")]


Silence = Annotated[int, Field(ge=60, le=30 * 86400, description="seconds without a push after which the feed is silent"), AS_WHOLE]


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise mistake("network.invalid", "不是网络地址，例如 203.0.113.0/24。", "no network: write it as 203.0.113.0/24") from None


Network = Annotated[str, Field(max_length=64), AfterValidator(_network)]
Networks = Annotated[list[Network], Field(min_length=1, max_length=64, description="networks that its pushes may come from")]


class Request(BaseModel):
    """What a client sends: an unknown field is a mistake, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FeedCreate(Request):
    feed: FeedName
    format: str = Field(json_schema_extra={"enum": list(FORMATS)})
    brands: list[str] = Field(min_length=1, max_length=len(BRANDS), json_schema_extra={"items": {"type": "string", "enum": list(BRANDS)}})
    site_namespace: SafeText(64) | None = None  # type: ignore[valid-type]
    mode: Mode = "sandbox"
    silence_after_s: Silence = 7200
    signature: str | None = Field(None, max_length=32, description="the one scheme by which it authenticates; null: any of its format")
    allow_from: Networks | None = None
    secret: OwnSecret | None = None

    @field_validator("format")
    @classmethod
    def _spoken(cls, format_: str) -> str:
        if format_ not in FORMATS:
            known = ", ".join(FORMATS)
            raise mistake("format.unknown", f"没有这种格式，可用：{known}。", f"a format is one of {known}")
        return format_

    @field_validator("brands")
    @classmethod
    def _carriers(cls, brands: list[str]) -> list[str]:
        if unknown := sorted(set(brands) - set(BRANDS)):
            named, known = unknown[0][:32], ", ".join(BRANDS)
            raise mistake("brand.unknown", f"没有品牌 {named}，可用：{known}。", f"there is no brand {named}: brands are {known}")
        if len(set(brands)) != len(brands):
            raise mistake("brand.twice", "品牌重复。", "a brand is named twice")
        return brands


class FeedRotate(Request):
    overlap_s: Whole = Field(
        OVERLAP_S, ge=0, le=30 * 86400, description="seconds for which the secrets so far stay good; 0: revoked at once"
    )
    secret: OwnSecret | None = None


class FeedPatch(Request):
    """At least one of them; null for `signature` and `allow_from`: any."""

    mode: Mode = Field(default_factory=lambda: "sandbox")  # a factory: the OpenAPI shows no default for what is absent
    silence_after_s: Silence = Field(default_factory=int)
    signature: str | None = Field(None, max_length=32)
    allow_from: Networks | None = None

    @model_validator(mode="after")
    def _something(self) -> "FeedPatch":
        if not self.model_fields_set:
            raise mistake("patch.empty", "没有要修改的内容。", "nothing is to be changed")
        return self

    def wishes(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in self.model_fields_set}
        return named | ({"allow_from": tuple(named["allow_from"])} if named.get("allow_from") is not None else {})


class Feed(BaseModel):
    feed: str
    format: str
    brands: list[str]
    site_namespace: str | None
    mode: str
    silence_after_s: int
    signature: str | None
    allow_from: list[str] | None
    push_url: str

    @classmethod
    def of(cls, feed: Any, **more: Any) -> "Feed":
        url = f"/v1/push/{feed.feed}" if feed.has_secret else "/v1/scans"
        return cls(
            feed=feed.feed,
            format=feed.format,
            brands=list(feed.brands),
            site_namespace=feed.site_namespace,
            mode=feed.mode,
            silence_after_s=feed.silence_after_s,
            signature=feed.signature,
            allow_from=None if feed.allow_from is None else list(feed.allow_from),
            push_url=url,
            **more,
        )


class FeedHealth(BaseModel):
    """Told from the last hour; `refused`: pushes that could not be authenticated or read."""

    feed: str
    format: str
    brands: list[str]
    mode: Mode
    status: str = Field(description="ok silent degraded failing")
    reason_codes: list[str] = Field(description="paused silence refused rejected clock_ahead")
    last_push_at: Instant | None
    last_event_at: Instant | None = Field(description="the newest scan of the last push that had one")
    silence_after_s: int
    events_last_hour: int
    rejected_last_hour: int = Field(description="quarantined ones, too")
    refused_last_hour: int
    clock_skew_ms: int | None = Field(description="newest scan of a push before its receipt, at most: beyond 0 the sender's clock is ahead")
    as_of: AsOf


_Field = Literal[
    "brand", "waybill_no", "action", "raw_action", "event_ref", "scanned_at", "site_code", "site_name", "origin", "destination", "goods",
    "order_no", "weight_g",
]  # fmt: skip
_Told = Annotated[str, Field(min_length=1, max_length=200, pattern="^[^\\x00]*$")]


class FileColumns(Request):
    """Which column of an outlet's CSV or XLSX is which. Brand, waybill number, action and time must come from somewhere."""

    headings: dict[_Field, _Told] = Field(min_length=1, description="field → heading of its column")
    fixed: dict[_Field, _Told] = Field({}, description="field → what every row says")
    values: dict[_Field, dict[_Told, _Told]] = Field(
        {}, max_length=4, description="field → the file's word → ours, e.g. action: 签收 → signed"
    )

    @model_validator(mode="after")
    def _whole(self) -> "FileColumns":
        if lacking := outlet.missing({*self.headings, *self.fixed}):
            raise mistake("columns.missing", f"缺少 {lacking[0]}。", f"{lacking[0]} comes from nowhere")
        if any(len(words) > 200 for words in self.values.values()):
            raise mistake("columns.too_many_values", "对应的词最多 200 个。", "at most 200 words of a field")
        return self


class FileColumnsView(BaseModel):
    feed: str
    headings: dict[str, str]
    fixed: dict[str, str]
    values: dict[str, dict[str, str]]
    as_of: AsOf


class FileError(BaseModel):
    row: int = Field(description="of the file; its headings are row 1")
    code: str
    field: str | None
    heading: str | None


class FileReceipt(BaseModel):
    """`receipts`: one of every 500 rows; `errors`: the rows that were rejected. The same file again changes nothing."""

    feed: str
    file_sha256: str
    counts: "Counts"
    receipts: list[str]
    errors: list[FileError]


class SignatureCheck(BaseModel):
    """Why a push to a sandbox feed would be refused, or that it would not. Never what the signature should have been."""

    good: bool
    code: str
    zh: str
    en: str
    signed_bytes: int | None = Field(description="how long the text is that we take for what was signed")
    signed_sha256: str | None = Field(description="and its SHA-256, so that the sender can compare it with its own")


_WaybillNo = Annotated[str, Field(pattern="^[0-9A-Za-z-]{4,32}$")]


_Events = Annotated[int, Field(ge=1, le=10_000), AS_WHOLE]
_Waybills = Annotated[dict[_WaybillNo, _Events], Field(max_length=100_000, json_schema_extra={"additionalProperties": False})]


class ManifestCreate(Request):
    """What a sender says it sent us on a Shanghai day, by when we received it; `waybills`: how many events of each."""

    date: date
    events: Whole = Field(ge=0, le=10_000_000)
    waybills: _Waybills | None = None

    @field_validator("date", mode="before")
    @classmethod
    def _day(cls, told: Any) -> Any:
        return date.fromisoformat(told) if isinstance(told, str) else told


class Manifest(BaseModel):
    """`missing`: declared and not received, `undeclared`: the reverse; the first 1,000 waybills of each, with how many events."""

    feed: str
    date: date
    declared_events: int
    received_events: int
    missing_events: int | None = Field(description="null where the sender named no waybills")
    undeclared_events: int | None
    missing: dict[str, int]
    undeclared: dict[str, int]
    as_of: AsOf


class FeedView(Feed):
    as_of: AsOf


class FeedCreated(Feed):
    """`secret` is shown here and never again; null for a canonical feed, whose secret is its token."""

    secret: str | None
    secret_id: str | None


class FeedSecret(BaseModel):
    feed: str
    secret: str
    secret_id: str
    overlap_s: Whole = Field(description="seconds for which the secrets before this one stay good")


class Feeds(BaseModel):
    items: list[Feed]
    next_cursor: str | None
    as_of: AsOf


class Retraction(Request):
    event_id: str | None = None
    previous_action: str | None = None


class ScanItem(Request):
    """One event of `POST /v1/scans`. An item that breaks the contract is rejected alone."""

    event_ref: str | None = Field(None, description="the sender's own id of the event")
    brand: str
    waybill_no: str
    action: str
    raw_action: str | None = None
    scanned_at: Instant
    site_code: str | None = None
    site_name: str | None = None
    origin: str | None = Field(None, description="12-digit division code")
    destination: str | None = Field(None, description="12-digit division code")
    goods: str | None = None
    order_no: str | None = None
    weight_g: int | None = None
    retracts: Retraction | None = None


class Scans(Request):
    events: list[ScanItem] = Field(max_length=500)


class Counts(BaseModel):
    received: int
    accepted: int
    duplicate: int
    conflict: int
    quarantined: int
    rejected: int


class ReceiptItem(BaseModel):
    index: int
    verdict: str = Field(description=" ".join(VERDICTS))
    event_id: str | None
    code: str | None
    pointer: str | None


class Receipt(BaseModel):
    receipt_id: str
    feed: str
    received_at: Instant
    counts: Counts
    items: list[ReceiptItem]


class PushCounts(BaseModel):
    received: int
    unauthenticated: int
    unparseable: int
    paused: int = Field(description="refused because the feed was paused")


class Day(BaseModel):
    feed: str
    mode: str
    received_date: date
    pushes: PushCounts
    events: Counts
    redriven: int = Field(description="events that went to the log that day because quarantined items could be read")
    remapped: int = Field(description="events that went to the log again that day because a corrected table reads them differently")
    declared_events: int | None = Field(description="what the sender says it sent that day; null where it has not said")
    balanced: bool = Field(description="whether the items of every push, counted again, are the counts that stand here")


class Completeness(BaseModel):
    items: list[Day]
    unpublished_events: int
    next_cursor: str | None
    as_of: AsOf
