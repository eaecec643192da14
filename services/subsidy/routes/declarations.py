"""Declarations of merchants 申报: a file, a verdict for each of its rows; and what an applicant's year has come to."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from services.subsidy import schemas_declarations as schemas
from services.subsidy.domain.declaration_file import FORMATS, MAX_BYTES
from services.subsidy.schemas import PageQuery
from shared.auth import Principal, requires
from shared.cursors import OPENED, page
from shared.http import read_body, reply
from shared.openapi import problems
from shared.problems import Problem
from shared.values import parse_choices

router = APIRouter(tags=["declarations 申报"])
READ = requires("declarations:read")
PATH = "/v1/declarations"
DeclarationId = Annotated[str, Path(max_length=64, description="`declaration_id`, like dec_…")]
TYPES = {
    "text/csv": "csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/json": "json",
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["rows"],
                    "properties": {"rows": {"type": "array", "maxItems": 100_000, "items": {"type": "object"}}},
                }
            },
        },
    }
}


@router.post(
    PATH,
    summary="Declare uplink parcels 上行件申报",
    response_model=schemas.DeclarationAnswer,
    responses=problems(403, 409, 415, body=True),
    openapi_extra=BODY,
)
async def declare(
    request: Request, query: Annotated[schemas.UploadQuery, Query()], principal: Principal = requires("declarations:write")
) -> Response:
    """A merchant's own parcels, as CSV, XLSX or JSON: docs/declarations.md has the columns. Every row gets a verdict; the same file again
    gives the same answer."""
    merchant_id = principal.tenant("merchant")
    if merchant_id is None:
        raise Problem(403, "token.no_merchant", "令牌没有 merchant，请换领。", "The token names no merchant: get one with the claim.")
    format_ = _format(request)
    data = await read_body(request, MAX_BYTES)
    declared = await request.app.state.declarations.submit(merchant_id, data, format_, query.file_name, principal.subject)
    return reply(request, declared)


@router.get(PATH, summary="Declarations 申报单", response_model=schemas.Declarations, responses=problems(410))
async def declarations(
    request: Request, query: Annotated[PageQuery, Query()], principal: Principal = READ, cursor: str | None = OPENED
) -> Response:
    """A merchant sees its own."""
    return page(request, await request.app.state.declarations.all(_merchant(principal), query.limit, cursor))


@router.get(
    f"{PATH}/{{declaration_id}}", summary="One declaration 一份申报", response_model=schemas.DeclarationAnswer, responses=problems(404)
)
async def declaration(request: Request, declaration_id: DeclarationId, principal: Principal = READ) -> Response:
    """What became of its rows, in numbers."""
    return reply(request, await request.app.state.declarations.show(_merchant(principal), declaration_id))


@router.get(f"{PATH}/{{declaration_id}}/rows", summary="Its rows 逐行结果", response_model=schemas.Rows, responses=problems(404, 410))
async def rows(
    request: Request,
    declaration_id: DeclarationId,
    query: Annotated[schemas.RowQuery, Query()],
    principal: Principal = READ,
    cursor: str | None = OPENED,
) -> Response:
    """Each row with its verdict and reason, and what its parcel comes to now."""
    verdicts = parse_choices("verdict", query.verdict, ("accepted", "duplicate", "refused"))
    found = await request.app.state.declarations.rows(_merchant(principal), declaration_id, verdicts, query.limit, cursor)
    return page(request, found)


@router.post(
    f"{PATH}/{{declaration_id}}/withdraw",
    summary="Withdraw it 撤回申报",
    response_model=schemas.DeclarationAnswer,
    responses=problems(404, 409, body=True),
)
async def withdraw(
    request: Request, declaration_id: DeclarationId, body: schemas.Withdrawal, principal: Principal = requires("declarations:write")
) -> Response:
    """All of its rows count no longer, and their parcels may be declared again; what was accrued for them is reversed."""
    found = await request.app.state.declarations.withdraw(_merchant(principal), declaration_id, body.reason, principal.subject)
    return reply(request, found)


@router.get(
    "/v1/merchants/{merchant_id}/years/{year}",
    summary="An applicant's year 主体年度补助",
    response_model=schemas.UplinkYear,
    responses=problems(404),
)
async def year(
    request: Request,
    merchant_id: Annotated[str, Path(max_length=64)],
    year: Annotated[int, Path(ge=2000, lt=2100)],
    principal: Principal = READ,
) -> Response:
    """Parcels and fen so far, the sales that were reviewed, and what the year asks for."""
    if _merchant(principal) not in (None, merchant_id):
        merchant_id = ""  # another's: there is none that it may see
    return reply(request, await request.app.state.declarations.year(merchant_id, year))


def _merchant(principal: Principal) -> str | None:
    """Whose declarations the caller may see; None: all. A tenant of another kind has none."""
    if principal.claim_kind is None:
        return None
    return principal.tenant("merchant") or ""


def _format(request: Request) -> str:
    found = TYPES.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if found is None:
        raise Problem(
            415,
            "file.type",
            f"请用 Content-Type 说明文件类型：{'、'.join(TYPES)}。",
            f"Say with Content-Type what the file is: {', '.join(TYPES)}.",
        )
    assert found in FORMATS
    return found
