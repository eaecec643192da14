"""The shapes of declarations (申报) and of an applicant's year."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from services.subsidy.schemas import PageQuery, Several, Shape
from services.subsidy.schemas_holds import Why
from shared.values import AsOf, Instant, SafeText


class UploadQuery(BaseModel):
    file_name: Annotated[SafeText(200) | None, Field(description="as the merchant calls it; kept for people")] = None  # type: ignore[valid-type]


class RowQuery(PageQuery):
    verdict: Several | None = Field(None, description="accepted, duplicate, refused")


class Withdrawal(Shape):
    reason: Why


class Declaration(Shape):
    """A file. `judged` of its `rows` have a verdict; it is `unfinished` until all have: send the same file again."""

    declaration_id: str
    merchant_id: str
    format: Literal["csv", "xlsx", "json"]
    file_name: str | None
    sha256: str
    status: Literal["judged", "unfinished", "withdrawn"]
    rows: int
    judged: int
    accepted: int
    duplicate: int
    refused: int
    declared_at: Instant
    revision: int
    withdrawn_at: Instant | None
    withdrawal_reason: str | None


class DeclarationAnswer(Declaration):
    as_of: AsOf


class Declarations(Shape):
    items: list[Declaration]
    next_cursor: str | None
    as_of: AsOf


class Row(Shape):
    """A row of the file: what became of it, why, and what its parcel comes to now (`outcome` null: nothing is known of it yet)."""

    row_no: int
    verdict: Literal["accepted", "duplicate", "refused"]
    reason_code: str | None
    field: str | None
    zh: str | None
    en: str | None
    brand: str | None
    waybill_no: str | None
    declared_on: date | None
    platform: str | None
    order_no: str | None
    product: str | None
    destination: str | None
    freight_fen: int | None
    outcome: str | None
    net_fen: int
    outcome_reason: str | None


class Rows(Shape):
    items: list[Row]
    next_cursor: str | None
    as_of: AsOf


class UplinkYear(Shape):
    """`vested`: as it stands now the year's conditions are met; what is accrued is taken back where they are not when it is over."""

    merchant_id: str
    year: int
    parcels: int
    gross_fen: int
    adjusted_fen: int
    net_fen: int
    reviewed_sales_fen: int
    min_parcels: int
    min_sales_fen: int
    cap_fen: int
    vested: bool
    as_of: AsOf
