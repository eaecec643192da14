from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_clocks as schemas
from services.registry.routes import database
from services.registry.service import clocks
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["filings 末端备案"])


@router.get("/v1/clocks", summary="What is due, overdue, and by whom 备案时限", response_model=schemas.ClockList, responses=problems())
async def list_clocks(
    request: Request, principal: Annotated[Principal, requires("registry:read")], query: Annotated[schemas.ClockQuery, Query()]
) -> Response:
    """The terms of the filing regulation that run at `valid_at`, the longest overdue first."""
    found = await clocks.clocks(database(request), principal, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))
