"""HTTP shapes of the audit trail."""

from pydantic import BaseModel, Field

from services.registry.schemas import ListQuery
from shared.values import AsOf, Instant, Moment


class RevisionQuery(ListQuery):
    actor: str | None = Field(None, max_length=200, pattern=r"^[^\x00]*$", description="subject of the token, or `system`")
    record_id: str | None = Field(
        None, max_length=64, pattern=r"^[0-9A-Za-z_]*$", description="of one record: stn_…, opr_…, mch_…, a division's code"
    )
    from_: Moment | None = Field(None, alias="from", description="recorded then or later")
    to: Moment | None = Field(None, description="recorded before then")


class ChangedRecord(BaseModel):
    kind: str
    id: str
    version: int


class RevisionItem(BaseModel):
    """One write: its position in the log, who made it, when and why, and what it changed."""

    revision: int
    recorded_at: Instant
    actor: str
    reason: str | None
    records: list[ChangedRecord]


class RevisionList(BaseModel):
    items: list[RevisionItem]
    next_cursor: str | None
    as_of: AsOf
