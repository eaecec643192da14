"""Stations as a table, in and out: docs/registry-stations.md."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_files as schemas
from services.registry.domain.station_file import MAX_BYTES
from services.registry.routes import database
from services.registry.service import reads, station_files
from shared.auth import Principal, requires
from shared.calendar import shanghai_day
from shared.http import read_body, reply
from shared.openapi import problems
from shared.problems import Problem, language

router = APIRouter(tags=["stations 站点"])
IMPORTS = "/v1/station-imports"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv"
TYPES = {CSV: "csv", XLSX: "xlsx"}
TABLE = {
    "requestBody": {
        "required": True,
        "content": {CSV: {"schema": {"type": "string"}}, XLSX: {"schema": {"type": "string", "format": "binary"}}},
    }
}
Reader = Annotated[Principal, requires("registry:read")]


@router.post(
    IMPORTS,
    summary="Import stations 批量导入站点",
    response_model=schemas.Imported,
    responses=problems(413, 415),
    openapi_extra=TABLE,
)
async def import_stations(
    request: Request, query: Annotated[schemas.ImportQuery, Query()], principal: Annotated[Principal, requires("stations:write")]
) -> Response:
    """A verdict for each row. Without `dry_run=false` nothing is recorded; with it every accepted row is, in one transaction."""
    format_ = format_of(request)
    data = await read_body(request, MAX_BYTES)
    chinese = language(request) == "zh"
    items, as_of = await station_files.take(database(request), principal, data, format_, dry_run=query.dry_run, chinese=chinese)
    verdicts = [item.verdict for item in items]
    counts = schemas.ImportCounts(
        rows=len(items), accepted=verdicts.count("accepted"), duplicate=verdicts.count("duplicate"), refused=verdicts.count("refused")
    )
    return reply(request, schemas.Imported(dry_run=query.dry_run, counts=counts, items=items, as_of=as_of))


def format_of(request: Request) -> str:
    """csv or xlsx, as the Content-Type has it."""
    format_ = TYPES.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if format_ is None:
        raise Problem(415, "body.type", f"请上传 CSV（{CSV}）或 XLSX（{XLSX}）。", f"Send CSV ({CSV}) or XLSX ({XLSX}).")
    return format_


@router.get(
    "/v1/stations.csv", summary="Stations as CSV 站点表 CSV", response_class=Response, responses=problems() | {200: {"content": {CSV: {}}}}
)
async def stations_csv(request: Request, principal: Reader, query: Annotated[schemas.ExportQuery, Query()]) -> Response:
    """Every station that the filters leave, as it was at `valid_at`; what an import reads."""
    return await _table(request, principal, query, "csv")


@router.get(
    "/v1/stations.xlsx",
    summary="Stations as XLSX 站点表 XLSX",
    response_class=Response,
    responses=problems() | {200: {"content": {XLSX: {}}}},
)
async def stations_xlsx(request: Request, principal: Reader, query: Annotated[schemas.ExportQuery, Query()]) -> Response:
    """The same as a workbook."""
    return await _table(request, principal, query, "xlsx")


async def _table(request: Request, principal: Principal, query: schemas.ExportQuery, suffix: str) -> Response:
    return as_file(*await station_files.table(database(request), principal, query), "stations", suffix)


def as_file(rows: Sequence[Sequence[str]], at: reads.Pin, name: str, suffix: str) -> Response:
    """Called by its day and its revision, by which it can be asked for again."""
    media_type = next(media_type for media_type, of in TYPES.items() if of == suffix)
    data = station_files.as_csv(rows) if suffix == "csv" else station_files.as_xlsx(rows, name)
    file = f"{name}-{shanghai_day(at.moment).isoformat()}-r{at.revision.revision}.{suffix}"
    headers = {"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "private, no-cache"}
    return Response(data, headers=headers, media_type=media_type)
