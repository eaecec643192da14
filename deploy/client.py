"""The platform's HTTP API as the CLI and the demo use it: JSON in and out, every refusal one line for a person."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]
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

    async def get(self, path: str, **params: Any) -> Json:
        return await self.call("GET", path, params=params)

    async def post(self, path: str, body: Json) -> Json:
        return await self.call("POST", path, json=body)

    async def patch(self, path: str, body: Json) -> Json:
        """Whatever it is now: nobody has read it before, who could have been overtaken."""
        return await self.call("PATCH", path, json=body, headers={"If-Match": "*"})

    async def call(self, method: str, path: str, **options: Any) -> Json:
        """Raises Refused, in both languages, for every answer that is not a success."""
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        if content_type := options.pop("content_type", None):
            headers["Content-Type"] = content_type
        answer = await in_both(self.http, method, f"{self.url}{path}", headers=headers, **options)
        if isinstance(answer, Refused):
            raise answer
        document: Json = answer.json() if answer.content else {}
        return document

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


async def in_both(http: httpx.AsyncClient, method: str, url: str, *, headers: dict[str, str], **options: Any) -> httpx.Response | Refused:
    """The success, or the refusal in Chinese and English. Raises Refused where nothing answers.

    An API speaks one language at a time, so what it refuses (4xx: it has done nothing) is asked once more in the other.
    """
    answers: list[httpx.Response] = []
    for language in ("zh-CN", "en"):
        try:
            answers.append(await http.request(method, url, headers=headers | {"Accept-Language": language}, **options))
        except httpx.TransportError as error:
            raise unreachable(url, error) from None
        if not answers[-1].is_client_error:
            break
    if answers[-1].is_success:
        return answers[-1]
    return (NotFound if answers[0].status_code == httpx.codes.NOT_FOUND else Refused)(problem_line(*answers))


def unreachable(url: str, error: Exception) -> Refused:
    return Refused(
        f"{url} does not answer ({type(error).__name__}): is it running? ./tongcun status, ./tongcun up / 无应答,请检查是否已启动"
    )


def problem_line(zh: httpx.Response, en: httpx.Response | None = None) -> str:
    """RFC 9457 as one line: code, sentence, the fields at fault; of one answer, or of the same in Chinese and English."""
    try:
        problems = [answer.json() for answer in (zh, en) if answer is not None]
        fields = [f"{same[0]['pointer']}: {_joined(same)}" for same in zip(*(problem["errors"] for problem in problems), strict=False)]
        return f"{problems[0]['code']}: {_joined(problems)}" + (f" ({'; '.join(fields)})" if fields else "")
    except (ValueError, KeyError, TypeError):
        return f"HTTP {zh.status_code} from {zh.request.url.path}: {zh.text[:200]!r}"


def _joined(told: Sequence[Json]) -> str:
    return " / ".join(dict.fromkeys(str(each["detail"]) for each in told))
