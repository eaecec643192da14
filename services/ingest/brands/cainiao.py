"""Cainiao 菜鸟 LINK: a form whose `logistics_interface` is JSON or XML, in UTF-8 or GBK (domain facts §1.1).

`data_digest` = B64(MD5raw(content + secretKey)) over the bytes as sent. The envelope, the digest and the answer are published, the body of
a trace push is not: read is what Taobao's query of the same traces publishes, `mail_no` and `traces`, each with `site` and `detail`, in
snake_case or camelCase, and in the XML's `<request>` the same. A code that Cainiao adds is kept as `unknown`: receivers must expect it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.wire import FORM, bounded, decode_json, decode_xml, dumps, json_ack, matches_any, md5_base64, put_right
from services.ingest.domain.items import MAX_CODE, Flaw, Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    brand_of,
    code,
    optional,
    place,
    read_each,
    required_code,
    shanghai_time,
    waybill,
    words_for_numbers,
)
from shared.contracts.scan import Action

NAME = "菜鸟 Cainiao LINK"
SCHEMES: Sequence[str] = ("digest", "token")
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "GOT": Action.PICKED_UP,
    "TMS_COLLECT": Action.PICKED_UP,
    "DEPARTURE": Action.DEPARTED,
    "TRANSPORT": Action.DEPARTED,
    "ARRIVAL": Action.ARRIVED,
    "SENT_SCAN": Action.OUT_FOR_DELIVERY,
    "DELIVERING": Action.OUT_FOR_DELIVERY,
    "INBOUND": Action.STATION_INBOUND,
    "STA_INBOUND": Action.STATION_INBOUND,
    "AGENT_SIGN": Action.STATION_INBOUND,  # 代签: at a station, nobody has collected it
    "STA_SIGN": Action.STATION_PICKUP,
    "SIGNED": Action.SIGNED,
    "SIGN": Action.SIGNED,
    "FAILED": Action.DELIVERY_FAILED,
    "REJECT": Action.REFUSED,
    "RETURN": Action.RETURNING,
    "FORWARDING": Action.TRANSFERRED,
}
CARRIERS: Mapping[str, str] = {
    "SF": "sf",
    "ZTO": "zto",
    "STO": "sto",
    "YTO": "yto",
    "YUNDA": "yunda",
    "JT": "jt",
    "JD": "jd",
    "EMS": "ems",
    "POSTB": "chinapost",
    "CAINIAO": "cainiao",
    "DANNIAO": "cainiao",
}
BRANDS: Sequence[str] = tuple(sorted(set(CARRIERS.values())))
OWN = "CAINIAO"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")

SAMPLE: dict[str, Any] = {
    "mail_no": "621230714000001",
    "cp_code": "CAINIAO",
    "biz_code": "TC-20230714-1",
    "traces": [
        {
            "trace": {
                "site": {"site_code": "YQ100200", "site_name": "上王村便民服务点", "site_type": "1"},
                "address": {"city": "运城市", "district": "垣曲县"},
                "detail": {
                    "operate_action": "STA_INBOUND",
                    "operate_time": "2023-07-14 09:12:03",
                    "operate_desc": "包裹已存放至上王村便民服务点",
                },
            }
        }
    ],
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def signed(push: RawPush) -> tuple[bytes, str]:
    return push.field_bytes("logistics_interface"), put_right(push.field_bytes("data_digest"))


def digest(text: bytes, secret: bytes) -> str:
    return md5_base64(text, secret)


def document(push: RawPush) -> Any:
    content = push.field("logistics_interface", gbk=True)
    return _snake(_of_xml(decode_xml(content)) if content.lstrip().startswith("<") else decode_json(content))


def reading(raw: str) -> Action:
    return action_of(raw, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    told = document(push)
    traces = told.get("traces") if isinstance(told, dict) else None
    if not isinstance(traces, list):
        raise Unparseable("content.no_traces")

    def scan(index: int, trace: Document, at: str) -> Item:
        return _item(push, index, words_for_numbers(told), trace, at)

    return read_each(bounded(traces), [f"/traces/{i}" for i in range(len(traces))], scan)


def _of_xml(element: Element) -> Any:
    """The document that the XML is: children of one name, or of a name in the plural around them, are a list."""
    if len(element) == 0:
        return element.text
    names = [child.tag for child in element]
    if element.tag == "traces":
        return [{child.tag: _of_xml(child)} for child in element]
    if len(set(names)) != len(names):
        raise Unparseable("xml.repeated_element")
    return {child.tag: _of_xml(child) for child in element}


def _snake(document: Any) -> Any:
    """The same with `mailNo` as `mail_no`."""
    if isinstance(document, list):
        return [_snake(child) for child in document]
    if isinstance(document, dict):
        found = {_HUMP.sub("_", name).lower(): _snake(child) for name, child in document.items()}
        if len(found) != len(document):
            raise Unparseable("json.repeated_key")
        return found
    return document


def _item(push: RawPush, index: int, document: Document, trace: Document, at: str) -> Item:
    trace = _part(trace, "trace", at) if "trace" in trace else trace
    site, detail = words_for_numbers(_part(trace, "site", at)), words_for_numbers(_part(trace, "detail", at))
    raw = required_code(detail, "operate_action", f"{at}/detail")
    sent_at, scanned_text, scanned_at = shanghai_time(detail, "operate_time", push.latest, f"{at}/detail")
    site_code, site_name = code(site, "site_code", f"{at}/site"), place(site, "site_name", f"{at}/site")
    carrier = optional(document, "cp_code", max_length=MAX_CODE) or OWN
    return Item(
        index=index,
        brand=brand_of(carrier, CARRIERS, push.feed.brands, "/cp_code"),
        waybill_no=waybill(document, "mail_no"),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=site_code,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(raw, sent_at, site_code, site_name),
        order_no=code(document, "biz_code"),
    )


def _part(document: Document, field: str, at: str) -> Document:
    part = document.get(field)
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise Flaw("field.type", f"{at}/{field}")
    return part


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    code_ = {Outcome.STORED: "", Outcome.FAILED: "S02", Outcome.RETRY: "S12"}[outcome]
    return json_ack(outcome, {"success": outcome is Outcome.STORED, "errorCode": code_, "errorMsg": "" if not code_ else message})


def sign(payload: Any, secret: bytes) -> Wire:
    content = dumps(payload)
    fields = {
        "logistics_interface": content,
        "data_digest": digest(content, secret),
        "msg_type": "TRACE_PUSH",
        "logistic_provider_id": "tongcun",
    }
    return Wire(urlencode(fields).encode(), FORM)
