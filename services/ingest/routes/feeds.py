"""Feeds: an administrator makes them, rotates their secrets, switches their mode."""

from fastapi import APIRouter, Request, Response

from services.ingest import again, checking, feeds, repository, schemas, watch
from services.ingest import schemas_again as bodies
from services.ingest.brands.base import Feed
from services.ingest.routes import as_of, ingest
from services.ingest.routes.pushes import NATIVE_BODY, native_push
from shared.auth import Principal, requires
from shared.http import bad_cursor, decode_cursor, encode_cursor, next_link, reply
from shared.openapi import problems
from shared.problems import not_found
from shared.values import DEFAULT_LIMIT, CursorParam, Limit

router = APIRouter(tags=["feeds 来源"])

NO_WISHES = schemas.FeedRotate()


@router.post(
    "/v1/feeds",
    summary="New feed 新建来源",
    status_code=201,
    response_model=schemas.FeedCreated,
    responses=problems(409, body=True),
    dependencies=[requires("feeds:write")],
)
async def create(request: Request, body: schemas.FeedCreate) -> Response:
    """A new sender. `secret`, ours or the sender's own, is shown once."""
    service = ingest(request)
    allowed = None if body.allow_from is None else tuple(body.allow_from)
    feed = Feed(body.feed, body.format, tuple(body.brands), body.site_namespace, body.mode, body.silence_after_s, body.signature, allowed)
    async with service.database.write() as tx:
        made = await feeds.create(tx, service.keyring, feed, body.secret)
    created = schemas.FeedCreated.of(feed, secret=made and made.secret, secret_id=made and made.secret_id)
    return reply(request, created, status=201, headers={"Location": f"/v1/feeds/{feed.feed}"})


@router.get(
    "/v1/feeds", summary="Feeds 来源列表", response_model=schemas.Feeds, responses=problems(), dependencies=[requires("feeds:read")]
)
async def list_feeds(request: Request, limit: Limit = DEFAULT_LIMIT, cursor: CursorParam = None) -> Response:
    """All feeds by name."""
    async with ingest(request).reader.read() as read:
        rows = await repository.feeds(read, _after(cursor), limit + 1)
        now = await as_of(read)
    items = [schemas.Feed.of(feeds.of_row(row)) for row in rows[:limit]]
    more = encode_cursor({"feed": items[-1].feed}) if len(rows) > limit else None
    return reply(request, schemas.Feeds(items=items, next_cursor=more, as_of=now), headers=next_link(request, more))


def _after(cursor: str | None) -> str:
    feed = decode_cursor(cursor).get("feed") if cursor else ""
    if not isinstance(feed, str) or "\x00" in feed:
        raise bad_cursor()
    return feed


@router.get(
    "/v1/feeds/{feed}",
    summary="One feed 一个来源",
    response_model=schemas.FeedView,
    responses=problems(404),
    dependencies=[requires("feeds:read")],
)
async def get(request: Request, feed: schemas.FeedName) -> Response:
    """One feed; its secrets are never shown again."""
    async with ingest(request).reader.read() as read:
        return reply(request, schemas.FeedView.of(await feeds.get(read, feed), as_of=await as_of(read)))


@router.get(
    "/v1/feeds/{feed}/health",
    summary="How a feed is doing 来源运行状况",
    response_model=schemas.FeedHealth,
    responses=problems(404),
    dependencies=[requires("feeds:read")],
)
async def health(request: Request, feed: schemas.FeedName) -> Response:
    """Its last push and scan, its last hour, its clock, and whether it is silent, degraded or failing."""
    async with ingest(request).reader.read() as read:
        return reply(request, await watch.health(read, feed))


@router.post(
    "/v1/feeds/{feed}/signature-check",
    summary="Why a push is refused 签名自检",
    response_model=schemas.SignatureCheck,
    responses=problems(404, 409, 413),
    openapi_extra={"x-any-query": True, "requestBody": NATIVE_BODY["requestBody"] | {"required": False}},
)
async def signature_check(request: Request, feed: schemas.FeedName, principal: Principal = requires("receipts:read")) -> Response:
    """For a sandbox feed: send here exactly what you push, and read why its signature is not good. Nothing is stored."""
    if principal.claim_kind is not None and principal.tenant("feed") != feed:
        raise not_found("该来源", "feed", "feed.unknown")
    return reply(request, await checking.signature(ingest(request), feed, await native_push(request, None)))


@router.post(
    "/v1/feeds/{feed}/secret",
    summary="New secret of a feed 更换来源密钥",
    response_model=schemas.FeedSecret,
    responses=problems(404, 409, body=True),
    dependencies=[requires("feeds:write")],
)
async def rotate(request: Request, feed: schemas.FeedName, body: schemas.FeedRotate = NO_WISHES) -> Response:
    """A new secret; the ones before it stay good for `overlap_s`, so that the sender changes over without a lost push. 0: no longer."""
    service = ingest(request)
    async with service.database.write() as tx:
        made = await feeds.rotate(tx, service.keyring, feed, body.overlap_s, body.secret)
    service.database.when_committed(lambda: service.feeds.forget(feed))
    return reply(request, schemas.FeedSecret(feed=feed, secret=made.secret, secret_id=made.secret_id, overlap_s=body.overlap_s))


@router.post(
    "/v1/feeds/{feed}/remap",
    summary="Send events again as a corrected table reads them 按修订后的编码表重发",
    response_model=bodies.Remapped,
    responses=problems(404, 409, body=True),
)
async def remap(request: Request, feed: schemas.FeedName, body: bodies.Remap, principal: Principal = requires("feeds:write")) -> Response:
    """Of one partition, at most 20,000 entries at a time: the feed's events that the table of today reads differently go to the log again,
    with its higher mapping version, which counts. Receipts stay. Each once, however often it is asked for."""
    told = await again.remap(
        ingest(request).database, feed, (body.partition, body.from_position), principal.subject, body.reason, dry_run=body.dry_run
    )
    changes = [bodies.RemapChange(raw_action=raw, was=was, now=now, events=n) for (raw, was, now), n in sorted(told.changes.items())]
    return reply(
        request,
        bodies.Remapped(read=told.read, published=told.published, changes=changes, next_position=told.next_position, dry_run=body.dry_run),
    )


@router.patch(
    "/v1/feeds/{feed}",
    summary="Settings of a feed 修改来源设置",
    response_model=schemas.FeedView,
    responses=problems(404, body=True),
    dependencies=[requires("feeds:write")],
)
async def patch(request: Request, feed: schemas.FeedName, body: schemas.FeedPatch) -> Response:
    """Mode, silence alarm, signature scheme, networks: what is named changes.

    Sandbox, live or paused: a feed's sandbox events never meet its live ones, the mode is part of their identity.
    """
    service = ingest(request)
    async with service.database.write() as tx:
        changed, now = await feeds.change(tx, feed, body.wishes()), await as_of(tx)
    service.database.when_committed(lambda: service.feeds.forget(feed))
    return reply(request, schemas.FeedView.of(changed, as_of=now))
