from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas
from services.registry.routes import database
from services.registry.service import reads
from shared.auth import requires
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["divisions 区划"], dependencies=[requires("registry:read")])


@router.get("/v1/divisions", summary="Divisions of the county 区划列表", response_model=schemas.DivisionList, responses=problems())
async def list_divisions(request: Request, query: Annotated[schemas.DivisionQuery, Query()]) -> Response:
    """Divisions of the county, with their kinds (rural or not) and labels in both languages."""
    found = await reads.divisions(database(request), query)
    return reply(request, found, headers=next_link(request, found.next_cursor))
