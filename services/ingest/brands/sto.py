"""STO 申通, 轨迹推送 `STO_TRACE_PLATFORM_PUSH`: one scan, as the form field `content` or as a JSON body (domain facts §1.1, §1.6).

`data_digest` = B64(MD5raw(content + secretKey)): a field of the form; with a JSON body it stands in the query or a header, over the body.
`outBizCode` is STO's own key of the scan and the event's identity. Codes are Chinese words; 问题件 whose `issueName` says 拒收 or 拒签 is a
refusal. `tz` names another time zone than +08:00.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import urlencode

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.wire import FORM, decode_json, dumps, json_ack, matches_any, md5_base64, put_right
from services.ingest.domain.items import MAX_CODE, Flaw, Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    code,
    free_text,
    optional,
    permitted,
    place,
    read_each,
    required_code,
    shanghai_time,
    waybill,
)
from shared.calendar import SHANGHAI
from shared.contracts.scan import Action

NAME = "申通 STO"
BRAND = "sto"
BRANDS: Sequence[str] = (BRAND,)
SCHEMES: Sequence[str] = ("digest", "token")
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "收件": Action.PICKED_UP,
    "发件": Action.DEPARTED,
    "到件": Action.ARRIVED,
    "派件": Action.OUT_FOR_DELIVERY,
    "第三方代派": Action.OUT_FOR_DELIVERY,
    "驿站代收": Action.STATION_INBOUND,
    "柜机代收": Action.STATION_INBOUND,
    "第三方代收": Action.STATION_INBOUND,  # this and the next two are retired
    "代取快递": Action.STATION_INBOUND,
    "派件入柜": Action.STATION_INBOUND,
    "驿站出库": Action.STATION_PICKUP,
    "签收": Action.SIGNED,
    "快件取出": Action.TAKEN_BACK,  # by the courier, not by the villager
    "问题件": Action.DELIVERY_FAILED,
    "问题件/拒收": Action.REFUSED,
    "退回件": Action.RETURNING,
    "改地址件": Action.DEPARTED,
    "转邮": Action.TRANSFERRED,
    "转同行": Action.TRANSFERRED,
}
_ZONE = re.compile(r"(?:GMT|UTC)?([+-]?)([0-9]{1,2})(?::?00)?\Z")

SAMPLE: dict[str, Any] = {
    "waybillNo": "770230714000001",
    "linkCode": "STO",
    "trace": {
        "outBizCode": "20230714091203770230714000001",
        "opOrgName": "上王村便民服务点",
        "opOrgCode": "YQ100200",
        "opOrgType": "3",
        "opOrgCityName": "运城市",
        "opTime": "2023-07-14 09:12:03",
        "scanType": "驿站代收",
        "memo": "快件已暂存至上王村便民服务点",
    },
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def signed(push: RawPush) -> tuple[bytes, str]:
    return _content(push), put_right(push.form.get("data_digest", b"") if _is_form(push) else _beside(push))


def digest(text: bytes, secret: bytes) -> str:
    return md5_base64(text, secret)


def _is_form(push: RawPush) -> bool:
    return "json" not in push.content_type and not push.body.lstrip().startswith(b"{")


def _content(push: RawPush) -> bytes:
    return push.field_bytes("content") if _is_form(push) else push.body


def _beside(push: RawPush) -> str:
    return push.query.get("data_digest") or push.headers.get("data_digest") or push.headers.get("data-digest") or ""


def document(push: RawPush) -> Any:
    return decode_json(push.text(_content(push)))


def reading(raw: str) -> Action:
    return action_of(raw, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    told = document(push)
    if not isinstance(told, dict):
        raise Unparseable("json.not_an_object")

    def scan(index: int, trace: Document, at: str) -> Item:
        return _item(push, index, told, trace, at)

    return read_each([told.get("trace")], ["/trace"], scan)


def _item(push: RawPush, index: int, document: Document, trace: Document, at: str) -> Item:
    raw = required_code(trace, "scanType", at)
    if raw == "问题件" and any(word in free_text(trace, "issueName", at) for word in ("拒收", "拒签")):
        raw = "问题件/拒收"
    sent_at, scanned_text, scanned_at = shanghai_time(trace, "opTime", push.latest, at, zone=_zone(trace, at))
    key = optional(trace, "outBizCode", at, MAX_CODE)
    site_code, site_name = code(trace, "opOrgCode", at), place(trace, "opOrgName", at)
    return Item(
        index=index,
        brand=permitted(BRAND, push.feed.brands, at),
        waybill_no=waybill(document, "waybillNo"),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=site_code,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(key,) if key else (raw, sent_at, site_code, site_name),
    )


def _zone(trace: Document, at: str) -> tzinfo:
    told = optional(trace, "tz", at, MAX_CODE)
    if told is None:
        return SHANGHAI
    match = _ZONE.match(told)
    if not match or int(match[2]) > 14:
        raise Flaw("time.zone_unknown", f"{at}/tz")
    return timezone(timedelta(hours=int(match[2]) * (-1 if match[1] == "-" else 1)))


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    stored = outcome is Outcome.STORED
    code_ = {Outcome.STORED: "", Outcome.FAILED: "FAILED", Outcome.RETRY: "RETRY"}[outcome]
    return json_ack(outcome, {"success": stored, "errorCode": code_, "errorMsg": "" if stored else message, "data": None})


def sign(payload: Any, secret: bytes) -> Wire:
    content = dumps(payload)
    fields = {
        "content": content,
        "data_digest": digest(content, secret),
        "api_name": "STO_TRACE_PLATFORM_PUSH",
        "from_appkey": "sto_trace",
        "from_code": "sto_trace",
        "to_appkey": "tongcun",
        "to_code": "tongcun",
    }
    return Wire(urlencode(fields).encode(), FORM)
