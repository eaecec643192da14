"""Yunda 韵达: how it signs its pushes is not public; what is, is read (domain facts §1.1, §1.6; the open platform's page of the query).

Either the open platform's envelope, `{"data": "<JSON text of one scan>", "appKey": …, "sign": …}` with `sign` =
md5hex(data + "_" + secret), or its query's shape, `{"mailno": …, "steps": […]}` (also under `data`), with the header `sign` =
md5hex(body + "_" + secret); or either of them unsigned at the feed's secret address. A feed's `signature` fixes which. Numbers stand where
others have texts (`mailno`, `station`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.wire import JSON, bounded, decode_json, dumps, json_ack, matches_any, md5_hex
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

NAME = "韵达 Yunda"
BRAND = "yunda"
BRANDS: Sequence[str] = (BRAND,)
SCHEMES: Sequence[str] = ("digest", "token")
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "ACCEPT": Action.PICKED_UP,
    "GOT": Action.PICKED_UP,
    "ARRIVAL": Action.ARRIVED,
    "DEPARTURE": Action.DEPARTED,
    "SENT": Action.OUT_FOR_DELIVERY,
    "INBOUND": Action.STATION_INBOUND,  # 第三方代收入库
    "OUTBOUND": Action.TAKEN_BACK,  # 第三方代收快递员取出: by the courier, not by the villager
    "SIGNED": Action.SIGNED,
    "SIGNFAIL": Action.DELIVERY_FAILED,
    "ISSUE": Action.DELIVERY_FAILED,
    "REJECTION": Action.REFUSED,
    "RETURN": Action.RETURNING,
    "TRANSFER": Action.TRANSFERRED,
}

SAMPLE: dict[str, Any] = {
    "time": "2023-07-14 09:12:03",
    "city": "运城市",
    "orderid": "TC-20230714-1",
    "mailno": 430000000000001,
    "action": "INBOUND",
    "station": 43100200,
    "station_name": "上王村便民服务点",
    "description": "快件已存放至上王村便民服务点",
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def signed(push: RawPush) -> tuple[bytes, str]:
    text, given = (push.body, push.headers["sign"]) if "sign" in push.headers else _envelope(push)
    return text, given.lower()


def digest(text: bytes, secret: bytes) -> str:
    return md5_hex(text + b"_" + secret)


def _envelope(push: RawPush) -> tuple[bytes, str]:
    """(what was signed, its signature)"""
    match decode_json(push.body):
        case {"data": str(data), "sign": str(sign)}:
            return _bytes(data), sign
    raise BadSignature


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise Unparseable("json.invalid") from None


def document(push: RawPush) -> Any:
    told = decode_json(push.body)
    for _ in range(2):  # an envelope, or a text in it
        data = told.get("data") if isinstance(told, dict) else None
        if isinstance(data, str):
            told = decode_json(_bytes(data))
        elif isinstance(data, dict):
            told = data
    return told


def reading(raw: str) -> Action:
    return action_of(raw, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    told = document(push)
    if not isinstance(told, dict):
        raise Unparseable("json.not_an_object")
    steps, at = ([told], "") if "steps" not in told else (told["steps"], "/steps")
    if not isinstance(steps, list):
        raise Unparseable("json.no_steps")

    def scan(index: int, step: Document, pointer: str) -> Item:
        return _item(push, index, words_for_numbers(told), words_for_numbers(step), pointer)

    return read_each(bounded(steps), [f"{at}/{i}" if at else "" for i in range(len(steps))], scan)


def _item(push: RawPush, index: int, document: Document, step: Document, at: str) -> Item:
    raw = required_code(step, "action", at)
    sent_at, scanned_text, scanned_at = shanghai_time(step, "time", push.latest, at)
    site_code, site_name = code(step, "station", at), place(step, "station_name", at)
    return Item(
        index=index,
        brand=permitted(BRAND, push.feed.brands, at),
        waybill_no=waybill(document, "mailno"),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=site_code,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(raw, sent_at, site_code, site_name),
        order_no=code(document, "orderid"),
    )


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    stored = outcome is Outcome.STORED
    code_ = {Outcome.STORED: "200", Outcome.FAILED: "500", Outcome.RETRY: "503"}[outcome]
    return json_ack(outcome, {"result": "true" if stored else "false", "code": code_, "remark": "" if stored else message, "data": ""})


def sign(payload: Any, secret: bytes) -> Wire:
    data = dumps(payload)
    return Wire(dumps({"data": data.decode(), "appKey": "tongcun", "sign": digest(data, secret)}), JSON)
