from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.registry import schemas, schemas_documents
from services.registry.routes import database
from services.registry.service import reads, stations
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems
from shared.values import Moment

router = APIRouter(tags=["stations 站点"])
GEOJSON = "application/geo+json"
Reader = Annotated[Principal, requires("registry:read")]
Writer = Annotated[Principal, requires("stations:write")]


@router.post(
    "/v1/stations",
    summary="New station 登记站点",
    status_code=201,
    response_model=schemas.StationAnswer,
    responses=problems(409, body=True),
)
async def create_station(request: Request, body: schemas.NewStation, principal: Writer) -> Response:
    """Register a station from `effective_at` on, with its first aliases. Its level never changes: another level is another station."""
    return reply(request, await stations.create_station(database(request), principal, body), status=201)


@router.get("/v1/stations", summary="Stations 站点列表", response_model=schemas.StationList, responses=problems())
async def list_stations(request: Request, principal: Reader, query: Annotated[schemas.StationQuery, Query()]) -> Response:
    """Stations as they were at `valid_at`, as known at `known_at`."""
    found = await reads.stations(database(request), principal, query)
    return reply(request, found, headers=next_link(request, found.next_cursor))


@router.get(
    "/v1/stations.geojson",
    summary="Map of stations 站点地图",
    response_model=schemas.StationMap,
    responses=problems() | {200: {"content": {GEOJSON: {}}}},
)
async def map_stations(request: Request, principal: Reader, query: Annotated[schemas.MapQuery, Query()]) -> Response:
    """The same stations as a GeoJSON FeatureCollection (RFC 7946)."""
    return reply(request, await reads.map_of_stations(database(request), principal, query), media_type=GEOJSON)


@router.get("/v1/stations/{station_id}", summary="One station 一个站点", response_model=schemas.StationAnswer, responses=problems(404))
async def get_station(request: Request, principal: Reader, station_id: str, query: Annotated[schemas.OneQuery, Query()]) -> Response:
    return reply(request, await reads.station(database(request), principal, station_id, query))


@router.patch(
    "/v1/stations/{station_id}",
    summary="Change a station 变更站点",
    response_model=schemas.StationAnswer,
    responses=problems(404, 409, body=True),
)
async def change_station(request: Request, body: schemas.StationChange, principal: Writer, station_id: str) -> Response:
    """Change a station from `effective_at` until the next recorded change."""
    return reply(request, await stations.change_station(database(request), principal, station_id, body))


@router.post(
    "/v1/stations/{station_id}/photos",
    summary="Photos of a station 站点照片",
    response_model=schemas.StationAnswer,
    responses=problems(404, 409, body=True),
)
async def set_photos(request: Request, body: schemas_documents.StationPhotos, principal: Writer, station_id: str) -> Response:
    """All of them, in the place of those before; each was sent before (POST /v1/documents, kind `photo`)."""
    return reply(request, await stations.set_photos(database(request), principal, station_id, body))


@router.post(
    "/v1/stations/{station_id}/aliases",
    summary="New alias of a station 登记站点别名",
    status_code=201,
    response_model=schemas.AliasAnswer,
    responses=problems(404, 409, body=True),
)
async def add_alias(request: Request, body: schemas.NewAlias, principal: Writer, station_id: str) -> Response:
    """How a sender names the station, by code or by name; 409 names the station that claims it in that period."""
    return reply(request, await stations.add_alias(database(request), principal, station_id, body), status=201)


@router.delete(
    "/v1/stations/{station_id}/aliases/{alias_id}",
    summary="End an alias 终止站点别名",
    response_model=schemas.AliasAnswer,
    responses=problems(404, 409),
)
async def end_alias(request: Request, principal: Writer, station_id: str, alias_id: str, effective_at: Moment) -> Response:
    """End an alias; what was believed before stays readable."""
    return reply(request, await stations.end_alias(database(request), principal, station_id, alias_id, effective_at))
