from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas, schemas_editions
from services.registry.domain.editions import MAX_BYTES
from services.registry.routes import database
from services.registry.routes.station_files import TABLE, format_of
from services.registry.service import editions, reads
from shared.auth import Principal, requires
from shared.http import next_link, read_body, reply
from shared.openapi import problems

router = APIRouter(tags=["divisions 区划"])
EDITIONS = "/v1/division-editions"


@router.get("/v1/divisions", summary="Divisions of the county 区划列表", response_model=schemas.DivisionList, responses=problems())
async def list_divisions(
    request: Request, _principal: Annotated[Principal, requires("registry:read")], query: Annotated[schemas.DivisionQuery, Query()]
) -> Response:
    """Divisions of the county, with their kinds (rural or not) and labels in both languages."""
    found = await reads.divisions(database(request), query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.post(
    EDITIONS,
    summary="New edition of the divisions 区划新版本",
    response_model=schemas_editions.EditionAnswer,
    responses=problems(409, 413, 415),
    openapi_extra=TABLE,
)
async def new_edition(
    request: Request,
    query: Annotated[schemas_editions.EditionQuery, Query()],
    principal: Annotated[Principal, requires("divisions:write")],
) -> Response:
    """The county's whole table: what it lacks has ended. Without `dry_run=false` nothing is recorded. docs/registry-divisions.md."""
    data = await read_body(request, MAX_BYTES)
    return reply(request, await editions.take(database(request), principal.subject, data, format_of(request), query))
