"""The tables that the county sends upwards: docs/registry-targets.md."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas_targets as schemas
from services.registry.routes import database
from services.registry.routes.station_files import TYPES, as_file
from services.registry.service import tables
from shared.auth import Principal, requires
from shared.openapi import problems

router = APIRouter(tags=["targets 任务"])


@router.get(
    "/v1/tables/{name}.{suffix}",
    summary="A table for the county's superiors 上报表",
    response_class=Response,
    responses=problems(404) | {200: {"content": {media_type: {} for media_type in TYPES}}},
)
async def show_table(
    request: Request,
    principal: Annotated[Principal, requires("registry:read", "inspections:read", "incidents:read")],
    name: schemas.TableName,
    suffix: schemas.Format,
    query: Annotated[schemas.TableQuery, Query()],
) -> Response:
    """As it was at `valid_at`, as known at `known_at`: the same two times, the same table. `programme_id`: as in /v1/targets."""
    return as_file(*await tables.table(database(request), principal, name, query), name, suffix)
