from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas
from services.registry import schemas_licences as licence_schemas
from services.registry.routes import database
from services.registry.service import licences, reads, stations
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["operators 运营企业"])
Reader = Annotated[Principal, requires("registry:read")]


@router.post(
    "/v1/operators",
    summary="New operator 登记运营企业",
    status_code=201,
    response_model=schemas.OperatorAnswer,
    responses=problems(409, body=True),
)
async def create_operator(
    request: Request, body: schemas.NewOperator, principal: Annotated[Principal, requires("operators:write")]
) -> Response:
    """Register a lead operator 牵头运营企业; 409 names the operator that bears the name at that time."""
    return reply(request, await stations.create_operator(database(request), principal, body), status=201)


@router.patch(
    "/v1/operators/{operator_id}",
    summary="Change an operator 变更运营企业",
    response_model=schemas.OperatorAnswer,
    responses=problems(404, 409, body=True),
)
async def change_operator(
    request: Request, body: schemas.OperatorChange, principal: Annotated[Principal, requires("operators:write")], operator_id: str
) -> Response:
    """Its name, or whether it is admitted, suspended or removed 动态管理, from `effective_at` until the next recorded change."""
    return reply(request, await stations.change_operator(database(request), principal.subject, operator_id, body))


@router.post(
    "/v1/operators/{operator_id}/licences",
    summary="New licence 登记经营许可",
    status_code=201,
    response_model=schemas.OperatorAnswer,
    responses=problems(404, 409, body=True),
)
async def add_licence(
    request: Request, body: licence_schemas.NewLicence, principal: Annotated[Principal, requires("operators:write")], operator_id: str
) -> Response:
    """From then on, what this operator files must lie in the area and term of one of its licences."""
    return reply(request, await licences.add_licence(database(request), principal.subject, operator_id, body), status=201)


@router.post(
    "/v1/operators/{operator_id}/licences/{licence_id}/end",
    summary="End of a licence 经营许可终止",
    response_model=schemas.OperatorAnswer,
    responses=problems(404, 409, body=True),
)
async def end_licence(
    request: Request,
    body: licence_schemas.LicenceEnd,
    principal: Annotated[Principal, requires("operators:write")],
    operator_id: str,
    licence_id: str,
) -> Response:
    """Cancelled before its term: what was filed under it alone lapses with it, in the same write."""
    return reply(request, await licences.end_licence(database(request), principal.subject, operator_id, licence_id, body))


@router.get("/v1/operators", summary="Operators 运营企业列表", response_model=schemas.OperatorList, responses=problems())
async def list_operators(request: Request, principal: Reader, query: Annotated[schemas.OperatorQuery, Query()]) -> Response:
    found = await reads.operators(database(request), principal, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.get(
    "/v1/operators/{operator_id}", summary="One operator 一个运营企业", response_model=schemas.OperatorAnswer, responses=problems(404)
)
async def get_operator(request: Request, principal: Reader, operator_id: str, query: Annotated[schemas.OneQuery, Query()]) -> Response:
    return reply(request, await reads.operator(database(request), principal, operator_id, query))
