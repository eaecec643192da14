"""统仓共配, the county's joint-distribution scanners: several scans of several brands a push. The profile: docs/brands-gongpei.md.

Published (domain facts §1.9): the envelope `{data, dataDigest, appId}`, the answer `{success, reason}`, the scan codes without those
marked *ours*, the receiver codes and the company codes. Left open by the public record and fixed by our profile: the fields of a scan,
the digest's algorithm, and what a 签收 at each kind of receiver means for the programme.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.wire import FORM, bounded, decode_json, dumps, hmac_base64, json_ack, matches_any, put_right
from services.ingest.domain.items import MAX_CODE, MAX_WEIGHT_G, Flaw, Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    brand_of,
    code,
    optional,
    place,
    read_each,
    required,
    required_code,
    shanghai_time,
    waybill,
)
from shared.contracts.scan import Action

NAME = "统仓共配 joint distribution"
SCHEMES: Sequence[str] = ("hmac",)
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "DS": Action.ARRIVED,  # 到件
    "DF": Action.ARRIVED,  # 到发: arrival and departure in one scan; arrival is what the programme reads
    "DP": Action.ARRIVED,  # 到派合一: arrival and dispatch in one scan
    "FW": Action.DEPARTED,  # 发往
    "PJ": Action.OUT_FOR_DELIVERY,  # 派件
    "FP": Action.OUT_FOR_DELIVERY,  # 发派合一
    "ZY": Action.TRANSFERRED,  # 转邮
    "DZ": Action.TRANSFERRED,  # 到转合一
    "QS/101": Action.SIGNED,  # 本人
    "QS/116": Action.SIGNED_BY_AGENT,  # 他人代收
    "QS/111": Action.STATION_INBOUND,  # 自提柜: the parcel lies there, nobody has collected it
    "QS/125": Action.STATION_INBOUND,  # 乡镇代理点
    "QS/127": Action.STATION_INBOUND,  # 小卖部
    "QS/128": Action.STATION_INBOUND,  # 学校
    "CK": Action.STATION_PICKUP,  # 出库, collected at the station: ours
    "QH": Action.TAKEN_BACK,  # 取回, by the courier: ours
    "TJ": Action.RETURNING,  # 退件: ours
}
CARRIERS: Mapping[str, str] = {  # HTKY (百世) and TTKDEX (天天) have left the market: no brand of the programme
    "YTO": "yto",
    "ZTO": "zto",
    "STO": "sto",
    "YUNDA": "yunda",
    "JT": "jt",
    "EMS": "ems",
    "SF": "sf",
    "JD": "jd",
    "POST": "chinapost",
}
BRANDS: Sequence[str] = tuple(sorted(set(CARRIERS.values())))

ENVELOPE = ("data", "dataDigest", "appId")

SAMPLE: list[dict[str, Any]] = [
    {
        "scanId": "GP-20230714-000001",
        "companyCode": "ZTO",
        "waybillNo": "73100196611386",
        "scanType": "DS",
        "scanTime": "2023-07-14 06:40:11",
        "siteCode": "YQ-HUB",
        "siteName": "垣曲县统仓共配中心",
    },
    {
        "scanId": "GP-20230714-000002",
        "companyCode": "ZTO",
        "waybillNo": "73100196611386",
        "scanType": "QS",
        "receiverCode": "127",
        "scanTime": "2023-07-14 09:12:03",
        "siteCode": "YQ-100200",
        "siteName": "上王村便民服务点",
        "weightGram": 850,
    },
]


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "hmac"


def signed(push: RawPush) -> tuple[bytes, str]:
    envelope = _envelope(push)
    return envelope["data"], put_right(envelope["dataDigest"])


def digest(text: bytes, secret: bytes) -> str:
    return hmac_base64(text, secret)


def _envelope(push: RawPush) -> Mapping[str, bytes]:
    """`data`, `dataDigest`, `appId`: a form, or a JSON object of three strings."""
    if "json" not in push.content_type:
        return {name: push.field_bytes(name) for name in ENVELOPE}
    document = decode_json(push.body)
    if not isinstance(document, dict):
        raise Unparseable("json.not_an_object")
    for name in ENVELOPE:
        if not isinstance(document.get(name), str) or not document[name]:
            raise Unparseable(f"envelope.no_{name}")
    try:
        return {name: document[name].encode() for name in ENVELOPE}
    except UnicodeEncodeError:  # half of a surrogate pair
        raise Unparseable("json.invalid") from None


def document(push: RawPush) -> Any:
    return decode_json(_envelope(push)["data"])


def reading(raw: str) -> Action:
    return action_of(raw, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    told = document(push)
    scans = bounded(told if isinstance(told, list) else [told])

    def scan(index: int, fields: Document, at: str) -> Item:
        return _item(push, index, fields, at)

    return read_each(scans, [f"/data/{i}" for i in range(len(scans))], scan)


def _item(push: RawPush, index: int, scan: Document, at: str) -> Item:
    company = required(scan, "companyCode", at, MAX_CODE)
    raw = _raw_action(scan, at)
    sent_at, scanned_text, scanned_at = shanghai_time(scan, "scanTime", push.latest, at)
    site_code, site_name = code(scan, "siteCode", at), place(scan, "siteName", at)
    scan_id = optional(scan, "scanId", at, MAX_CODE)
    return Item(
        index=index,
        brand=brand_of(company, CARRIERS, push.feed.brands, f"{at}/companyCode"),
        waybill_no=waybill(scan, "waybillNo", at),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=site_code,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(scan_id,) if scan_id else (raw, sent_at, site_code, site_name),
        order_no=code(scan, "orderNo", at),
        weight_g=_weight(scan, at),
    )


def _raw_action(scan: Document, at: str) -> str:
    """A 签收 says nothing without who received: its raw code is `QS/receiverCode`."""
    scan_type, receiver = required_code(scan, "scanType", at), code(scan, "receiverCode", at)
    return f"{scan_type}/{receiver}" if scan_type == "QS" and receiver else scan_type


def _weight(scan: Document, at: str) -> int | None:
    weight = scan.get("weightGram")
    if weight is None:
        return None
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= MAX_WEIGHT_G:
        raise Flaw("field.type", f"{at}/weightGram")
    return weight


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    return json_ack(outcome, {"success": outcome is Outcome.STORED, "reason": message})


def sign(payload: Any, secret: bytes) -> Wire:
    data = dumps(payload)
    return Wire(urlencode({"data": data, "dataDigest": hmac_base64(data, secret), "appId": "tongcun"}).encode(), FORM)
