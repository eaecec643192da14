from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_documents
from services.registry import schemas_filings as schemas
from services.registry.routes import database
from services.registry.service import filings, reads
from shared.auth import Principal, requires, requires_one
from shared.http import next_link, reply
from shared.openapi import problems

router = APIRouter(tags=["filings 末端备案"])
Reader = Annotated[Principal, requires("registry:read")]
WRITES = ("filings:submit", "filings:decide")


@router.post(
    "/v1/stations/{station_id}/filings",
    summary="New filing 新建备案",
    status_code=201,
    response_model=schemas.FilingAnswer,
    responses=problems(404, 409, body=True),
)
async def open_filing(
    request: Request, body: schemas.NewFiling, principal: Annotated[Principal, requires("filings:submit")], station_id: str
) -> Response:
    """Open a filing; one that is recorded as decided already also needs `filings:decide`, and its receipt number."""
    return reply(request, await filings.open_filing(database(request), principal, station_id, body), status=201)


@router.get(
    "/v1/stations/{station_id}/filings",
    summary="Filings of a station 站点备案列表",
    response_model=schemas.FilingList,
    responses=problems(404),
)
async def list_filings(request: Request, principal: Reader, station_id: str, query: Annotated[schemas.FilingQuery, Query()]) -> Response:
    """The filings that held; with `history=true` every period that was ever believed, and when."""
    found = await reads.filings(database(request), principal, station_id, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.post(
    "/v1/filings/{filing_id}/transitions",
    summary="Next status of a filing 备案状态变更",
    response_model=schemas.FilingAnswer,
    responses=problems(404, 409, body=True),
)
async def move_filing(
    request: Request,
    body: schemas.Transition,
    principal: Annotated[Principal, requires_one("registry:read", *WRITES)],
    filing_id: str,
) -> Response:
    """Submissions need `filings:submit` (submitted, resubmitted, change_pending), decisions `filings:decide`; 409 lists what is allowed."""
    return reply(request, await filings.move_filing(database(request), principal, filing_id, body))


@router.post(
    "/v1/filings/{filing_id}/materials",
    summary="Add a material 补充备案材料",
    response_model=schemas.FilingAnswer,
    responses=problems(404, 409, body=True),
)
async def add_material(
    request: Request, body: schemas_documents.Material, principal: Annotated[Principal, requires("filings:submit")], filing_id: str
) -> Response:
    """One document that was handed in with it, sent before (POST /v1/documents); what is still missing is told and refuses nothing."""
    return reply(request, await filings.add_material(database(request), principal, filing_id, body))


@router.post(
    "/v1/filings/{filing_id}/corrections",
    summary="Correct a filing 更正备案记录",
    response_model=schemas.FilingAnswer,
    responses=problems(404, 409, body=True),
)
async def correct_filing(
    request: Request, body: schemas.Correction, principal: Annotated[Principal, requires("filings:decide")], filing_id: str
) -> Response:
    """What we recorded was wrong; what was believed stays readable."""
    return reply(request, await filings.correct_filing(database(request), principal, filing_id, body))
