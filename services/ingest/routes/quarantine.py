"""Quarantine as work: what could not be read, why, and what became of it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from services.ingest import again, reading
from services.ingest import schemas_again as bodies
from services.ingest.domain.items import Identified
from services.ingest.routes import Filter, as_of, ingest, tenant
from shared.auth import Principal, requires
from shared.http import next_link, reply
from shared.openapi import problems
from shared.values import DEFAULT_LIMIT, CursorParam, Limit, Moment, parse_many

router = APIRouter(tags=["quarantine 隔离"])
QuarantineId = Annotated[str, Path(pattern=bodies.QUARANTINE_ID)]


@router.get("/v1/quarantine", summary="Quarantined items 隔离事件", response_model=bodies.Quarantine, responses=problems())
async def quarantine(
    request: Request,
    feed: Filter = None,
    code: Filter = None,
    status: Annotated[bodies.QuarantineStatus | None, Query(description="open, redriven or dismissed")] = None,
    from_: Annotated[Moment | None, Query(alias="from", description="received at or after")] = None,
    to: Annotated[Moment | None, Query(description="received before")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorParam = None,
    principal: Principal = requires("quarantine:read"),
) -> Response:
    """Items of native pushes that we keep and could not read, newest first. Reasons and places only: no content of the push is shown."""
    chosen = reading.Quarantined(parse_many(feed), parse_many(code), status, (from_, to), tenant(principal))
    async with ingest(request).reader.read() as read:
        page = await reading.quarantine(read, chosen, cursor, limit)
    return reply(request, page, headers=next_link(request, page.next_cursor))


@router.get(
    "/v1/quarantine/{quarantine_id}",
    summary="One quarantined item with its push 单个隔离事件与报文",
    response_model=bodies.QuarantinedPush,
    responses=problems(404, 410),
)
async def inspect(request: Request, quarantine_id: QuarantineId, principal: Principal = requires("quarantine:read")) -> Response:
    """The push's document, everybody's data masked. Each reading is written down, with who read."""
    service = ingest(request)
    row, document = await again.inspect(
        service.database, service.keyring, bodies.number_of(quarantine_id), tenant(principal), principal.subject
    )
    async with service.reader.read() as read:
        return reply(request, bodies.QuarantinedPush.of(row, document, await as_of(read)))


@router.post(
    "/v1/quarantine/redrive",
    summary="Read quarantined items again 重新处理隔离事件",
    response_model=bodies.Redriven,
    responses=problems(410, body=True),
)
async def redrive(request: Request, body: bodies.Redrive, principal: Principal = requires("quarantine:work")) -> Response:
    """Up to 500 open items, oldest first: what can be read now counts as if it had been read then; the rest stays open. `dry_run`: tell me
    what would be. Nothing counts twice, however often it is asked for."""
    service = ingest(request)
    ids = None if body.quarantine_ids is None else [bodies.number_of(i) for i in body.quarantine_ids]
    told = await again.redrive(
        service.database,
        service.keyring,
        service.committer.partitions,
        again.Choice(ids, body.feed, body.code),
        principal.subject,
        body.reason,
        dry_run=body.dry_run,
    )
    items = [
        bodies.RedrivenItem(
            quarantine_id=f"qua_{one.row['quarantine_id']}",
            verdict=verdict,
            event_id=one.item.event_text if isinstance(one.item, Identified) else None,
            code=None if isinstance(one.item, Identified) else one.item.code,
            pointer=None if isinstance(one.item, Identified) else one.item.pointer,
        )
        for one, verdict in told
    ]
    return reply(request, bodies.Redriven(items=items, dry_run=body.dry_run))


@router.post(
    "/v1/quarantine/dismiss",
    summary="Close items that will never be read 关闭隔离事件",
    response_model=bodies.Dismissed,
    responses=problems(body=True),
)
async def dismiss(request: Request, body: bodies.Dismiss, principal: Principal = requires("quarantine:work")) -> Response:
    """With a reason. What is closed stays in the list, and in the day's completeness as quarantined."""
    ids = [bodies.number_of(i) for i in body.quarantine_ids]
    return reply(request, bodies.Dismissed(dismissed=await again.dismiss(ingest(request).database, ids, principal.subject, body.reason)))
