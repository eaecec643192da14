"""HTTP: translate only."""

from datetime import datetime
from typing import Annotated

from fastapi import Query, Request
from starlette.exceptions import HTTPException

from services.ingest import repository
from services.ingest.domain.items import MAX_BODY_BYTES
from services.ingest.service import Ingest
from shared.auth import Principal
from shared.db import Read
from shared.http import read_body
from shared.problems import Problem
from shared.values import AsOf

NOBODY = ""  # no feed has this name: whoever is limited to an operator, a merchant or a township owns no feed


Filter = Annotated[str | None, Query(max_length=2000, pattern="^[^\\x00]*$", description="one or more, comma-separated")]


def ingest(request: Request) -> Ingest:
    service: Ingest = request.app.state.service
    return service


async def bounded_body(request: Request) -> bytes | None:
    """The exact bytes; None when there are too many, which each format says in its own words."""
    try:
        return await read_body(request, MAX_BODY_BYTES)
    except Problem as problem:
        if problem.status != 413:
            raise
    except HTTPException as refused:  # the application's own limit, beyond ours
        if refused.status_code != 413:
            raise
    return None


def client_address(request: Request) -> str:
    return request.client.host if request.client else ""


def tenant(principal: Principal) -> tuple[str | None, str | None]:
    """(feed, brand) that the caller's rows are limited to."""
    if principal.claim_kind in (None, "feed", "brand"):
        return principal.tenant("feed"), principal.tenant("brand")
    return NOBODY, None


async def as_of(read: Read) -> AsOf:
    at: datetime = await repository.now(read)
    return AsOf(known_at=at)
