"""What became of what was sent: receipts, completeness."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from services.ingest import reading, schemas
from services.ingest.routes import Filter, ingest, tenant
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems
from shared.values import DEFAULT_LIMIT, CursorParam, Day, Limit, parse_many

router = APIRouter(tags=["receipts 回执"])


@router.get("/v1/receipts/{receipt_id}", summary="Receipt of a push 推送回执", response_model=schemas.Receipt, responses=problems(404))
async def receipt(
    request: Request,
    receipt_id: Annotated[str, Path(pattern="^rcp_[a-z2-7]{1,40}$")],
    principal: Principal = requires("receipts:read"),
) -> Response:
    """The same body that `POST /v1/scans` answered with, for native pushes too."""
    async with ingest(request).reader.read() as read:
        return reply(request, await reading.receipt(read, receipt_id, tenant(principal)))


@router.get("/v1/completeness", summary="Completeness by day 每日完整性", response_model=schemas.Completeness, responses=problems())
async def completeness(
    request: Request,
    from_: Annotated[Day | None, Query(alias="from", description="Shanghai day of receipt, inclusive")] = None,
    to: Annotated[Day | None, Query(description="exclusive")] = None,
    feed: Filter = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorParam = None,
    principal: Principal = requires("completeness:read"),
) -> Response:
    """Per feed and Shanghai day of receipt: what came, and what became of every item."""
    async with ingest(request).reader.read() as read:
        page = await reading.completeness(read, (from_, to), parse_many(feed), tenant(principal), cursor, limit)
    return reply(request, page, headers=next_link(request, page.next_cursor))
