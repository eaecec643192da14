"""Kdniao 快递鸟, 轨迹推送 101 and 102: a form whose `RequestData` holds whole histories, oldest first (domain facts §1.1, §1.9).

`DataSign` = B64(md5hex(RequestData + AppKey)): Base64 of the hex text, not of the digest. The code of a scan is its `Action`, which the
basic push leaves out: such a scan is quarantined. The site is the text in 【】 of `AcceptStation`; for 211 and 311 it may stand behind 由.
Times also come as `2023/07/14 09:12:03`, without the space, and with a three-digit second that begins with 0.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.brackets import site_of
from services.ingest.brands.wire import FORM, bounded, decode_json, dumps, json_ack, matches_any, md5_hex, put_right
from services.ingest.domain.items import MAX_CODE, Flaw, Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    brand_of,
    code,
    read_each,
    required,
    required_code,
    shanghai_time,
    waybill,
    words_for_numbers,
)
from shared.calendar import SHANGHAI
from shared.contracts.scan import Action

NAME = "快递鸟 Kdniao"
SCHEMES: Sequence[str] = ("digest", "token")
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "1": Action.PICKED_UP,
    "2": Action.ARRIVED,
    "204": Action.ARRIVED,
    "201": Action.ARRIVED,
    "205": Action.ARRIVED,
    "206": Action.DEPARTED,
    "202": Action.OUT_FOR_DELIVERY,
    "419": Action.OUT_FOR_DELIVERY,  # 重派
    "211": Action.STATION_INBOUND,
    "412": Action.STATION_INBOUND,  # 超时未取: it still lies there
    "311": Action.STATION_INBOUND,  # published as signed by the station and as taken out of it: of the two the one that claims less
    "3": Action.SIGNED,
    "301": Action.SIGNED,
    "302": Action.SIGNED,
    "304": Action.SIGNED_BY_AGENT,
    "418": Action.TAKEN_BACK,
    "4": Action.DELIVERY_FAILED,
    "405": Action.DELIVERY_FAILED,
    "416": Action.DELIVERY_FAILED,
    "423": Action.DELIVERY_FAILED,  # 超区件
    "404": Action.REFUSED,
    "407": Action.RETURNING,
    "413": Action.RETURNING,  # 拦截
    "406": Action.RETURNED,
    "5": Action.TRANSFERRED,
}
SITE_IS_LAST = frozenset({"211", "301", "304", "311", "412"})
BY_STATION = frozenset({"211", "311"})
CARRIERS: Mapping[str, str] = {
    "SF": "sf",
    "ZTO": "zto",
    "STO": "sto",
    "YTO": "yto",
    "YD": "yunda",
    "JTSD": "jt",
    "JD": "jd",
    "EMS": "ems",
    "YZPY": "chinapost",
    "CNEX": "cainiao",
}
BRANDS: Sequence[str] = tuple(sorted(set(CARRIERS.values())))
_TIME = re.compile(r"([0-9]{4})[-/]([0-9]{2})[-/]([0-9]{2}) ?([0-9]{2}:[0-9]{2}):0?([0-9]{2})\Z")

SAMPLE: dict[str, Any] = {
    "EBusinessID": "1237100",
    "PushTime": "2023-07-14 09:12:04",
    "Count": "1",
    "Data": [
        {
            "EBusinessID": "1237100",
            "OrderCode": "TC-20230714-1",
            "ShipperCode": "ZTO",
            "LogisticCode": "73100196611386",
            "Success": True,
            "Reason": "",
            "State": "2",
            "StateEx": "211",
            "Location": "运城市",
            "Traces": [
                {
                    "AcceptTime": "2023-07-14 06:40:11",
                    "AcceptStation": "【运城市】快件已到达【垣曲县统仓共配中心】",
                    "Location": "运城市",
                    "Action": "204",
                },
                {
                    "AcceptTime": "2023/07/14 09:12:03",
                    "AcceptStation": "【运城市】快件已存放至【上王村便民服务点】",
                    "Location": "运城市",
                    "Action": "211",
                },
            ],
        }
    ],
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def signed(push: RawPush) -> tuple[bytes, str]:
    return push.field_bytes("RequestData"), put_right(push.form.get("DataSign", b""))


def digest(text: bytes, secret: bytes) -> str:
    return b64encode(md5_hex(text + secret).encode()).decode()


def document(push: RawPush) -> Any:
    return decode_json(push.field("RequestData"))


def reading(raw: str) -> Action:
    return action_of(raw, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    told = document(push)
    parcels = told.get("Data") if isinstance(told, dict) else None
    if not isinstance(parcels, list):
        raise Unparseable("json.no_data")
    scans = bounded([scan for i, parcel in enumerate(parcels) for scan in _scans(parcel, f"/Data/{i}")])

    def scan(index: int, both: Document, at: str) -> Item:
        if both["trace"] is None:  # the parcel itself cannot be read
            raise Flaw("item.type", at)
        return _item(push, index, both["parcel"], words_for_numbers(both["trace"]), at)

    return read_each([both for both, _ in scans], [at for _, at in scans], scan)


def _scans(parcel: Any, at: str) -> list[tuple[dict[str, Any], str]]:
    """Each scan with its parcel; a number without a history (`Success` false) has none."""
    traces = (parcel.get("Traces") or []) if isinstance(parcel, dict) else None
    if not isinstance(traces, list):
        return [({"parcel": parcel, "trace": None}, at)]
    return [({"parcel": parcel, "trace": trace if isinstance(trace, dict) else None}, f"{at}/Traces/{i}") for i, trace in enumerate(traces)]


def _item(push: RawPush, index: int, parcel: Document, trace: Document, at: str) -> Item:
    of_parcel = at.partition("/Traces")[0]
    shipper = required(parcel, "ShipperCode", of_parcel, MAX_CODE)
    raw = required_code(trace, "Action", at)
    sent_at, scanned_text, scanned_at = shanghai_time(trace, "AcceptTime", push.latest, at, tidy=_tidy)
    site_name = site_of(trace, "AcceptStation", at, last=raw in SITE_IS_LAST, by_station=raw in BY_STATION)
    return Item(
        index=index,
        brand=brand_of(shipper, CARRIERS, push.feed.brands, f"{of_parcel}/ShipperCode"),
        waybill_no=waybill(parcel, "LogisticCode", of_parcel),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=None,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(raw, sent_at, None, site_name),
        order_no=code(parcel, "OrderCode", of_parcel),
    )


def _tidy(told: str) -> str:
    return _TIME.sub(r"\1-\2-\3 \4:\5", told)


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    stored = outcome is Outcome.STORED
    answer = {
        "EBusinessID": _business(push),
        "UpdateTime": push.received_at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S"),
        "Success": stored,
        "Reason": "" if stored else message,
    }
    return json_ack(outcome, answer)


def _business(push: RawPush) -> str:
    """The sender's own number, given back as it came."""
    try:
        told = document(push)
    except Unparseable:
        return ""
    number = told.get("EBusinessID") if isinstance(told, dict) else None
    return number if isinstance(number, str) and len(number) <= MAX_CODE and number.isprintable() else ""


def sign(payload: Any, secret: bytes) -> Wire:
    data = dumps(payload)
    return Wire(urlencode({"RequestData": data, "RequestType": "102", "DataSign": digest(data, secret)}).encode(), FORM)
