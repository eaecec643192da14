"""The platform's HTTP API as the CLI and the demo use it: JSON in and out, every refusal one line for a person."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

Json = dict[str, Any]
LANGUAGE = "zh-CN" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("zh") else "en"
PAGE = 1000
TIMEOUT_S = 30.0


class Refused(Exception):
    """What the platform answered, or that it did not; one line that says what to do."""


class NotFound(Refused):
    """404: there is no such thing, or it is another's."""


@dataclass(frozen=True)
class Api:
    """One service, seen with one token."""

    http: httpx.AsyncClient
    url: str
    token: str
    headers: Mapping[str, str] = field(default_factory=lambda: {"Accept-Language": LANGUAGE})

    async def get(self, path: str, **params: Any) -> Json:
        return await self.call("GET", path, params=params)

    async def post(self, path: str, body: Json) -> Json:
        return await self.call("POST", path, json=body)

    async def patch(self, path: str, body: Json) -> Json:
        return await self.call("PATCH", path, json=body)

    async def call(self, method: str, path: str, **options: Any) -> Json:
        """Raises Refused for every answer that is not a success."""
        headers = {"Authorization": f"Bearer {self.token}", **self.headers}
        try:
            answer = await self.http.request(method, f"{self.url}{path}", headers=headers, **options)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from None
        if answer.is_success:
            document: Json = answer.json() if answer.content else {}
            return document
        raise (NotFound if answer.status_code == httpx.codes.NOT_FOUND else Refused)(problem_line(answer))

    async def pages(self, path: str, **params: Any) -> AsyncIterator[Json]:
        """Every item of a list."""
        cursor: Json = {}
        while True:
            page = await self.get(path, limit=PAGE, **params, **cursor)
            for item in page["items"]:
                yield item
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}


def unreachable(url: str, error: Exception) -> Refused:
    return Refused(
        f"{url} does not answer ({type(error).__name__}): is it running? ./tongcun status, ./tongcun up / 无应答,请检查是否已启动"
    )


def problem_line(answer: httpx.Response) -> str:
    """RFC 9457 as one line: code, sentence, the fields at fault."""
    try:
        problem = answer.json()
        fields = "; ".join(f"{e['pointer']}: {e['detail']}" for e in problem["errors"])
        return f"{problem['code']}: {problem['detail']}" + (f" ({fields})" if fields else "")
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code} from {answer.request.url.path}: {answer.text[:200]!r}"
