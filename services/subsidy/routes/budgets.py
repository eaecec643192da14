"""Money given to the programme, and how much of it is left."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.subsidy import schemas
from shared.auth import Principal, requires
from shared.http import reply
from shared.openapi import problems

router = APIRouter(tags=["budgets"])


@router.get("/v1/budgets", summary="Budgets 预算", responses=problems(), response_model=schemas.Budgets)
async def budgets(
    request: Request, query: Annotated[schemas.BudgetQuery, Query()], principal: Principal = requires("budgets:read")
) -> Response:
    """By scheme and year: what each source has given, what is committed of it, and what is available."""
    return reply(request, await request.app.state.budgets.show(query.scheme, query.year))


@router.post(
    "/v1/budgets",
    summary="Record a budget line 登记预算",
    status_code=201,
    responses=problems(409, body=True),
    response_model=schemas.RecordedBudget,
)
async def add(request: Request, body: schemas.NewBudget, principal: Principal = requires("budgets:write")) -> Response:
    """Add money to a scheme's year. Lines are only added; each document once for a source."""
    return reply(request, await request.app.state.budgets.add(body, principal.subject), status=201)
