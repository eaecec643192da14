"""Files that outlets export, and which of their columns is which."""

import msgspec
from fastapi import APIRouter, Request, Response

from services.ingest import feeds, files, repository, schemas
from services.ingest.routes import as_of, client_address, ingest
from shared.auth import Principal, requires
from shared.http import read_body, reply
from shared.openapi import problems
from shared.problems import Problem, not_found

router = APIRouter(tags=["files 文件"])
MAX_FILE_BYTES = 4 << 20
BODY = {"requestBody": {"required": True, "content": {name: {"schema": {"type": "string"}} for name in files.FORMATS}}}


@router.put(
    "/v1/feeds/{feed}/columns",
    summary="Which column is which 保存列的对应关系",
    response_model=schemas.FileColumnsView,
    responses=problems(404, body=True),
)
async def save(
    request: Request, feed: schemas.FeedName, body: schemas.FileColumns, principal: Principal = requires("feeds:write")
) -> Response:
    """For CSV and XLSX; a file of lines needs none."""
    async with ingest(request).database.write() as tx:
        await feeds.get(tx, feed)
        await repository.update_columns(tx, feed, body.model_dump_json())
        now = await as_of(tx)
    return reply(request, schemas.FileColumnsView(feed=feed, **body.model_dump(), as_of=now))


@router.get(
    "/v1/feeds/{feed}/columns",
    summary="Saved columns 列的对应关系",
    response_model=schemas.FileColumnsView,
    responses=problems(404),
)
async def saved(request: Request, feed: schemas.FeedName, principal: Principal = requires("feeds:read")) -> Response:
    """404 where none were saved."""
    async with ingest(request).reader.read() as read:
        await feeds.get(read, feed)
        columns, now = await repository.columns(read, feed), await as_of(read)
    if columns is None:
        raise not_found("该来源的列对应关系", "columns of that feed", "feed.no_columns")
    return reply(request, schemas.FileColumnsView(feed=feed, **msgspec.json.decode(columns), as_of=now))


@router.post(
    "/v1/files",
    summary="File of scans 上传扫描文件",
    response_model=schemas.FileReceipt,
    responses=problems(404, 409, 413, 415, body=True),
    openapi_extra=BODY,
)
async def upload(request: Request, principal: Principal = requires("scans:write")) -> Response:
    """CSV, XLSX (by the columns that the token's feed has saved) or lines of events; at most 4 MiB and 20,000 rows. Each gets a verdict."""
    feed = principal.tenant("feed")
    if feed is None:
        raise Problem(403, "token.no_feed", "令牌没有 feed，请换领。", "The token names no feed: get one with the claim `feed`.")
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in files.FORMATS:
        known = ", ".join(files.FORMATS)
        raise Problem(415, "file.type_unknown", f"Content-Type 应为：{known}。", f"The Content-Type is one of {known}.")
    data = await read_body(request, MAX_FILE_BYTES)
    service = ingest(request)
    async with service.reader.read() as read:
        columns = await repository.columns(read, feed)
    told = files.columns_of(None if columns is None else msgspec.json.decode(columns))
    return reply(request, await files.store(service, feed, told, data, files.FORMATS[kind], client_address(request)))
