"""An operation that is called so often that finding it, and solving its dependencies, would cost more than what it does."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from shared.auth import authorised
from shared.openapi import documented

Endpoint = Callable[..., Awaitable[Response]]


class Direct(Route):
    """Answers `POST` to `path` as the operation of `router` does that documents it: the same checks, called one after the other.

    With scopes the endpoint is called with whoever asks; without, with the parts of its path, unchecked: it must not mind how long they
    are. Everything else about that path (other methods, the OpenAPI document) stays the operation's.
    """

    def __init__(self, router: APIRouter, path: str, endpoint: Endpoint, *scopes: str) -> None:
        async def handle(request: Request) -> Response:
            await documented(request)
            if scopes:
                return await endpoint(request, await authorised(request, scopes))
            return await endpoint(request, **request.path_params)

        super().__init__(path, handle, methods=["POST"])
        self._whole = "{" not in path
        self._operation = next(r for r in router.routes if isinstance(r, APIRoute) and r.path == path and r.endpoint is endpoint)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != "POST":
            return Match.NONE, {}
        found: dict[str, Any] = {"endpoint": self.endpoint, "route": self._operation}
        if self._whole:
            return (Match.FULL, found) if scope["path"] == self.path else (Match.NONE, {})
        parts = self.path_regex.match(scope["path"])
        return (Match.FULL, found | {"path_params": parts.groupdict()}) if parts else (Match.NONE, {})
