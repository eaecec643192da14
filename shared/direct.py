"""An operation that is called so often that finding it, and the framework's layers around it, would cost more than what it does."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Scope

from shared.auth import authorised
from shared.openapi import documented

Endpoint = Callable[..., Awaitable[Response]]
PART = re.compile(r"\{\w+\}")


class Direct:
    """Answers `POST` to `path` as the operation of `router` does that documents it: the same checks, called one after the other.

    With scopes the endpoint is called with whoever asks; without, with the parts of its path, unchecked: it must not mind how long they
    are. Everything else about that path (other methods, the OpenAPI document) stays the operation's.
    """

    def __init__(self, router: APIRouter, path: str, endpoint: Endpoint, *scopes: str) -> None:
        self._endpoint, self._scopes = endpoint, scopes
        pattern = PART.sub(lambda part: f"(?P<{part[0][1:-1]}>[^/]+)", path)
        self._matches = re.compile(pattern + r"\Z").match
        self._operation = next(r for r in router.routes if isinstance(r, APIRoute) and r.path == path and r.endpoint is endpoint)

    def matches(self, scope: Scope) -> dict[str, Any] | None:
        """What the scope is to know of a POST that is for us."""
        parts = self._matches(scope["path"])
        return {"route": self._operation, "path_params": parts.groupdict(), "direct": self} if parts else None

    async def answer(self, request: Request) -> Response:
        await documented(request)
        if self._scopes:
            return await self._endpoint(request, await authorised(request, self._scopes))
        return await self._endpoint(request, **request.path_params)
