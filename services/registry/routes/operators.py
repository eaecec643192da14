from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas
from services.registry.routes import database, problems
from services.registry.service import reads, stations
from shared.auth import Principal, requires
from shared.http import next_link, reply

router = APIRouter(tags=["operators 运营企业"])
Reader = Annotated[Principal, requires("registry:read")]


@router.post("/v1/operators", status_code=201, response_model=schemas.OperatorAnswer, responses=problems(409, 503))
async def create_operator(
    request: Request, body: schemas.NewOperator, principal: Annotated[Principal, requires("operators:write")]
) -> Response:
    """Register a lead operator 牵头运营企业; 409 names the operator that bears the name at that time."""
    return reply(request, await stations.create_operator(database(request), principal, body), status=201)


@router.get("/v1/operators", response_model=schemas.OperatorList, responses=problems())
async def list_operators(request: Request, principal: Reader, query: Annotated[schemas.OperatorQuery, Query()]) -> Response:
    found = await reads.operators(database(request), principal, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.get("/v1/operators/{operator_id}", response_model=schemas.OperatorAnswer, responses=problems(404))
async def get_operator(request: Request, principal: Reader, operator_id: str, query: Annotated[schemas.OneQuery, Query()]) -> Response:
    return reply(request, await reads.operator(database(request), principal, operator_id, query))
