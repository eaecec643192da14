"""J&T 极兔, 物流轨迹推送: a form whose `bizContent` is JSON with the parcel's new scans in `details` (domain facts §1.1, §1.7).

The header (or field) `digest` = B64(MD5raw(bizContent + privateKey)). `scanType` comes as a number or as Chinese words, with or without
扫描. A 问题件 whose `problemType` is A2 or A14 is a refusal.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.wire import FORM, bounded, decode_json, dumps, json_ack, matches_any, md5_base64, put_right
from services.ingest.domain.items import Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    code,
    permitted,
    place,
    read_each,
    required_code,
    shanghai_time,
    waybill,
    words_for_numbers,
)
from shared.contracts.scan import Action

NAME = "极兔 J&T"
BRAND = "jt"
BRANDS: Sequence[str] = (BRAND,)
SCHEMES: Sequence[str] = ("digest", "token")
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "1": Action.PICKED_UP,
    "3": Action.DEPARTED,
    "4": Action.ARRIVED,
    "5": Action.DEPARTED,
    "6": Action.STATION_INBOUND,
    "7": Action.STATION_INBOUND,  # 代理点收入
    "8": Action.TAKEN_BACK,  # 快件取出, by the courier
    "9": Action.OUT_FOR_DELIVERY,  # 出库: for delivery, as far as is known
    "10": Action.SIGNED,
    "11": Action.DELIVERY_FAILED,
    "11/A2": Action.REFUSED,
    "11/A14": Action.REFUSED,
    "14": Action.RETURNING,
}
WORDS: Mapping[str, str] = {  # the words that stand for the numbers
    "快件揽收": "1",
    "揽收": "1",
    "入仓": "2",
    "发件": "3",
    "到件": "4",
    "出仓": "5",
    "入库": "6",
    "代理点收入": "7",
    "快件取出": "8",
    "出库": "9",
    "签收": "10",
    "快件签收": "10",
    "问题件": "11",
    "安检": "12",
    "其他": "13",
    "退件": "14",
}

SAMPLE: dict[str, Any] = {
    "billCode": "JT0230714000001",
    "txlogisticId": "TC-20230714-1",
    "details": [
        {
            "scanTime": "2023-07-14 09:12:03",
            "desc": "快件已存放至上王村便民服务点",
            "scanType": "代理点收入扫描",
            "weight": "0.85",
            "scanNetworkId": 100200,
            "scanNetworkName": "上王村便民服务点",
            "scanNetworkTypeName": "代理点",
            "scanNetworkCity": "运城市",
            "scanNetworkArea": "垣曲县",
        }
    ],
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def signed(push: RawPush) -> tuple[bytes, str]:
    return push.field_bytes("bizContent"), put_right(push.headers.get("digest") or push.form.get("digest", b""))


def digest(text: bytes, secret: bytes) -> str:
    return md5_base64(text, secret)


def document(push: RawPush) -> Any:
    return decode_json(push.field("bizContent"))


def reading(raw: str) -> Action:
    return action_of(_number(raw), CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    told = document(push)
    details = told.get("details") if isinstance(told, dict) else None
    if not isinstance(details, list):
        raise Unparseable("json.no_details")

    def scan(index: int, detail: Document, at: str) -> Item:
        return _item(push, index, told, words_for_numbers(detail), at)

    return read_each(bounded(details), [f"/details/{i}" for i in range(len(details))], scan)


def _item(push: RawPush, index: int, document: Document, detail: Document, at: str) -> Item:
    raw = _raw_action(detail, at)
    sent_at, scanned_text, scanned_at = shanghai_time(detail, "scanTime", push.latest, at)
    site_code, site_name = code(detail, "scanNetworkId", at), place(detail, "scanNetworkName", at)
    return Item(
        index=index,
        brand=permitted(BRAND, push.feed.brands, at),
        waybill_no=waybill(document, "billCode"),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=site_code,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(raw, sent_at, site_code, site_name),
        order_no=code(document, "txlogisticId"),
    )


def _raw_action(detail: Document, at: str) -> str:
    raw, problem = required_code(detail, "scanType", at), code(detail, "problemType", at)
    return f"{raw}/{problem}" if problem and _number(raw) == "11" else raw


def _number(raw: str) -> str:
    """`问题件扫描/A2` → `11/A2`; a 问题件 of another type is a 问题件."""
    scan_type, _, problem = raw.partition("/")
    number = WORDS.get(scan_type.removesuffix("扫描"), scan_type)
    return f"{number}/{problem}" if f"{number}/{problem}" in CODES else number


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    if outcome is Outcome.STORED:
        return json_ack(outcome, {"code": "1", "msg": "success", "data": "SUCCESS"})
    return json_ack(outcome, {"code": "0", "msg": message, "data": None})


def sign(payload: Any, secret: bytes) -> Wire:
    content = dumps(payload)
    headers = {"apiAccount": "tongcun", "digest": digest(content, secret), "timestamp": "1689297124000"}
    return Wire(urlencode({"bizContent": content}).encode(), FORM, headers)
