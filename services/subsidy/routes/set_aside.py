"""Messages that could not be read: what they are, and reading them again."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.subsidy import schemas_set_aside as schemas
from shared.auth import Principal, requires
from shared.cursors import OPENED, page
from shared.http import reply
from shared.openapi import problems
from shared.values import parse_many

router = APIRouter(tags=["set-aside 搁置消息"])


@router.get("/v1/set-aside", summary="Messages set aside 搁置消息", responses=problems(410), response_model=schemas.Values)
async def show(
    request: Request,
    query: Annotated[schemas.SetAsideQuery, Query()],
    principal: Principal = requires("log:read"),
    cursor: str | None = OPENED,
) -> Response:
    """Positions of the scans log that no scan could be read from. They are in no total; `as_of.set_aside` says how many there are."""
    return page(request, await request.app.state.set_aside.show(parse_many(query.reason_code), query.limit, cursor))


@router.post("/v1/set-aside/read", summary="Read them again 重新读取", responses=problems(), response_model=schemas.Asked)
async def read(request: Request, principal: Principal = requires("log:admin")) -> Response:
    """After the workers were renewed: each partition's owner reads again what it set aside. It is done once no re-assessment is pending."""
    return reply(request, await request.app.state.set_aside.ask(principal.subject))
