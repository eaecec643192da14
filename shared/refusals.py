"""What the framework and pydantic refuse, as problems of ours in both languages."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from shared.problems import FieldError, Problem

MAX_ERRORS = 20  # that one answer names


def too_large(limit_bytes: int) -> Problem:
    return Problem(
        413,
        "body.too_large",
        f"请求体超过 {limit_bytes} 字节，请缩小或分批发送。",
        f"The body is larger than {limit_bytes} bytes: make it smaller, or send it in parts.",
    )


def of_framework(e: HTTPException, max_body_bytes: int, methods: Sequence[str]) -> Problem:
    """`methods`: what the path answers to."""
    match e.status_code:
        case 404:
            return Problem(
                404, "not_found", "没有这个地址，可用的地址见 /docs。", "There is nothing at this address; /docs lists what there is."
            )
        case 405:
            allow = ", ".join(methods)
            return Problem(
                405,
                "method_not_allowed",
                f"此地址不支持这种请求方法，可用：{allow}。",
                f"This address does not take that method; it takes {allow}.",
                headers={"Allow": allow},
            )
        case 408:
            return Problem(
                408,
                "body.too_slow",
                "请求体未在规定时间内传完，未存储，请重新发送。",
                "The body did not arrive in time: nothing was stored, send it again.",
                headers={"Connection": "close"},
            )
        case 413:
            return too_large(max_body_bytes)
        case status:
            return Problem(status, "request.refused", "请求无法处理。", str(e.detail), headers=e.headers or {})


def of_validation(e: RequestValidationError) -> Problem:
    errors = e.errors()[:MAX_ERRORS]
    if any(error["type"] == "json_invalid" for error in errors):
        return Problem(400, "json.invalid", "请求体不是有效的 JSON。", "The body is not valid JSON.")
    return Problem(422, "request.invalid", "请求内容有误，请按 errors 修改。", "The request is not valid; see errors.", fields_of(errors))


def fields_of(errors: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """pydantic's mistakes in both languages."""
    return [FieldError(_pointer(x["loc"]), x["type"], _in_chinese(x), x["msg"]) for x in errors]


def _in_chinese(error: Mapping[str, Any]) -> str:
    """A mistake of ours (`problems.mistake`) brings its own words; pydantic's have theirs here, with pydantic's figures."""
    given = error.get("ctx", {})
    if "zh" in given:
        return str(given["zh"])
    return _IN_CHINESE.get(error["type"], "此项的值不符合要求。").format(**given).replace("' or '", "'、'").replace("', '", "'、'")


_A_DAY = "应为日期，如 2023-07-01。"
_A_TIME = "应为带时区的时间，如 2023-07-14T09:12:03+08:00。"
_A_CHOICE = "不在允许的取值之内，可用：{expected}。"
# pydantic's error types that clients really meet; any other is "does not meet the requirements"
_IN_CHINESE = {
    "missing": "缺少此项。",
    "extra_forbidden": "没有这一项，请删除或检查拼写。",
    "string_type": "应为文字。",
    "string_too_short": "文字过短，至少 {min_length} 个字符。",
    "string_too_long": "文字过长，最多 {max_length} 个字符。",
    "string_pattern_mismatch": "文字格式不对，应符合 {pattern}。",
    "int_type": "应为整数。",
    "int_parsing": "应为整数。",
    "int_parsing_size": "整数过大。",
    "int_from_float": "应为整数。",
    "float_type": "应为数字。",
    "float_parsing": "应为数字。",
    "finite_number": "应为有限的数字。",
    "bool_type": "应为 true 或 false。",
    "bool_parsing": "应为 true 或 false。",
    "list_type": "应为数组。",
    "too_short": "至少 {min_length} 项。",
    "too_long": "最多 {max_length} 项。",
    "model_type": "应为对象。",
    "model_attributes_type": "应为对象。",
    "greater_than": "应大于 {gt}。",
    "greater_than_equal": "不得小于 {ge}。",
    "less_than": "应小于 {lt}。",
    "less_than_equal": "不得大于 {le}。",
    "enum": _A_CHOICE,
    "literal_error": _A_CHOICE,
    "date_type": _A_DAY,
    "date_parsing": _A_DAY,
    "date_from_datetime_parsing": _A_DAY,
    "date_from_datetime_inexact": _A_DAY,
    "datetime_type": _A_TIME,
    "datetime_parsing": _A_TIME,
    "datetime_from_date_parsing": _A_TIME,
    "datetime_object_invalid": _A_TIME,
    "timezone_aware": "时间须带时区，如 +08:00。",
}


def _pointer(loc: Sequence[Any]) -> str:
    if not loc:
        return ""
    where, *rest = [str(part).replace("~", "~0").replace("/", "~1") for part in loc]
    return "/" + "/".join(rest) if where == "body" else "#" + "/".join([where, *rest])
