"""Merchants 申报主体: who applies for the uplink subsidy, what they tell, what a reviewer says of it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from services.registry import schemas_merchants as schemas
from services.registry.routes import database
from services.registry.schemas import OneQuery
from services.registry.service import merchant_reads as reads
from services.registry.service import merchants
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["merchants 申报主体"])
Reader = Annotated[Principal, requires("registry:read")]
Writer = Annotated[Principal, requires("merchants:write")]
Reviewer = Annotated[Principal, requires("merchants:review")]
Year = Annotated[int, Path(ge=2000, lt=2100)]


@router.post(
    "/v1/merchants",
    summary="New merchant 登记申报主体",
    status_code=201,
    response_model=schemas.MerchantAnswer,
    responses=problems(409, body=True),
)
async def create_merchant(request: Request, body: schemas.NewMerchant, principal: Writer) -> Response:
    """Register an applicant for the uplink subsidy; it is `submitted` until a reviewer has approved it."""
    return reply(request, await merchants.create(database(request), principal, body), status=201)


@router.get("/v1/merchants", summary="Merchants 申报主体列表", response_model=schemas.MerchantList, responses=problems())
async def list_merchants(request: Request, principal: Reader, query: Annotated[schemas.MerchantQuery, Query()]) -> Response:
    """A merchant's token sees its own; who does not work on declarations sees no personal data (`redacted`)."""
    found = await reads.merchants(database(request), principal, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.get(
    "/v1/merchants/{merchant_id}", summary="One merchant 一个申报主体", response_model=schemas.MerchantAnswer, responses=problems(404)
)
async def get_merchant(request: Request, principal: Reader, merchant_id: str, query: Annotated[OneQuery, Query()]) -> Response:
    return reply(request, await reads.merchant(database(request), principal, merchant_id, query))


@router.get(
    "/v1/merchants/{merchant_id}/history",
    summary="History of a merchant 申报主体变更历史",
    response_model=schemas.MerchantHistory,
    responses=problems(404),
)
async def list_history(
    request: Request,
    principal: Annotated[Principal, requires("registry:read", "declarations:read")],
    merchant_id: str,
    query: Annotated[schemas.HistoryQuery, Query()],
) -> Response:
    """Every write, the newest first: who recorded what, why, and until when it was believed."""
    found = await reads.history(database(request), principal, merchant_id, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.patch(
    "/v1/merchants/{merchant_id}",
    summary="Change a merchant 变更申报主体",
    response_model=schemas.MerchantAnswer,
    responses=problems(404, 409, body=True),
)
async def change_merchant(request: Request, body: schemas.MerchantChange, principal: Writer, merchant_id: str) -> Response:
    """From `effective_at` until the next recorded change; what was changed is under review again, a shop alone where only shops were."""
    return reply(request, await merchants.change(database(request), principal, merchant_id, body))


@router.post(
    "/v1/merchants/{merchant_id}/qualification",
    summary="Decide a merchant's qualification 认定申报主体",
    response_model=schemas.MerchantAnswer,
    responses=problems(404, 409, body=True),
)
async def decide_qualification(request: Request, body: schemas.Decision, principal: Reviewer, merchant_id: str) -> Response:
    """By a reviewer who has told nothing about the merchant; 409 lists what is allowed."""
    return reply(request, await merchants.decide(database(request), principal, merchant_id, body))


@router.post(
    "/v1/merchants/{merchant_id}/sales",
    summary="Declare a year's sales 申报年度网络销售额",
    response_model=schemas.MerchantAnswer,
    responses=problems(404, 409, body=True),
)
async def declare_sales(request: Request, body: schemas.SalesDeclared, principal: Writer, merchant_id: str) -> Response:
    """One figure a year; another figure or document takes its place and is under review again."""
    return reply(request, await merchants.declare_sales(database(request), principal, merchant_id, body))


@router.post(
    "/v1/merchants/{merchant_id}/sales/{year}/review",
    summary="Review a year's sales 审核年度网络销售额",
    response_model=schemas.MerchantAnswer,
    responses=problems(404, 409, body=True),
)
async def review_sales(request: Request, body: schemas.SalesReview, principal: Reviewer, merchant_id: str, year: Year) -> Response:
    """By a reviewer who has told nothing about the merchant."""
    return reply(request, await merchants.review_sales(database(request), principal, merchant_id, year, body))
