"""HTTP shapes of quarantine, and of what goes to the log once more (again.py)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from services.ingest.schemas import FeedName, Request
from shared.log.tables import MAX_PARTITIONS
from shared.values import AsOf, Instant, SafeText, Whole

QUARANTINE_ID = "^qua_[0-9]{1,18}$"
QuarantineStatus = Literal["open", "redriven", "dismissed"]
QuarantineId = Annotated[str, Field(pattern=QUARANTINE_ID)]


def number_of(quarantine_id: str) -> int:
    return int(quarantine_id.removeprefix("qua_"))


class Quarantined(BaseModel):
    quarantine_id: str
    receipt_id: str
    feed: str
    index: int
    code: str
    pointer: str
    received_at: Instant
    status: QuarantineStatus


class QuarantinedPush(Quarantined):
    format: str
    decided_at: Instant | None = Field(description="when it was redriven or dismissed, by whom and why")
    decided_by: str | None
    reason: str | None
    document: Any = Field(description="the push as it was decoded; everybody's data masked")
    as_of: AsOf

    @classmethod
    def of(cls, row: Any, document: Any, as_of: AsOf) -> "QuarantinedPush":
        named = ("receipt_id", "feed", "index", "code", "pointer", "received_at", "format", "reason")
        return cls(
            **{name: row[name] for name in named},
            quarantine_id=f"qua_{row['quarantine_id']}",
            status=row["outcome"] or "open",
            decided_at=row["at"],
            decided_by=row["by"],
            document=document,
            as_of=as_of,
        )


Reason = Annotated[str, Field(min_length=1, max_length=500, pattern="^[^\\x00]*$", description="why; kept for good")]


class Redrive(Request):
    """Which open items: by id, of one feed, with one code; without any of them the oldest."""

    quarantine_ids: list[QuarantineId] | None = Field(None, min_length=1, max_length=500)
    feed: FeedName | None = None
    code: SafeText(64) | None = None  # type: ignore[valid-type]
    reason: Reason
    dry_run: bool = False


class RedrivenItem(BaseModel):
    quarantine_id: str
    verdict: str = Field(description="accepted duplicate conflict; quarantined: it still cannot be read; readable: of a dry run")
    event_id: str | None
    code: str | None
    pointer: str | None


class Redriven(BaseModel):
    items: list[RedrivenItem]
    dry_run: bool


class Dismiss(Request):
    quarantine_ids: list[QuarantineId] = Field(min_length=1, max_length=500)
    reason: Reason


class Dismissed(BaseModel):
    dismissed: int = Field(description="of them were open")


class Remap(Request):
    """Of one partition of the log, from a position on."""

    partition: Whole = Field(ge=0, lt=MAX_PARTITIONS)
    from_position: Whole = Field(0, ge=0, le=10**15)
    reason: Reason
    dry_run: bool = False


class RemapChange(BaseModel):
    raw_action: str
    was: str
    now: str
    events: int


class Remapped(BaseModel):
    """`next_position`: where to go on; null at the log's end."""

    read: int
    published: int
    changes: list[RemapChange]
    next_position: int | None
    dry_run: bool


class Quarantine(BaseModel):
    items: list[Quarantined]
    next_cursor: str | None
    as_of: AsOf
