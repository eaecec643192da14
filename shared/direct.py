"""An operation that is called so often that finding it, and solving its dependencies, would cost more than what it does."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from shared.auth import Principal, authorised
from shared.openapi import documented

Endpoint = Callable[[Request, Principal], Awaitable[Response]]


class Direct(Route):
    """Answers `POST` to `path` as the operation of `router` does that documents it: the same checks, called one after the other.

    Everything else about that path (other methods, the OpenAPI document) stays the operation's.
    """

    def __init__(self, router: APIRouter, path: str, endpoint: Endpoint, *scopes: str) -> None:
        async def handle(request: Request) -> Response:
            await documented(request)
            return await endpoint(request, await authorised(request, scopes))

        super().__init__(path, handle, methods=["POST"])
        self._operation = next(r for r in router.routes if isinstance(r, APIRoute) and r.path == path and r.endpoint is endpoint)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["path"] == self.path and scope["method"] == "POST":
            return Match.FULL, {"endpoint": self.endpoint, "route": self._operation}
        return Match.NONE, {}
