"""What the three APIs have in common: the application, answers, lists, limits. `api.md` §1 is the contract."""

import base64
import binascii
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import msgspec
import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import docs, telemetry
from shared.bodies import Body
from shared.calendar import SHANGHAI
from shared.db import LOST, Database
from shared.direct import Direct
from shared.openapi import Api, documented
from shared.problems import Problem, invalid, render, unavailable
from shared.refusals import of_framework, of_validation, too_large
from shared.writes import Sealing, Writes

log = structlog.get_logger(__name__)

MAX_NUMBER, MAX_OFFSET = 2**63 - 1, 2**31 - 1  # what PostgreSQL takes as a number, and as a place in a list

Check = Callable[[], Awaitable[None]]  # raises, with a sentence for the operator, when the process is not ready


# lists
def encode_cursor(state: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(state, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> dict[str, Any]:
    """The state of an opaque cursor: whole numbers and text that PostgreSQL takes, and lists of them; 422 for what we never issued."""
    try:
        state = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        ours = isinstance(state, dict) and all(map(_in_cursor, state.values()))
    except (binascii.Error, ValueError, RecursionError):
        ours = False
    if not ours:
        raise bad_cursor()
    found: dict[str, Any] = state
    return found


def _in_cursor(value: object) -> bool:
    match value:
        case bool() | float():
            return False
        case int():
            return -1 <= value <= MAX_NUMBER
        case str():
            return value.isprintable()  # no NUL, no half of a surrogate pair
        case list():
            return all(map(_in_cursor, value))
    return value is None


def decode_page(cursor: str | None) -> tuple[int | None, int]:
    """A list that goes on by counting: -> (the revision that its pages share, items before this page); (None, 0): the first page."""
    if cursor is None:
        return None, 0
    match decode_cursor(cursor):
        case {"r": int(pinned), "o": int(offset)} if 0 <= offset <= MAX_OFFSET:
            return pinned, offset
    raise bad_cursor()


def encode_page(pinned: int, offset: int) -> str:
    return encode_cursor({"r": pinned, "o": offset})


def bad_cursor() -> Problem:
    return invalid(
        "#query/cursor", "cursor.invalid", "游标无效，请从第一页重新开始。", "This cursor is not ours: begin with the first page."
    )


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """RFC 8288 `Link: rel="next"`."""
    return {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'} if cursor else {}


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The exact bytes of a body, counted while they arrive; 413 beyond the limit."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


# answers
def _encodable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _in_shanghai(value: Any) -> Any:
    """Datetimes of plain dicts as +08:00 (pydantic models and structs of ours carry their own form)."""
    if isinstance(value, datetime):
        return value.astimezone(SHANGHAI)
    if isinstance(value, dict):
        return {k: _in_shanghai(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_in_shanghai(v) for v in value]
    return value


def reply(
    request: Request, body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    """JSON; on a GET (a HEAD is served as one) with a weak ETag over the body without `as_of`, and 304 where the client has it."""
    plain = (
        body.model_dump(mode="json")
        if isinstance(body, BaseModel)
        else _in_shanghai(msgspec.to_builtins(body, builtin_types=(datetime,), enc_hook=_encodable))
    )
    content = msgspec.json.encode(plain)
    sent = dict(headers or {})
    if request.method == "GET":
        tagged = {k: v for k, v in plain.items() if k != "as_of"} if isinstance(plain, dict) else plain
        etag = f'W/"{hashlib.sha256(msgspec.json.encode(tagged)).hexdigest()[:32]}"'
        sent |= {"ETag": etag, "Cache-Control": "private, no-cache"}
        if etag in (t.strip() for t in request.headers.get("if-none-match", "").split(",")):
            return Response(None, 304, sent)
    return Response(content, status, sent, media_type)


# the application
def create_app(
    *,
    service: str,
    title: str,
    description: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    routers: Sequence[APIRouter],
    checks: Mapping[str, Check],
    max_body_bytes: int,
    larger: Mapping[str, int] = MappingProxyType({}),
    direct: Sequence[Direct] = (),
    writes_to: Database | None = None,
    sealing: Sealing | None = None,
) -> FastAPI:
    """One service's API: its routers, and what every service answers (`/`, health, metrics, docs, problem details).

    `larger`: path → bytes of a body there, where it may be more than `max_body_bytes`.
    `direct`: operations that are tried before all others (shared/direct.py).
    `writes_to`: the database of operations that write; their answers are kept there under the caller's key, `sealing` what they hold
    (shared/writes.py).
    """
    app = _Service(
        title=title,
        description=description,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
        },  # ours: telemetry.py
        strict_content_type=False,  # without a Content-Type a body is JSON; a browser cannot forge our Authorization header
    )
    for router in routers:
        app.include_router(router, dependencies=[Depends(documented)])
    app.include_router(_common(service, title, checks))
    if writes_to is not None:
        app.add_middleware(Writes, database=writes_to, sealing=sealing, refused=app.refused)
    app.direct = direct
    app.observe = partial(_Observe, max_body_bytes=max_body_bytes, larger=larger)
    app.add_middleware(app.observe)
    _handlers(app, max_body_bytes, larger)
    return app


class _Service(Api):
    direct: Sequence[Direct]
    observe: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        """Direct operations in front: seven layers that they need nothing of would take as long as reading a push."""
        whole, directly = super().build_middleware_stack(), self.observe(self._directly)

        async def first(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "POST":
                for operation in self.direct:
                    if found := operation.matches(scope):
                        scope.update(found)
                        await directly(scope, receive, send)
                        return
            await whole(scope, receive, send)

        return first if self.direct else whole

    async def _directly(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await scope["direct"].answer(request)
        except Exception as e:
            response = await self.refused(request, e)
        await response(scope, receive, send)

    async def refused(self, request: Request, e: Exception) -> Response:
        """By the nearest of the application's handlers, as everywhere; the last of them takes all."""
        handler = next(self.exception_handlers[kind] for kind in type(e).__mro__ if kind in self.exception_handlers)
        return cast(Response, await cast(Any, handler)(request, e))


def _common(service: str, title: str, checks: Mapping[str, Check]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def root(request: Request) -> Response:
        links = {"docs": "/docs", "openapi": "/openapi.json", "live": "/livez", "ready": "/readyz", "metrics": "/metrics"}
        return reply(request, {"service": service, "title": title, "links": links})

    @router.get("/livez")
    async def livez(request: Request) -> Response:
        return reply(request, {"status": "ok"})

    @router.get("/readyz")
    async def readyz(request: Request) -> Response:
        found = {name: await _run(check) for name, check in checks.items()}
        ready = all(v == "ok" for v in found.values())
        return reply(request, {"status": "ok" if ready else "unready", "checks": found}, status=200 if ready else 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        return telemetry.exposition()

    @router.get("/docs")
    async def documentation(request: Request) -> Response:
        return docs.page(request.app.openapi())

    return router


async def _run(check: Check) -> str:
    try:
        await check()
    except LOST as e:
        return f"unreachable ({type(e).__name__})"
    except Exception as e:  # a check says in its exception what is not ready
        return str(e) or type(e).__name__
    return "ok"


def _handlers(app: Api, max_body_bytes: int, larger: Mapping[str, int]) -> None:
    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> Response:
        return render(request, problem)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, e: HTTPException) -> Response:
        template = getattr(request.scope.get("route"), "path", "")
        limit_bytes = larger.get(request.url.path, max_body_bytes)
        return render(request, of_framework(e, limit_bytes, app.methods(request.url.path, template)))

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, e: RequestValidationError) -> Response:
        path = request.url.path  # one that is also an instance of a template: `/v1/things/search` beside `/v1/things/{id}`
        if path in app.openapi()["paths"] and request.method not in (methods := app.methods(path)):
            return render(request, of_framework(HTTPException(405), max_body_bytes, methods))
        return render(request, of_validation(e))

    for lost in LOST:

        @app.exception_handler(lost)
        async def _lost(request: Request, e: Exception) -> Response:
            log.warning("http.database_lost", error=type(e).__name__)
            return render(
                request,
                unavailable(
                    "database.unavailable",
                    "数据库暂时不可用，请稍后重试；本次未存储任何内容。",
                    "The database does not answer: retry later.",
                ),
            )

    @app.exception_handler(Exception)
    async def _bug(request: Request, e: Exception) -> Response:
        log.error("http.error", error=type(e).__name__, trace_id=request.state.trace_id, exc_info=e)
        return render(
            request, Problem(500, "internal", "内部错误，请把 trace_id 告诉运维人员。", "An error of ours: tell the operator the trace_id.")
        )


class _Observe:
    """Trace id, access log and metrics, by route template; pure ASGI, since BaseHTTPMiddleware cancels its handler on disconnect."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, larger: Mapping[str, int]) -> None:
        self.app = app
        self.max_body_bytes, self.larger = max_body_bytes, larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace_id = f"{random.getrandbits(128):032x}"  # to find a request by, not to keep it from anybody
        scope.setdefault("state", {})["trace_id"] = trace_id
        started, status = time.perf_counter(), 500
        head = scope["method"] == "HEAD"
        inner = {**scope, "method": "GET"} if head else scope  # whatever can be read has a HEAD: the same headers, no body
        body = Body(scope, receive, self.larger.get(scope["path"], self.max_body_bytes))

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
                await body.drain()
            elif head:
                message["body"] = b""
            await send(message)

        try:
            await self.app(inner, body.receive, observed)
        finally:
            route = getattr(inner.get("route"), "path", "unmatched")
            seconds = time.perf_counter() - started
            telemetry.observe_request(scope["method"], route, status, seconds)
            level = log.error if status >= 500 and status != 503 else log.debug
            level("http.request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1), trace_id=trace_id)
