"""Programmes, their lists of places, and how far they are: docs/registry-targets.md."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_targets as schemas
from services.registry.routes import database
from services.registry.service import programmes, targets
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["targets 任务"])
Reader = Annotated[Principal, requires("registry:read")]
Writer = Annotated[Principal, requires("targets:write")]
Answer = schemas.ProgrammeAnswer


@router.get("/v1/targets", summary="Progress of the targets 任务进度", response_model=schemas.TargetAnswer, responses=problems(404))
async def show_targets(request: Request, principal: Reader, query: Annotated[schemas.TargetQuery, Query()]) -> Response:
    """Which places count, since when and by what evidence; what the others lack; gates and a forecast. A township sees its own places."""
    return reply(request, await targets.targets(database(request), principal, query))


@router.get("/v1/programmes", summary="Programmes 方案列表", response_model=schemas.ProgrammeList, responses=problems())
async def list_programmes(request: Request, principal: Reader, query: Annotated[schemas.ProgrammeQuery, Query()]) -> Response:
    """A year's targets, gates and list of places, as known at `known_at`."""
    found = await programmes.programmes(database(request), query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.post("/v1/programmes", summary="New programme 登记方案", status_code=201, response_model=Answer, responses=problems(409, body=True))
async def create(request: Request, body: schemas.NewProgramme, principal: Writer) -> Response:
    """One a year. Each due day and each gate cites the document that sets it; where documents disagree, give both."""
    return reply(request, await programmes.create(database(request), principal.subject, body), status=201)


@router.get("/v1/programmes/{programme_id}", summary="One programme 一个方案", response_model=Answer, responses=problems(404))
async def show(request: Request, principal: Reader, programme_id: str, query: Annotated[schemas.KnownQuery, Query()]) -> Response:
    return reply(request, await programmes.programme(database(request), programme_id, query))


@router.patch(
    "/v1/programmes/{programme_id}", summary="Change a programme 变更方案", response_model=Answer, responses=problems(404, 409, body=True)
)
async def change(request: Request, body: schemas.ProgrammeChange, principal: Writer, programme_id: str) -> Response:
    """Where a later document sets it otherwise; what was set before stays readable with `known_at`."""
    return reply(request, await programmes.change(database(request), principal.subject, programme_id, body))


@router.post(
    "/v1/programmes/{programme_id}/nominations",
    summary="Nominate a place 列入名单",
    status_code=201,
    response_model=Answer,
    responses=problems(404, 409, body=True),
)
async def nominate(request: Request, body: schemas.NewNomination, principal: Writer, programme_id: str) -> Response:
    """A township or village for the list; after `nominate_by`, with its reason."""
    return reply(request, await programmes.nominate(database(request), principal.subject, programme_id, body), status=201)


@router.post(
    "/v1/programmes/{programme_id}/nominations/{nomination_id}/end",
    summary="Strike a place off the list 移出名单",
    response_model=Answer,
    responses=problems(404, 409, body=True),
)
async def strike(request: Request, body: schemas.NominationEnd, principal: Writer, programme_id: str, nomination_id: str) -> Response:
    return reply(request, await programmes.strike(database(request), principal.subject, programme_id, nomination_id, body))
