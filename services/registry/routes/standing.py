from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas
from services.registry.routes import database
from services.registry.service import reads
from shared.auth import Principal, requires
from shared.http import reply
from shared.openapi import problems

router = APIRouter(tags=["standing 站点身份"])


@router.get("/v1/standing", summary="Standing of a station 站点身份", response_model=schemas.StandingAnswer, responses=problems(404))
async def get_standing(
    request: Request, principal: Annotated[Principal, requires("registry:read")], query: Annotated[schemas.StandingQuery, Query()]
) -> Response:
    """What a station was at `valid_at`, for one brand, as known at `known_at` or `known_revision`: the function that money uses."""
    return reply(request, await reads.standing(database(request), principal, query))
