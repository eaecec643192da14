"""What every write of the three APIs takes: `Idempotency-Key` (asked again, it is answered again and not done again) and `If-Match`.

The effect, the answer and the key are one transaction: whatever the operation reads and writes meanwhile joins it
(`Database.one_transaction`), and it commits before the answer is sent. Only what succeeded is kept: a refusal did nothing and may be asked
again under its key.

The key is the caller's own (`sub`, roles, tenant): another's cannot be met, and who has lost a right is not answered from before. Not taken
by pushes and scans, whose events have an identity of their own. Our ETags are weak, since `as_of` moves; what they mark is compared all the
same, or no client could use `If-Match` at all. Sources: draft-ietf-httpapi-idempotency-key-header; RFC 9110 §13.1.1, RFC 6585 §3 (428).
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from fastapi import Request
from sqlalchemy import Column, DateTime, Index, LargeBinary, MetaData, SmallInteger, Table, Text, func
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.auth import BadToken, Principal
from shared.db import Database, Write
from shared.openapi import KEY, MATCH
from shared.problems import Problem

METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_KEY, _MATCH = re.compile(KEY), re.compile(MATCH)
KEPT_DAYS = 30
CONDITIONS = frozenset({b"if-match", b"if-none-match", b"idempotency-key", b"content-length", b"content-type", b"transfer-encoding"})

# Waits for nobody: the same key at the same time is told to come again.
LOCK_KEY = "select pg_try_advisory_xact_lock(hashtextextended($1, 1))"
LOCK_PATH = "select pg_advisory_xact_lock(hashtextextended($1, 2))"
KEPT = "select fingerprint, status, headers, sealed_with, body from kept_answer where caller = $1 and key = $2"
KEEP = """
insert into kept_answer (caller, key, fingerprint, status, headers, sealed_with, body) values ($1, $2, $3, $4, $5, $6, $7)
"""
FORGET = """
delete from kept_answer
where (caller, key) in (select caller, key from kept_answer where at < now() - $1 * interval '1 day' order by at limit 100)
"""


def kept_answers(metadata: MetaData) -> Table:
    """The table, for Alembic. The application may insert and delete: an answer is never changed, and after KEPT_DAYS forgotten."""
    return Table(
        "kept_answer",
        metadata,
        Column("caller", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("status", SmallInteger, nullable=False),
        Column("headers", LargeBinary, nullable=False),
        Column("sealed_with", Text),
        Column("body", LargeBinary, nullable=False),
        Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Index(None, "at"),
    )


class Sealing(Protocol):
    """What a service encrypts answers with that hold a secret (shared.keyring.Keyring)."""

    def encrypt(self, plain: bytes, aad: bytes) -> tuple[str, bytes]: ...
    def decrypt(self, key_id: str, data: bytes, aad: bytes) -> bytes: ...


@dataclass
class Answered:
    """An answer that is held back until what it says is committed."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    async def give(self, send: Send, *more: tuple[bytes, bytes]) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.headers, *more]})
        await send({"type": "http.response.body", "body": self.body})

    @property
    def etag(self) -> str | None:
        return next((value.decode("latin-1") for name, value in self.headers if name.lower() == b"etag"), None)


class _RolledBack(Exception):
    """The operation refused: nothing of the transaction stays."""

    def __init__(self, answer: Answered) -> None:
        super().__init__()
        self.answer = answer


