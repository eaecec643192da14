"""Checklists, inspections, acceptance, rectification: docs/registry-targets.md."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_inspections as schemas
from services.registry.routes import database
from services.registry.schemas import OneQuery
from services.registry.schemas_targets import PlanAnswer, PlanQuery
from services.registry.service import baseline, inspections, targets
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["inspections 督导验收"])
Public = Annotated[Principal, requires("registry:read")]
Reader = Annotated[Principal, requires("inspections:read")]
Writer = Annotated[Principal, requires("inspections:write")]
Signer = Annotated[Principal, requires("inspections:sign")]


@router.get("/v1/checklists", summary="Checklists 检查表", response_model=schemas.ChecklistList, responses=problems())
async def list_checklists(request: Request, principal: Public) -> Response:
    """The standards by which stations are inspected, each with its edition and source."""
    return reply(request, inspections.checklist_items())


@router.post(
    "/v1/inspections",
    summary="New inspection 登记检查",
    status_code=201,
    response_model=schemas.InspectionAnswer,
    responses=problems(404, 409, body=True) | {200: {"model": schemas.InspectionAnswer, "description": "It is recorded already"}},
)
async def record(request: Request, body: schemas.NewInspection, principal: Writer) -> Response:
    """Every item of the checklist with its verdict. 200: this `client_id` has told it before; 409: and it said something else."""
    answer, new = await inspections.record(database(request), principal, body)
    return reply(request, answer, status=201 if new else 200)


@router.post(
    "/v1/inspections/{inspection_id}/signatures",
    summary="Sign an inspection 部门签字",
    response_model=schemas.InspectionAnswer,
    responses=problems(404, 409, body=True),
)
async def sign(request: Request, body: schemas.NewSignature, principal: Signer, inspection_id: str) -> Response:
    """`development_reform` 发改局 is signed by the coordinator, `industry_it` 工科局 by the reviewer; decided once both say the same."""
    return reply(request, await inspections.sign(database(request), principal, inspection_id, body))


@router.post(
    "/v1/inspections/{inspection_id}/withdrawal",
    summary="Withdraw an inspection 撤回检查",
    response_model=schemas.InspectionAnswer,
    responses=problems(404, 409, body=True),
)
async def withdraw(request: Request, body: schemas.Withdrawal, principal: Writer, inspection_id: str) -> Response:
    """Of two that contradict each other, the wrong one. It stays readable."""
    return reply(request, await inspections.withdraw(database(request), principal, inspection_id, body))


@router.get("/v1/inspections", summary="Inspections 检查列表", response_model=schemas.InspectionList, responses=problems())
async def list_inspections(request: Request, principal: Reader, query: Annotated[schemas.InspectionQuery, Query()]) -> Response:
    found = await inspections.inspections(database(request), principal, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.get(
    "/v1/inspections/{inspection_id}", summary="One inspection 一次检查", response_model=schemas.InspectionAnswer, responses=problems(404)
)
async def show(request: Request, principal: Reader, inspection_id: str, query: Annotated[OneQuery, Query()]) -> Response:
    return reply(request, await inspections.show(database(request), principal, inspection_id, query))


@router.get("/v1/inspection-plan", summary="Planned inspections 督导验收计划", response_model=PlanAnswer, responses=problems(404))
async def show_plan(request: Request, principal: Reader, query: Annotated[PlanQuery, Query()]) -> Response:
    """Each round of the programme against its list of places: planned, overdue, or what its inspection came to."""
    return reply(request, await targets.plan(database(request), principal, query))


@router.get(
    "/v1/rectifications", summary="What is to be put right 整改清单", response_model=schemas.RectificationList, responses=problems()
)
async def list_rectifications(request: Request, principal: Reader, query: Annotated[schemas.RectificationQuery, Query()]) -> Response:
    """The unmet items of inspections with the result `rectify`, by the day by which they are due."""
    found = await inspections.rectifications(database(request), principal, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.get("/v1/baseline", summary="The baseline of 2022 全覆盖基线", response_model=schemas.BaselineList, responses=problems())
async def show_baseline(request: Request, principal: Public, query: Annotated[schemas.BaselineQuery, Query()]) -> Response:
    """一特色三标准 of 2022, place by place, then and now: what was met and no longer is, is a regression."""
    return reply(request, await baseline.baseline(database(request), principal, query))
