"""YTO 圆通, 状态推送: a form whose `logistics_interface` is an XML `UpdateInfo` with one scan (domain facts §1.1, §1.6).

`data_digest` = B64(MD5raw(xml + partnerId)). Of an `infoType` other than STATUS only the fact is kept. FAILED with 拒收 in `remark` is a
refusal; SIGNED with a `name` that begins with 退 went back to its sender. Neither text leaves the inbox. The site is the text in 【】 of
`remark`. Older senders write times as `2023-07-14 09:12:03.0 CST`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.brackets import site_of
from services.ingest.brands.wire import FORM, decode_xml, matches_any, md5_base64, put_right, status_of, texts, xml_bytes
from services.ingest.domain.items import MAX_CODE, Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    code,
    free_text,
    optional,
    permitted,
    read_each,
    required_code,
    shanghai_time,
    waybill,
)
from shared.contracts.scan import Action

NAME = "圆通 YTO"
BRAND = "yto"
BRANDS: Sequence[str] = (BRAND,)
SCHEMES: Sequence[str] = ("digest",)
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "GOT": Action.PICKED_UP,
    "DEPARTURE": Action.DEPARTED,
    "AIRSEND": Action.DEPARTED,
    "ARRIVAL": Action.ARRIVED,
    "AIRPICK": Action.ARRIVED,
    "SENT_SCAN": Action.OUT_FOR_DELIVERY,
    "INBOUND": Action.STATION_INBOUND,  # 自提柜入柜
    "SIGNED": Action.SIGNED,
    "SIGNED/退": Action.RETURNED,
    "FAILED": Action.DELIVERY_FAILED,
    "FAILED/拒收": Action.REFUSED,
    "FORWARDING": Action.TRANSFERRED,
    "TMS_RETURN": Action.RETURNING,
}
_OLD_TIME = re.compile(r"([0-9-]{10} [0-9:]{8})\.0(?: CST)?\Z")

SAMPLE: dict[str, Any] = {
    "logisticProviderID": "YTO",
    "clientID": "TONGCUN",
    "mailNo": "YT0230714000001",
    "txLogisticID": "TC-20230714-1",
    "infoType": "STATUS",
    "infoContent": "INBOUND",
    "acceptTime": "2023-07-14 09:12:03",
    "name": "",
    "remark": "【运城市】快件已存放至【上王村便民服务点】",
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


def document(push: RawPush) -> dict[str, str | None]:
    root = decode_xml(push.field("logistics_interface", gbk=True))
    if root.tag != "UpdateInfo":
        raise Unparseable("xml.no_update_info")
    return texts(root)


def reading(raw: str) -> Action:
    return action_of(raw, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    def scan(index: int, document: Document, at: str) -> Item:
        return _item(push, index, document)

    return read_each([document(push)], [""], scan)


def _item(push: RawPush, index: int, document: Document) -> Item:
    raw = _raw_action(document)
    sent_at, scanned_text, scanned_at = shanghai_time(document, "acceptTime", push.latest, tidy=lambda t: _OLD_TIME.sub(r"\1", t))
    site_name = site_of(document, "remark")
    return Item(
        index=index,
        brand=permitted(BRAND, push.feed.brands, ""),
        waybill_no=waybill(document, "mailNo"),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=None,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(raw, sent_at, None, site_name),
        order_no=code(document, "txLogisticID"),
    )


def _raw_action(document: Document) -> str:
    kind, raw = optional(document, "infoType", max_length=MAX_CODE), required_code(document, "infoContent")
    if kind not in (None, "STATUS"):
        return f"{required_code(document, 'infoType')}/{raw}"
    if raw == "FAILED" and "拒收" in free_text(document, "remark"):
        return "FAILED/拒收"
    if raw == "SIGNED" and free_text(document, "name").startswith("退"):
        return "SIGNED/退"
    return raw


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    try:
        order = document(push).get("txLogisticID") or ""
    except Unparseable:
        order = ""
    response = Element("Response")
    fields = {"logisticProviderID": "YTO", "txLogisticID": order, "success": "true" if outcome is Outcome.STORED else "false"}
    for tag, text in (fields | ({} if outcome is Outcome.STORED else {"reason": message})).items():
        SubElement(response, tag).text = text
    return Ack(status_of(outcome), "application/xml", xml_bytes(response))


def sign(payload: Any, secret: bytes) -> Wire:
    root = Element("UpdateInfo")
    for tag, text in payload.items():
        SubElement(root, tag).text = str(text)
    xml = xml_bytes(root)
    fields = {"logistics_interface": xml, "data_digest": digest(xml, secret), "clientId": "TONGCUN", "type": "online"}
    return Wire(urlencode(fields).encode(), FORM)
