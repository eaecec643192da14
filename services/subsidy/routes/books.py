"""The books: totals, payouts, sites that nobody claims, policies."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from services.subsidy import schemas
from services.subsidy import schemas_policies as policy_shapes
from services.subsidy.domain.policy import Outcome
from services.subsidy.service import summary
from services.subsidy.service.tenancy import tenant_of
from shared.auth import Principal, requires
from shared.contracts.scan import BRANDS
from shared.cursors import OPENED, page
from shared.http import reply
from shared.openapi import problems
from shared.values import parse_choices, parse_many

router = APIRouter(tags=["books"])


# Filters over closed lists, and over the carriers that we know; every other filter takes any text.
CHOICES: Mapping[str, Sequence[str]] = {
    "brand": BRANDS,
    "direction": ("downlink", "uplink", "unknown"),
    "outcome": tuple(Outcome),
    "kind": ("accrual", "adjustment", "cap", "vesting", "reversal", "clawback"),
    "stage": ("accrued", "claimed", "reviewed", "published", "approved", "paid"),
}


def _filters(query: BaseModel, *names: str) -> dict[str, list[str] | None]:
    given = {name: getattr(query, name) for name in names}
    return {n: parse_choices(n, text, CHOICES[n]) if n in CHOICES else parse_many(text) for n, text in given.items()}


@router.get("/v1/summary", summary="Totals 补贴汇总", responses=problems(410), response_model=schemas.Summary)
async def totals(
    request: Request,
    query: Annotated[schemas.SummaryQuery, Query()],
    principal: Principal = requires("summary:read"),
    cursor: str | None = OPENED,
) -> Response:
    """Parcels and fen by day, place, brand, direction and outcome; cumulative and net."""
    filters = _filters(query, "township_code", "station_id", "brand", "direction", "outcome")
    asked = summary.Query.of(
        query.first, query.end, query.date_basis, parse_many(query.group_by), filters, query.known_at, query.limit, cursor
    )
    return page(request, await request.app.state.summaries.answer(tenant_of(principal), asked))


@router.get("/v1/payouts", summary="Payout lines 补贴明细", responses=problems(410), response_model=schemas.Payouts)
async def payouts(
    request: Request,
    query: Annotated[schemas.PayoutQuery, Query()],
    principal: Principal = requires("payouts:read"),
    cursor: str | None = OPENED,
) -> Response:
    """The lines of the statement, in the order of their revisions."""
    filters = _filters(query, "brand", "direction", "kind", "stage", "station_id", "beneficiary_id", "period")
    body = await request.app.state.lists.payouts(
        tenant_of(principal), query.first, query.end, query.date_basis, filters, query.after_revision, query.limit, cursor
    )
    return page(request, body)


@router.get(
    "/v1/unmapped-sites", summary="Sites that no station claims 未对应网点", responses=problems(410), response_model=schemas.UnmappedSites
)
async def unmapped_sites(
    request: Request,
    query: Annotated[schemas.SiteQuery, Query()],
    principal: Principal = requires("sites:read"),
    cursor: str | None = OPENED,
) -> Response:
    """Places where parcels were closed while no station claimed them; mapping one in the registry re-assesses its parcels."""
    body = await request.app.state.lists.unmapped_sites(tenant_of(principal), parse_many(query.namespace), query.limit, cursor)
    return page(request, body)


@router.get("/v1/policies", summary="Policies 政策列表", responses=problems(410), response_model=policy_shapes.Policies)
async def policies(
    request: Request,
    query: Annotated[schemas.PageQuery, Query()],
    principal: Principal = requires("policies:read"),
    cursor: str | None = OPENED,
) -> Response:
    """The policies that decide, as they were activated."""
    return page(request, await request.app.state.lists.policies(query.limit, cursor))


@router.get("/v1/policies/{version}", summary="One policy 一项政策", responses=problems(404), response_model=policy_shapes.Policy)
async def policy(
    request: Request,
    version: Annotated[schemas.Version, Path()],
    principal: Principal = requires("policies:read"),
) -> Response:
    """One policy."""
    return reply(request, await request.app.state.lists.policy(version))
