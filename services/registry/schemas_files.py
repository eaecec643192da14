"""HTTP shapes of stations as a table."""

from typing import Literal

from pydantic import BaseModel, Field

from services.registry.schemas import OneQuery, StationFilters
from shared.values import AsOf


class ImportQuery(BaseModel):
    dry_run: bool = Field(True, description="say what would become of each row, and record nothing")


class ExportQuery(StationFilters, OneQuery):
    pass


class CellFlaw(BaseModel):
    field: str = Field(description="column; empty: the row as a whole")
    code: str
    detail: str


class ImportedRow(BaseModel):
    """`duplicate`: a station of this name, level and division is there already; nothing is made of the row."""

    row: int = Field(description="of the file; the headings are row 1")
    verdict: Literal["accepted", "duplicate", "refused"]
    station_id: str | None = Field(description="null in a dry run, and where the row was refused")
    name: str
    errors: list[CellFlaw]


class ImportCounts(BaseModel):
    rows: int
    accepted: int
    duplicate: int
    refused: int


class Imported(BaseModel):
    dry_run: bool
    counts: ImportCounts
    items: list[ImportedRow]
    as_of: AsOf
