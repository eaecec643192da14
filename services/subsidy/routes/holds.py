"""Holds: what waits for a person, decisions on it, holds placed by hand."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from services.subsidy import schemas_holds as schemas
from services.subsidy.service.tenancy import tenant_of
from shared.auth import Principal, requires
from shared.cursors import OPENED, page
from shared.http import reply
from shared.openapi import problems
from shared.values import parse_many

router = APIRouter(tags=["holds 暂缓"])
HoldId = Annotated[str, Path(max_length=64, description="`hold_id`, like hld_…")]


@router.get("/v1/holds", summary="Holds 暂缓清单", responses=problems(410), response_model=schemas.Holds)
async def holds(
    request: Request,
    query: Annotated[schemas.HoldQuery, Query()],
    principal: Principal = requires("holds:read"),
    cursor: str | None = OPENED,
) -> Response:
    """What waits for a person, and what did."""
    filters = {"reason_code": parse_many(query.reason_code), "station_id": parse_many(query.station_id)}
    return page(request, await request.app.state.holds.list(tenant_of(principal), filters, query.status, query.limit, cursor))


@router.post(
    "/v1/holds",
    summary="Place a hold by hand 人工暂缓",
    status_code=201,
    responses=problems(404, 409, body=True),
    response_model=schemas.PlacedHold,
)
async def place(request: Request, body: schemas.NewHold, principal: Principal = requires("holds:decide")) -> Response:
    """On one parcel; all others go on. It is listed as soon as the parcel is re-assessed and there is something to hold."""
    return reply(request, await request.app.state.holds.place(principal, body), status=201)


@router.get("/v1/holds/{hold_id}", summary="One hold 一笔暂缓", responses=problems(404), response_model=schemas.OneHold)
async def hold(request: Request, hold_id: HoldId, principal: Principal = requires("holds:read")) -> Response:
    """What it is about, and what a release would make of the parcel."""
    return reply(request, await request.app.state.holds.show(tenant_of(principal), hold_id))


@router.post(
    "/v1/holds/{hold_id}/decisions",
    summary="Decide a hold 暂缓处理决定",
    status_code=201,
    responses=problems(404, 409, body=True),
    response_model=schemas.OneHold,
)
async def decide(
    request: Request, hold_id: HoldId, body: schemas.HoldDecision, principal: Principal = requires("holds:decide")
) -> Response:
    """Release it, or confirm it (the parcel is refused); never by whoever gains. The parcel is re-assessed within moments."""
    return reply(request, await request.app.state.holds.decide(principal, hold_id, body), status=201)


@router.get("/v1/rulings", summary="Rulings on holds 暂缓决定清单", responses=problems(410), response_model=schemas.Rulings)
async def rulings(
    request: Request,
    query: Annotated[schemas.RulingQuery, Query()],
    principal: Principal = requires("log:read"),
    cursor: str | None = OPENED,
) -> Response:
    """All that people said of holds, in its order: what a recomputation needs beside the logs and the policies."""
    return page(request, await request.app.state.holds.rulings(query.after_revision, query.limit, cursor))
