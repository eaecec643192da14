"""A request's body while it arrives: bounded, and read to its end before an early answer, so that the answer arrives, too."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_BYTES = 32 << 20  # read and dropped at most, so that a sender who writes before it reads sees its 413; beyond: a reset
DRAIN_S = 5.0
RECEIVE_S = 30.0  # for a whole body: whoever trickles holds a connection, and nothing else


class Body:
    """413 as soon as a body is, or says that it will be, larger than the limit (Starlette's own limiter answers in plain text)."""

    def __init__(self, scope: Scope, receive: Receive, limit_bytes: int) -> None:
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"")
        self._receive, self._limit_bytes = receive, limit_bytes
        self._declared_bytes = int(declared) if declared.isdigit() else 0
        self._seen_bytes = 0
        self._unread = self._declared_bytes > 0 or b"transfer-encoding" in headers
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"  # sends nothing before it is asked to
        self._until = 0.0

    async def receive(self) -> Message:
        self._refuse_too_large()
        if not self._unread:  # nothing, or all of it, has come: the next message is a disconnection
            return await self._next()
        self._until = self._until or asyncio.get_running_loop().time() + RECEIVE_S
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._next()
        except TimeoutError:
            self._unread = False  # nor is it waited for before the answer
            raise HTTPException(408) from None
        self._refuse_too_large()
        return message

    def _refuse_too_large(self) -> None:
        if max(self._declared_bytes, self._seen_bytes) > self._limit_bytes:
            raise HTTPException(413)

    async def _next(self) -> Message:
        self._waits = False
        message = await self._receive()
        self._seen_bytes += len(message.get("body", b""))
        self._unread = message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Before an answer: closing a connection with unread bytes resets it, and the client would never see why it was refused."""
        if not self._unread:
            return  # most often, and a time limit costs more than all else here
        end = self._seen_bytes + DRAIN_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while self._unread and not self._waits and self._seen_bytes < end:
                    await self._next()


class InTurns:
    """ASGI, around everything: of the POSTs to `path`, whose bodies are large, `at_once` are heard, one of a caller. Who waits has not sent
    its body yet, so that many at a time cost time and not memory; nobody's slow ones are in everybody's way.

    `caller`: whose request it is; None: nobody's, which the application refuses without reading it.
    """

    def __init__(self, app: ASGIApp, path: str, at_once: int, caller: Callable[[Request], Awaitable[str | None]]) -> None:
        self._app, self._path, self._caller, self._places = app, path, caller, asyncio.Semaphore(at_once)
        self._own: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        large = scope["type"] == "http" and scope["path"] == self._path and scope["method"] == "POST"
        if not large or (caller := await self._caller(Request(scope))) is None:
            await self._app(scope, receive, send)
            return
        own = self._own.setdefault(caller, asyncio.Lock())
        async with own, self._places:
            await self._app(scope, receive, send)
