"""One parcel: result, explanation, evidence."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from services.subsidy import schemas
from services.subsidy.service.tenancy import tenant_of
from shared.auth import Principal, requires
from shared.http import reply
from shared.openapi import problems

router = APIRouter(tags=["parcels"])
READ = requires("parcels:read")
Brand = Annotated[schemas.Brand, Path(description="the carrier")]
Waybill = Annotated[schemas.Waybill, Path(description="the waybill number; upper-cased")]
Known = Annotated[schemas.KnownQuery, Query()]


@router.get("/v1/parcels/{brand}/{waybill}", summary="One parcel 一件快件", responses=problems(404), response_model=schemas.Parcel)
async def show(request: Request, brand: Brand, waybill: Waybill, query: Known, principal: Principal = READ) -> Response:
    """What a parcel comes to; in transit: `outcome` null."""
    return reply(request, await request.app.state.parcels.show(tenant_of(principal), brand, waybill, query.known_at))


@router.get(
    "/v1/parcels/{brand}/{waybill}/explain",
    summary="Why a parcel is paid, or not 补贴依据说明",
    responses=problems(404),
    response_model=schemas.Explanation,
)
async def explain(request: Request, brand: Brand, waybill: Waybill, query: Known, principal: Principal = READ) -> Response:
    """Why, clause by clause, in a machine trace and in Chinese and English from the same trace."""
    return reply(request, await request.app.state.parcels.explain(tenant_of(principal), brand, waybill, query.known_at))


@router.get(
    "/v1/parcels/{brand}/{waybill}/evidence",
    summary="Events of a parcel 快件证据",
    responses=problems(404),
    response_model=schemas.Evidence,
)
async def evidence(request: Request, brand: Brand, waybill: Waybill, query: Known, principal: Principal = READ) -> Response:
    """Every version of every event, and what became of it."""
    return reply(request, await request.app.state.parcels.evidence(tenant_of(principal), brand, waybill, query.known_at))
