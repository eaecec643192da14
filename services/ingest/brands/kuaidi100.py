"""Kuaidi100 快递100, 订阅推送 with `resultv2`: a form whose `param` is the parcel's whole history, newest first (domain facts §1.9).

`sign` = MD5hex(param + salt), upper case, compared in any case; a subscription without salt pushes to the feed's secret address.
The site is the text in 【】 of `context` (brackets.py): the last one for 301, 303, 304 and 501, else the first; for 304 and 501 what stands
behind 由 is the station.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.brackets import site_of
from services.ingest.brands.wire import FORM, bounded, decode_json, dumps, json_ack, matches_any, md5_hex_upper
from services.ingest.domain.items import MAX_CODE, Flaw, Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    brand_of,
    optional,
    read_each,
    required,
    required_code,
    shanghai_time,
    waybill,
)
from shared.contracts.scan import Action

NAME = "快递100 Kuaidi100"
SCHEMES: Sequence[str] = ("digest", "token")
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "0": Action.ARRIVED,
    "1001": Action.ARRIVED,  # 到达派件城市
    "1002": Action.DEPARTED,  # 干线
    "1003": Action.DEPARTED,  # 转递: sent on under the same number
    "1": Action.PICKED_UP,
    "103": Action.PICKED_UP,
    "5": Action.OUT_FOR_DELIVERY,
    "501": Action.STATION_INBOUND,  # 投柜或驿站
    "304": Action.STATION_INBOUND,  # 投柜或站签收: signed by the station, nobody has collected it
    "3": Action.SIGNED,
    "301": Action.SIGNED,
    "302": Action.SIGNED,
    "303": Action.SIGNED_BY_AGENT,
    "2": Action.DELIVERY_FAILED,
    "14": Action.REFUSED,
    "6": Action.RETURNING,
    "4": Action.RETURNED,  # 退签
    "7": Action.TRANSFERRED,
}
SITE_IS_LAST = frozenset({"301", "303", "304", "501"})
BY_STATION = frozenset({"304", "501"})
CARRIERS: Mapping[str, str] = {
    "zhongtong": "zto",
    "shunfeng": "sf",
    "yuantong": "yto",
    "shentong": "sto",
    "yunda": "yunda",
    "jtexpress": "jt",
    "jd": "jd",
    "ems": "ems",
    "youzhengguonei": "chinapost",
    "youzhengbk": "chinapost",
    "danniao": "cainiao",
}
BRANDS: Sequence[str] = tuple(sorted(set(CARRIERS.values())))

SAMPLE: dict[str, Any] = {
    "status": "polling",
    "message": "变化",
    "autoCheck": "0",
    "comOld": "",
    "comNew": "",
    "lastResult": {
        "message": "ok",
        "state": "501",
        "status": "200",
        "ischeck": "0",
        "com": "zhongtong",
        "nu": "73100196611386",
        "data": [
            {
                "context": "【运城市】快件已暂存至【上王村便民服务点】，请凭取件码领取",
                "time": "2023-07-14 09:12:03",
                "ftime": "2023-07-14 09:12:03",
                "status": "投柜或驿站",
                "statusCode": "501",
            },
            {
                "context": "【运城市】快件已到达【垣曲县统仓共配中心】",
                "time": "2023-07-14 06:40:11",
                "ftime": "2023-07-14 06:40:11",
                "status": "在途",
                "statusCode": "0",
            },
        ],
    },
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def signed(push: RawPush) -> tuple[bytes, str]:
    return push.field_bytes("param"), push.form.get("sign", b"").decode("ascii", errors="replace").upper()


def digest(text: bytes, secret: bytes) -> str:
    return md5_hex_upper(text, secret)


def document(push: RawPush) -> Any:
    return decode_json(push.field("param"))


def reading(raw: str) -> Action:
    return action_of(raw, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    told = document(push)
    if not isinstance(told, dict):
        raise Unparseable("json.not_an_object")
    result = {} if told.get("lastResult") is None else told["lastResult"]
    data = result.get("data") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(data, list | None):
        raise Unparseable("json.no_last_result")
    if not data:
        return _without_history(told, result)
    moments = bounded(data)

    def scan(index: int, moment: Document, at: str) -> Item:
        _same_carrier(told, result)
        return _item(push, index, result, moment, at)

    return read_each(moments, [f"/lastResult/data/{i}" for i in range(len(moments))], scan)


def _without_history(document: Document, result: Document) -> list[Item | Unreadable]:
    """A subscription that ended without a trace (`status` abort): nothing to read. A change of carrier is told all the same."""
    try:
        _same_carrier(document, result)
    except Flaw as flaw:
        return [Unreadable(0, flaw.code, flaw.pointer)]
    return []


def _same_carrier(document: Document, result: Document) -> None:
    """`comNew` says that the number belongs to another carrier than was subscribed: whose parcel it is a person decides."""
    new = optional(document, "comNew", max_length=MAX_CODE)
    if new and new != (optional(document, "comOld", max_length=MAX_CODE) or result.get("com")):
        raise Flaw("brand.changed", "/comNew")


def _item(push: RawPush, index: int, result: Document, moment: Document, at: str) -> Item:
    carrier = required(result, "com", "/lastResult", MAX_CODE)
    brand = brand_of(carrier, CARRIERS, push.feed.brands, "/lastResult/com")
    code = required_code(moment, "statusCode", at)  # absent: the subscription lacks resultv2
    sent_at, scanned_text, scanned_at = shanghai_time(moment, "ftime" if moment.get("ftime") else "time", push.latest, at)
    site_name = site_of(moment, "context", at, last=code in SITE_IS_LAST, by_station=code in BY_STATION)
    return Item(
        index=index,
        brand=brand,
        waybill_no=waybill(result, "nu", "/lastResult"),
        raw_action=code,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=None,
        site_name=site_name,
        action=reading(code),
        mapping_version=MAPPING_VERSION,
        identity=(code, sent_at, None, site_name),
    )


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    stored = outcome is Outcome.STORED
    code = {Outcome.STORED: "200", Outcome.FAILED: "500", Outcome.RETRY: "503"}[outcome]
    return json_ack(outcome, {"result": stored, "returnCode": code, "message": message})


def sign(payload: Any, secret: bytes) -> Wire:
    param = dumps(payload)
    return Wire(urlencode({"param": param, "sign": md5_hex_upper(param, secret)}).encode(), FORM)
