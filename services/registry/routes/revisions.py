from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_revisions as schemas
from services.registry.routes import database
from services.registry.service import revisions
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["log 日志"])


@router.get("/v1/revisions", summary="Who recorded what 变更记录", response_model=schemas.RevisionList, responses=problems())
async def list_revisions(
    request: Request, principal: Annotated[Principal, requires("log:read")], query: Annotated[schemas.RevisionQuery, Query()]
) -> Response:
    """Every write, newest first: its position in the log, who made it, when and why, and which records it changed."""
    found = await revisions.revisions(database(request), query)
    return reply(request, found, headers=next_link(request, found.next_cursor))
