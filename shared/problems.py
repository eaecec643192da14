"""Errors as RFC 9457 problem details: a stable code, a sentence that says what to do in the reader's language, JSON Pointers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class FieldError:
    """One field of a request: `pointer` is a JSON Pointer into the body, or `#query/name`."""

    pointer: str
    code: str
    zh: str
    en: str


@dataclass
class Problem(Exception):
    """Raise it anywhere; the application answers with it. `zh` and `en` say what is wrong and what to do."""

    status: int
    code: str
    zh: str
    en: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.en}"


def unavailable(code: str, zh: str, en: str, *, retry_after_s: int = 5) -> Problem:
    """Nothing was stored; come again after `retry_after_s` seconds."""
    return Problem(503, code, zh, en, headers={"Retry-After": str(retry_after_s)})


def not_found(what_zh: str, what_en: str, code: str = "not_found") -> Problem:
    """Also for what belongs to another: its existence is nobody's business."""
    return Problem(
        404,
        code,
        f"没有找到{what_zh}，请核对编号；属于他人的不予显示。",
        f"There is no such {what_en}: check the number; what belongs to another is not shown.",
    )


def mistake(code: str, zh: str, en: str) -> PydanticCustomError:
    """For a validator of ours to raise: one field's mistake in both languages."""
    return PydanticCustomError(code, "{en}", {"zh": zh, "en": en})


def invalid(pointer: str, code: str, zh: str, en: str) -> Problem:
    """422 for one field."""
    return Problem(
        422,
        "request.invalid",
        "请求内容有误，请按 errors 修改。",
        "The request is not valid; see errors.",
        [FieldError(pointer, code, zh, en)],
    )


def language(request: Request) -> str:
    """`zh` (default) or `en`, by the order of Accept-Language; weights are ignored, since clients list by preference."""
    for part in request.headers.get("accept-language", "").lower().split(","):
        if part.strip()[:2] in ("zh", "en"):
            return part.strip()[:2]
    return "zh"


def render(request: Request, problem: Problem) -> Response:
    lang = language(request)
    title = HTTPStatus(problem.status).phrase
    body: dict[str, Any] = {
        "type": f"urn:tongcun:problem:{problem.code}",
        "title": title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.zh if lang == "zh" else problem.en,
        "errors": [{"pointer": e.pointer, "code": e.code, "detail": e.zh if lang == "zh" else e.en} for e in problem.errors],
        "trace_id": getattr(request.state, "trace_id", None),
    }
    headers = {**problem.headers, "Content-Language": "zh-CN" if lang == "zh" else "en", "Vary": "Accept-Language"}
    return Response(msgspec.json.encode(body), problem.status, headers, MEDIA_TYPE)
