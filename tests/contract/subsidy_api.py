"""What the tests of the subsidy API share: a GET that must fit its schema, and one that must be a problem."""

from typing import Any

import httpx
from pydantic import BaseModel

AS_OF = {"valid_at", "known_at", "watermark", "revision", "registry_revision", "pending_reassessments", "set_aside"}
JULY = {"from": "2023-07-01", "to": "2023-08-01"}


async def get(client: httpx.AsyncClient, path: str, shape: type[BaseModel], **params: Any) -> dict[str, Any]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    shape.model_validate(body)
    assert set(body["as_of"]) == AS_OF
    return body


async def problem(client: httpx.AsyncClient, path: str, status: int, **params: Any) -> dict[str, Any]:
    answer = await client.get(path, params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "code", "detail", "errors", "trace_id"}
    return body
