"""ZTO 中通, 轨迹推送 (`msg_type=Traces`): a form with one scan a push (domain facts §1.1, §1.5).

`data` is a JSON text, `data_digest` = B64(MD5raw(data + appSecret)) over exactly that text. Station events (INBOUND,
HANDOVERSCAN_SIGNED, DEPARTURE_SIGNED) carry no `facilityCode`: their station is a name. Of the document only code, time, facility
and waybill number are read; couriers, signers, phones and addresses stay in the encrypted inbox.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Wire
from services.ingest.brands.wire import FORM, decode_json, dumps, json_ack, matches_any, md5_base64, put_right
from services.ingest.domain.items import Item, Unreadable
from services.ingest.domain.native import Document, action_of, code, permitted, place, read_each, required_code, shanghai_time, waybill
from shared.contracts.scan import Action

NAME = "中通 ZTO"
BRAND = "zto"
BRANDS: Sequence[str] = (BRAND,)
SCHEMES: Sequence[str] = ("digest",)
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "GOT": Action.PICKED_UP,
    "DEPARTURE": Action.DEPARTED,
    "ARRIVAL": Action.ARRIVED,
    "DISPATCH": Action.OUT_FOR_DELIVERY,
    "INBOUND": Action.STATION_INBOUND,
    "HANDOVERSCAN_SIGNED": Action.STATION_INBOUND,  # 快件已投递【店】: the station's own receipt, nobody has collected it
    "DEPARTURE_SIGNED": Action.STATION_PICKUP,  # 签收人凭取货码签收
    "SIGNED": Action.SIGNED,
    "RETURN_SCAN": Action.RETURNING,
    "RETURN_SIGNED": Action.RETURNED,
    "PROBLEM": Action.DELIVERY_FAILED,
}
# RETURN_SCAN is a return or a mere re-addressing; `returnType` or, where that is empty, `returnUpdateType` tells which. Their values
# are not published: these words say re-addressing, everything else is read as a return, which refuses money until somebody looks.
READDRESSING = frozenset({"改地址", "改地址件", "修改地址", "改址", "改派", "READDRESS", "CHANGE_ADDRESS"})

SAMPLE: dict[str, Any] = {
    "billCode": "73100196611386",
    "action": "INBOUND",
    "actionTime": "2023-07-14 09:12:03",
    "facilityName": "上王村便民服务点",
    "city": "运城市",
    "desc": "快件已被【上王村便民服务点】代收",
    "comName": "兔喜生活",
    "comCode": "1022",
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def signed(push: RawPush) -> tuple[bytes, str]:
    return push.field_bytes("data"), put_right(push.field_bytes("data_digest"))


def digest(text: bytes, secret: bytes) -> str:
    return md5_base64(text, secret)


def document(push: RawPush) -> Any:
    return decode_json(push.field("data"))


def reading(raw: str) -> Action:
    """`RETURN_SCAN/改地址`: what was sent, and by which word we tell what it means."""
    code_, _, kind = raw.partition("/")
    return Action.DEPARTED if code_ == "RETURN_SCAN" and kind in READDRESSING else action_of(code_, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    def scan(index: int, document: Document, at: str) -> Item:
        return _item(push, index, document)

    return read_each([document(push)], [""], scan)


def _item(push: RawPush, index: int, document: Document) -> Item:
    permitted(BRAND, push.feed.brands, "")
    raw = required_code(document, "action")
    if raw == "RETURN_SCAN":
        kind = code(document, "returnType") or code(document, "returnUpdateType")
        raw = f"{raw}/{kind}" if kind else raw  # part of what was sent, since our reading rests on it
    sent_at, scanned_text, scanned_at = shanghai_time(document, "actionTime", push.latest)
    site_code, site_name = code(document, "facilityCode"), place(document, "facilityName")
    return Item(
        index=index,
        brand=BRAND,
        waybill_no=waybill(document, "billCode"),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=site_code,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(raw, sent_at, site_code, site_name),
    )


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    stored = outcome is Outcome.STORED
    code = {Outcome.STORED: "SYS000", Outcome.FAILED: "FAILED", Outcome.RETRY: "RETRY"}[outcome]
    return json_ack(outcome, {"status": stored, "statusCode": code, "message": message, "result": None})


def sign(payload: Any, secret: bytes) -> Wire:
    data = dumps(payload)
    fields = {"data": data, "data_digest": digest(data, secret), "company_id": "tongcun", "msg_type": "Traces"}
    return Wire(urlencode(fields).encode(), FORM)
