"""`POST /v1/push/{feed}` in the senders' own formats, `POST /v1/scans` in ours."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response

from services.ingest import schemas
from services.ingest.routes import bounded_body, client_address, ingest
from services.ingest.service import RETRY_AFTER_S, Answer, Told
from shared.auth import Principal, requires
from shared.direct import Direct
from shared.openapi import OWN_IDENTITY, problems, unsecured
from shared.problems import Problem

router = APIRouter(tags=["push 推送"])
WRITES = "scans:write"

Name = Annotated[str, Path(max_length=64)]
NATIVE_BODY: dict[str, Any] = {
    "x-any-query": True,  # a query on a courier's own address is its own business
    "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {}, "application/json": {}}},
}
_SCANS_SCHEMA = "#/paths/~1v1~1scans/post/requestBody/content/application~1json/schema"  # where the schema itself stands: msgspec reads it
SCANS_BODY = {
    OWN_IDENTITY: True,
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": schemas.Scans.model_json_schema(ref_template=_SCANS_SCHEMA + "/$defs/{model}")},
            "application/x-ndjson": {"schema": {"type": "string", "description": "one event a line"}},
        },
    },
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    **unsecured(404, 422),
    200: {"description": "The sender's own acknowledgement: stored, or its failure body", "content": {"application/json": {}}},
    503: {"description": "The sender's failure body: nothing was stored, push again later"},
}


@router.post("/v1/push/{feed}", summary="Signed push of a sender 来源签名推送", responses=ANSWERS, openapi_extra=NATIVE_BODY)
async def push(request: Request, feed: Name) -> Response:
    """A sender's own body, signature and acknowledgement; the signature is the authentication. `Receipt-Id` names the receipt."""
    return _answered(await ingest(request).push(feed, await native_push(request, None)))


@router.post("/v1/push/{feed}/{token}", summary="Push to a secret address 密址推送", responses=ANSWERS, openapi_extra=NATIVE_BODY)
async def push_with_token(request: Request, feed: Name, token: Annotated[str, Path(max_length=128)]) -> Response:
    """The same for a sender that cannot sign: the last part of the address is the feed's secret."""
    return _answered(await ingest(request).push(feed, await native_push(request, token)))


@router.post(
    "/v1/scans",
    summary="Scans in the programme's own words 标准扫描上报",
    response_model=schemas.Receipt,
    responses=problems(404, 409, body=True),
    openapi_extra=SCANS_BODY,
)
async def scans(request: Request, principal: Principal = requires(WRITES)) -> Response:
    """Up to 500 scans in the programme's own words; 200 even when every item fails, 4xx: nothing was read, 503: nothing was stored."""
    name = principal.tenant("feed")
    if name is None:
        raise Problem(403, "token.no_feed", "令牌没有 feed，请换领。", "The token names no feed: get one with the claim `feed`.")
    encoding = request.headers.get("content-encoding", "").lower()
    receipt = await ingest(request).scans(name, await bounded_body(request), _content_type(request), encoding, client_address(request))
    return Response(msgspec.json.encode(receipt), headers={"Receipt-Id": receipt.receipt_id}, media_type="application/json")


direct = (
    Direct(router, "/v1/scans", scans, WRITES),
    Direct(router, "/v1/push/{feed}", push),
    Direct(router, "/v1/push/{feed}/{token}", push_with_token),
)


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").lower()


async def native_push(request: Request, token: str | None) -> Told:
    query = request.query_params if request.scope["query_string"] else {}
    return Told(await bounded_body(request), _content_type(request), request.headers, query, token, client_address(request))


def _answered(answer: Answer) -> Response:
    ack = answer.ack
    later = {"Retry-After": str(RETRY_AFTER_S)} if ack.status == 503 else {}
    return Response(ack.body, ack.status, {"Receipt-Id": answer.receipt_id, **later}, ack.content_type)