class Writes:
    """ASGI, around the routes. `refused`: an exception as the application answers it."""

    def __init__(
        self, app: ASGIApp, database: Database, sealing: Sealing | None, refused: Callable[[Request, Exception], Awaitable[Response]]
    ) -> None:
        self._app, self._database, self._sealing, self._refused = app, database, sealing, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in METHODS or not _takes_a_key(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        key, match = request.headers.get("idempotency-key"), request.headers.get("if-match")
        if (key is None and match is None and scope["method"] != "PATCH") or (caller := await caller_of(request)) is None:
            await self._app(scope, receive, send)  # which refuses a caller that it does not know
            return
        try:
            answer, more = await self._handle(request, caller, _checked(key), _conditions(scope, match))
        except _RolledBack as refused:
            answer, more = refused.answer, []
        except Exception as e:  # as everywhere in this application, also what the database says at the end
            response = await self._refused(request, e)
            await response(scope, receive, send)
            return
        await answer.give(send, *more)

    async def _handle(
        self, request: Request, caller: str, key: str | None, match: str | None
    ) -> tuple[Answered, list[tuple[bytes, bytes]]]:
        body = await request.body()
        fingerprint = _fingerprint(request, body)
        async with self._database.one_transaction() as tx:
            if key is not None and (kept := await self._kept(tx, caller, key, fingerprint)):
                return kept, [(b"idempotency-replayed", b"true")]
            if match is not None:
                await tx.execute(LOCK_PATH, hashlib.sha256(request.url.path.encode()).hexdigest())  # whatever bytes a path holds
                await self._check(request, match)
            answer = await self._run(request.scope, body)
            if not 200 <= answer.status < 300:
                raise _RolledBack(answer)
            if key is not None:
                await self._keep(tx, caller, key, fingerprint, answer)
        return answer, []

    async def _run(self, scope: Scope, body: bytes) -> Answered:
        answer = Answered()

        async def once() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, once, answer.take)
        return answer

    async def _check(self, request: Request, match: str) -> None:
        """Raises Problem 412 where the resource is not as the caller saw it; what is not there at all, the operation says itself."""
        if match == "*":
            return
        headers = [(name, value) for name, value in request.scope["headers"] if name.lower() not in CONDITIONS]
        scope = {**request.scope, "method": "GET", "query_string": b"", "headers": headers, "state": dict(request.scope["state"])}
        scope.pop("route", None)
        now = await self._run(scope, b"")
        if now.status == 200 and now.etag is not None and _opaque(now.etag) not in map(_opaque, match.split(",")):
            raise Problem(
                412,
                "precondition.stale",
                "此记录在您读取之后已变更，请重新读取后再改。",
                "This was changed after you read it: read it again, then change it.",
                headers={"ETag": now.etag},
            )

    async def _kept(self, tx: Write, caller: str, key: str, fingerprint: bytes) -> Answered | None:
        if not await tx.fetchval(LOCK_KEY, f"{caller}|{key}"):
            raise Problem(
                409,
                "idempotency.in_flight",
                "同一 Idempotency-Key 的请求正在处理，请稍后重试。",
                "A request with this Idempotency-Key is under way: ask again later.",
                headers={"Retry-After": "1"},
            )
        row = await tx.fetchrow(KEPT, caller, key)
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise Problem(
                422,
                "idempotency.other_request",
                "此 Idempotency-Key 已用于另一请求，请换一个。",
                "This Idempotency-Key belongs to another request: choose a new one.",
            )
        body = row["body"]
        if row["sealed_with"] is not None:
            assert self._sealing, "what was sealed is opened by the service that sealed it"
            body = self._sealing.decrypt(row["sealed_with"], body, _aad(caller, key))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in _decode_headers(row["headers"])]
        return Answered(row["status"], headers, body)

    async def _keep(self, tx: Write, caller: str, key: str, fingerprint: bytes, answer: Answered) -> None:
        headers = msgspec.json.encode([(n.decode("latin-1"), v.decode("latin-1")) for n, v in answer.headers])
        sealed_with, body = self._sealing.encrypt(answer.body, _aad(caller, key)) if self._sealing else (None, answer.body)
        await tx.execute(KEEP, caller, key, fingerprint, answer.status, headers, sealed_with, body)
        await tx.execute(FORGET, KEPT_DAYS)


_decode_headers = msgspec.json.Decoder(list[tuple[str, str]]).decode


def _takes_a_key(scope: Scope) -> bool:
    return any(method == scope["method"] and path.match(scope["path"]) for method, path in scope["app"].keyed)


async def caller_of(request: Request) -> str | None:
    """Whose keys these are; None: nobody that the application would let in."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    try:
        principal: Principal = await request.app.state.verifier.authenticate(token)
    except BadToken:
        return None
    return "|".join((principal.subject, ",".join(sorted(principal.roles)), principal.claim_kind or "", principal.claim or ""))


def _checked(key: str | None) -> str | None:
    if key is None:
        return None
    key = key.removeprefix('"').removesuffix('"')  # a structured string, or bare
    if not _KEY.match(key):
        raise Problem(
            400,
            "idempotency.invalid",
            "Idempotency-Key 须为 1 至 255 个可见 ASCII 字符。",
            "An Idempotency-Key has 1 to 255 visible ASCII characters.",
        )
    return key


def _conditions(scope: Scope, match: str | None) -> str | None:
    if match is None and scope["method"] == "PATCH":
        raise Problem(
            428,
            "precondition.required",
            "修改须带 If-Match：读取时的 ETag，或 * 表示不论现状。",
            "A change takes If-Match: the ETag that was read, or * for whatever it is now.",
        )
    if match is not None and not _MATCH.match(match):
        raise Problem(
            400,
            "precondition.invalid",
            "If-Match 须为读取时的 ETag（带引号），或 *。",
            "If-Match is the ETag that was read, in its quotes, or *.",
        )
    return match


def _opaque(tag: str) -> str:
    return tag.strip().removeprefix("W/")


def _fingerprint(request: Request, body: bytes) -> bytes:
    told = (
        request.method,
        request.url.path,
        request.url.query,
        request.headers.get("content-type", ""),
        request.headers.get("if-match", ""),
    )
    return hashlib.sha256(msgspec.json.encode(told) + b"\n" + body).digest()


def _aad(caller: str, key: str) -> bytes:
    return f"kept_answer|{caller}|{key}".encode()
