"""Months of the books: what is in them, and their close."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from services.subsidy import schemas
from shared.auth import Principal, requires
from shared.http import reply
from shared.openapi import problems

router = APIRouter(tags=["periods"])
Month = Annotated[str, Path(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="a month, e.g. 2023-07")]


@router.get("/v1/periods", summary="Months of the books 记账月份", responses=problems(), response_model=schemas.PeriodList)
async def periods(request: Request, principal: Principal = requires("periods:read")) -> Response:
    """The months that have lines, newest first: what is in them, and what their close took back and carried on."""
    return reply(request, await request.app.state.closings.periods())


@router.post(
    "/v1/periods/{period}/close", summary="Close a month 月末结账", responses=problems(404, 409), response_model=schemas.ClosedPeriod
)
async def close(request: Request, period: Month, principal: Principal = requires("periods:close")) -> Response:
    """Adjust the month to its ceiling, its applicants' years and its budgets, and close it for good.

    It answers when it is done. A close that was interrupted goes on where it stopped when it is asked for again.
    """
    return reply(request, await request.app.state.closings.close(period, principal.subject))
