"""What an operation documents, it keeps to: the errors of the OpenAPI document, and the refusal of what the document does not name."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.routing import compile_path

from shared.problems import MEDIA_TYPE, FieldError, Problem

COMPONENTS = "#/components/schemas/"
MAX_UNKNOWN = 20  # query keys that one answer names
_ALWAYS = (401, 403, 422, 503)  # of every secured operation
_OF_A_BODY = (400, 413, 415)
_MEANINGS = {
    400: "the body cannot be read 请求体无法读取",
    401: "no valid token 没有有效令牌",
    403: "the token's roles lack the scope 令牌的角色没有权限",
    404: "there is none, or it is another's 没有，或属于他人",
    409: "it contradicts what is recorded 与已有记录冲突",
    410: "the cursor has expired; begin with the first page 游标已过期，请从第一页开始",
    412: "it was changed after it was read 读取之后已变更",
    413: "the body is too large 请求体过大",
    415: "the body is of another type than the operation takes 请求体类型不对",
    422: "a field or a query key is wrong; `errors` says which 内容有误，见 errors",
    428: "a change takes If-Match 修改须带 If-Match",
    503: "nothing was stored; come again after `Retry-After` seconds 未存储，请稍后重试",
}


class FieldMistake(BaseModel):
    pointer: str = Field(description="JSON Pointer into the body, or `#query/name`, `#path/name`")
    code: str
    detail: str


class ProblemBody(BaseModel):
    """RFC 9457 problem details. Programs go by `code`; `detail` is in the language of `Accept-Language` (zh default, en)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldMistake]
    trace_id: str | None


_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": COMPONENTS + "Problem"}}}


def problems(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The errors of a secured operation: those that every one has, those of one that takes a JSON body, and `statuses`."""
    return unsecured(*_ALWAYS, *(_OF_A_BODY if body else ()), *statuses)


def unsecured(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": _MEANINGS[status], "content": _PROBLEM} for status in sorted(set(statuses))}


_POSITION = {
    "type": "object",
    "required": ["partition", "next_position", "chain", "asks"],
    "description": "`chain` (hex) is that of the position before `next_position`; null while the log's origin is not known",
}
# What a consumer reports to a log; `shared.log.report` reads the exact form.
REPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["positions"],
                    "properties": {"positions": {"type": "array", "minItems": 1, "items": _POSITION}},
                    "additionalProperties": False,
                }
            }
        },
    }
}


@dataclass(frozen=True)
class Rule:
    """What an operation takes. `query`: the keys; None: any. `json`: the content types of a JSON body; empty: it takes others, too."""

    query: frozenset[str] | None
    json: frozenset[str]


KEY = "^[!#-~]{1,255}$"
_TAG = '(W/)?"[!#-~]{1,100}"'
MATCH = f"^([*]|{_TAG}( ?, ?{_TAG})*)$"  # RFC 9110 §13.1.1
# Of every write that a token authenticates; pushes and scans have an identity of their own (shared/writes.py).
_KEY = {
    "name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "pattern": KEY},
    "description": "asked again under the same key, it is answered again (`Idempotency-Replayed: true`) and not done again",
}  # fmt: skip
_MATCH = {
    "name": "If-Match", "in": "header", "required": True, "schema": {"type": "string", "pattern": MATCH},
    "description": "the ETag that was read, or * for whatever it is now",
}  # fmt: skip
OWN_IDENTITY = "x-own-identity"  # of an operation that takes no key


def _conditional(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for method, operation in methods.items():
            if method == "get" or not operation.get("security") or operation.get(OWN_IDENTITY):
                continue
            statuses = {409: _MEANINGS[409], 400: _MEANINGS[400]}
            operation.setdefault("parameters", []).append(_KEY)
            if method == "patch":
                operation["parameters"].append(_MATCH)
                statuses |= {status: _MEANINGS[status] for status in (412, 428)}
            for status, meaning in statuses.items():
                operation["responses"].setdefault(str(status), {"description": meaning, "content": _PROBLEM})


class Api(FastAPI):
    """FastAPI whose document holds the one schema of problems."""

    @cached_property
    def rules(self) -> dict[tuple[str, str], Rule]:
        """By path and method, in lower case."""
        return {
            (path, method): Rule(
                None
                if operation.get("x-any-query")
                else frozenset(p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"),
                _json_types(operation.get("requestBody", {}).get("content", ())),
            )
            for path, methods in self.openapi()["paths"].items()
            for method, operation in methods.items()
        }

    @cached_property
    def keyed(self) -> list[tuple[str, re.Pattern[str]]]:
        """(method, path) of the operations that take an Idempotency-Key."""
        return [
            (method.upper(), compile_path(path)[0])
            for path, methods in self.openapi()["paths"].items()
            for method, operation in methods.items()
            if _KEY in operation.get("parameters", ())
        ]

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            made = ProblemBody.model_json_schema(ref_template=COMPONENTS + "{model}")
            schemas |= made.pop("$defs") | {"Problem": made | {"title": "Problem"}}
            _conditional(document)
        return document

    def methods(self, *paths: str) -> list[str]:
        """What the first of the paths or path templates that the document knows answers to; what it does not know (health, docs) is only
        read."""
        known = self.openapi().get("paths", {})
        found = {method.upper() for method in next((known[path] for path in paths if path in known), {"get": None})}
        return sorted(found | {"HEAD"} if "GET" in found else found)


async def documented(request: Request) -> None:
    """A dependency of every operation. 422 for a query key that the document does not name: ignored, a misspelt filter would answer
    too much, and `?dry_run=1` would write. 415 for a body of a type that it does not name."""
    rule: Rule = request.app.rules[request.scope["route"].path, request.method.lower()]
    if rule.query is not None and request.query_params:
        _check_query(request, rule.query)
    if rule.json:
        _check_json(request.headers.get("content-type", ""), rule.json)


def _check_query(request: Request, known: Collection[str]) -> None:
    unknown = [name for name in dict.fromkeys(request.query_params.keys()) if name not in known]
    if not unknown:
        return
    there = ", ".join(sorted(known))
    zh = f"没有这个查询项，可用：{there}。" if known else "此地址不接受查询项，请删除。"
    en = f"There is no such query key; there are {there}." if known else "This operation takes no query: remove it."
    raise Problem(
        422,
        "request.invalid",
        "请求内容有误，请按 errors 修改。",
        "The request is not valid; see errors.",
        [
            FieldError("#query/" + name[:64].replace("~", "~0").replace("/", "~1"), "query.unknown", zh, en)
            for name in unknown[:MAX_UNKNOWN]
        ],
    )


def _json_types(content: Collection[str]) -> frozenset[str]:
    return frozenset(content if set(content) <= {"application/json", "application/x-ndjson"} else ())


def _check_json(content_type: str, known: Collection[str]) -> None:
    """Without a Content-Type a body is taken as JSON."""
    kind = content_type.split(";")[0].strip().lower()
    if kind and kind not in known and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem(
            415,
            "body.not_json",
            f"请求体应为 JSON（Content-Type: application/json），不是 {kind[:64]}。",
            f"The body must be JSON (Content-Type: application/json), not {kind[:64]}.",
        )
