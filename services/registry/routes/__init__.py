"""HTTP: translate only."""

from typing import Any

from fastapi import Request

from shared.db import Database
from shared.problems import MEDIA_TYPE


def database(request: Request) -> Database:
    """The database of the running application."""
    opened: Database = request.app.state.database
    return opened


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI: which errors an operation can answer, all as problem details."""
    return {status: {"description": "problem details (RFC 9457)", "content": {MEDIA_TYPE: {}}} for status in (401, 403, 422, *statuses)}
