"""Complaints and findings: docs/registry-incidents.md."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_incidents as schemas
from services.registry.routes import database
from services.registry.schemas import OneQuery
from services.registry.service import incidents
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["incidents 服务质量问题"])
Reader = Annotated[Principal, requires("incidents:read")]
Writer = Annotated[Principal, requires("incidents:write")]


@router.post(
    "/v1/incidents",
    summary="New incident 登记服务质量问题",
    status_code=201,
    response_model=schemas.IncidentAnswer,
    responses=problems(404, 409, body=True),
)
async def tell(request: Request, body: schemas.NewIncident, principal: Writer) -> Response:
    """A complaint or a finding about a station, an operator, parcels; without an operator, the station's of that time."""
    return reply(request, await incidents.tell(database(request), principal, body), status=201)


@router.post(
    "/v1/incidents/{incident_id}/steps",
    summary="Next step of an incident 办理服务质量问题",
    response_model=schemas.IncidentAnswer,
    responses=problems(404, 409, body=True),
)
async def step(request: Request, body: schemas.IncidentStep, principal: Writer, incident_id: str) -> Response:
    """409 lists what is allowed."""
    return reply(request, await incidents.step(database(request), principal, incident_id, body))


@router.get("/v1/incidents", summary="Incidents 服务质量问题列表", response_model=schemas.IncidentList, responses=problems())
async def list_incidents(request: Request, principal: Reader, query: Annotated[schemas.IncidentQuery, Query()]) -> Response:
    """As they stood at `valid_at`; an operator sees its own, a township those of its stations."""
    found = await incidents.incidents(database(request), principal, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.get(
    "/v1/incidents/{incident_id}", summary="One incident 一个服务质量问题", response_model=schemas.IncidentAnswer, responses=problems(404)
)
async def show(request: Request, principal: Reader, incident_id: str, query: Annotated[OneQuery, Query()]) -> Response:
    return reply(request, await incidents.show(database(request), principal, incident_id, query))
