"""HTTP shapes of a new edition of the divisions."""

from typing import Annotated

from pydantic import BaseModel, Field

from services.registry.domain.editions import What
from services.registry.schemas import Note
from shared.values import AsOf, Moment


class EditionQuery(BaseModel):
    edition: Annotated[int, Field(ge=2000, le=2099, description="year of the statistical bureau's table")]
    effective_at: Moment = Field(description="from when on its divisions hold")
    source: Note = Field(description="where the table is from")
    dry_run: bool = Field(True, description="say what would change, and record nothing")


class DivisionState(BaseModel):
    name: str
    kind: str
    parent_code: str | None


class DivisionChange(BaseModel):
    """`stations`: that stand in it at some time from then on; to be moved where it has ended, taken along where its township changes."""

    code: str
    change: What
    before: DivisionState | None
    after: DivisionState | None
    stations: list[str]


class EditionCounts(BaseModel):
    rows: int
    new: int
    changed: int
    ended: int


class EditionAnswer(BaseModel):
    dry_run: bool
    counts: EditionCounts
    items: list[DivisionChange]
    as_of: AsOf
