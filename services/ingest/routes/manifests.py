"""What senders say that they sent: declared, and compared with what came."""

from datetime import date

from fastapi import APIRouter, Request, Response

from services.ingest import manifests, schemas
from services.ingest.routes import as_of, ingest
from shared.auth import Principal, requires
from shared.http import reply
from shared.openapi import problems
from shared.problems import Problem, not_found

router = APIRouter(tags=["receipts 回执"])


@router.post(
    "/v1/manifests",
    summary="Daily count of a sender 来源每日申报数",
    status_code=201,
    response_model=schemas.Manifest,
    responses=problems(404, 410, body=True),
)
async def declare(request: Request, body: schemas.ManifestCreate, principal: Principal = requires("scans:write")) -> Response:
    """What the feed of the token says it sent us that day, and at once what we have. The newest of a day counts."""
    feed = principal.tenant("feed")
    if feed is None:
        raise Problem(403, "token.no_feed", "令牌没有 feed，请换领。", "The token names no feed: get one with the claim `feed`.")
    await manifests.declare(ingest(request).database, feed, body.date, principal.subject, body.events, body.waybills)
    return await _compared(request, feed, body.date, principal, status=201)


@router.get(
    "/v1/manifests/{feed}/{date}",
    summary="What was declared and what came 申报与实收之差",
    response_model=schemas.Manifest,
    responses=problems(404, 410),
)
async def compare(request: Request, feed: schemas.FeedName, date: date, principal: Principal = requires("receipts:read")) -> Response:
    """By waybill where the sender named them; an item that could not be read names none."""
    if principal.claim_kind is not None and principal.tenant("feed") != feed:
        raise not_found("该日的申报数", "manifest of that day")
    return await _compared(request, feed, date, principal)


async def _compared(request: Request, feed: str, day: date, principal: Principal, status: int = 200) -> Response:
    service = ingest(request)
    told = await manifests.compare(service.database, service.keyring, feed, day, principal.subject)
    async with service.reader.read() as read:
        now = await as_of(read)
    compared = schemas.Manifest(
        feed=feed,
        date=day,
        declared_events=told.declared,
        received_events=told.received,
        missing_events=told.missing_count,
        undeclared_events=told.undeclared_count,
        missing=told.missing,
        undeclared=told.undeclared,
        as_of=now,
    )
    headers = {"Location": f"/v1/manifests/{feed}/{day.isoformat()}"} if status == 201 else None
    return reply(request, compared, status=status, headers=headers)
