"""JD 京东物流, 轨迹回传: a flat JSON object, one node of the route (domain facts §1.1, §1.8).

How JD signs its pushes is not public: as it signs its own API (algorithm md5-salt, everything but the body in the query), or unsigned at
the feed's secret address; a feed's `signature` fixes which. `sign` = MD5HEX(secret + "access_token" + … + "app_key" + … + "method" + … +
"param_json" + body + "timestamp" + … + "v" + … + secret).

200020 换单: the way back has a number of its own, which stands in `operationRemark` (JDVC…). Both parcels get the event: the one whose
number it was, and the new one, as `returning`, so that its delivery inside the county is paid to nobody; each names the other behind the
code, and both carry the order's number.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Wire
from services.ingest.brands.wire import JSON, decode_json, dumps, json_ack, matches_any, md5_hex
from services.ingest.domain.items import Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    code,
    free_text,
    permitted,
    place,
    read_each,
    required_code,
    shanghai_time,
    waybill,
    words_for_numbers,
)
from shared.contracts.scan import Action

NAME = "京东 JD"
BRAND = "jd"
BRANDS: Sequence[str] = (BRAND,)
SCHEMES: Sequence[str] = ("digest", "token")
MAPPING_VERSION = 1
RENUMBERED = "200020"
CODES: Mapping[str, Action] = {
    "200001": Action.PICKED_UP,
    "10054": Action.DEPARTED,
    "200019": Action.DEPARTED,
    "200017": Action.ARRIVED,
    "10033": Action.ARRIVED,
    "200075": Action.ARRIVED,
    "200050": Action.ARRIVED,  # 订单入站: the delivery station of the carrier, not yet a shelf
    "11000": Action.OUT_FOR_DELIVERY,
    "200051": Action.STATION_INBOUND,  # 自提上架
    "200057": Action.STATION_INBOUND,  # 便民点收货
    "10034": Action.SIGNED,
    "200003": Action.DELIVERY_FAILED,
    "200023": Action.DELIVERY_FAILED,
    "200031": Action.DELIVERY_FAILED,
    "10035": Action.REFUSED,
    "200033": Action.RETURNING,
    RENUMBERED: Action.RETURNING,
    "200040": Action.TRANSFERRED,
}
_RETURN = re.compile(r"JDVC[0-9]{11}(?![0-9])")
_SIGNED = ("access_token", "app_key", "method", "param_json", "timestamp", "v")

SAMPLE: dict[str, Any] = {
    "waybillCode": "JDVA02307140001",
    "orderId": "TC-20230714-1",
    "state": "200057",
    "category": 440,
    "categoryName": "派送中",
    "operationTitle": "便民点收货",
    "operationTime": "2023-07-14 09:12:03",
    "operationRemark": "您的快件已到达上王村便民服务点",
    "operateSite": "上王村便民服务点",
    "operateSiteId": "100200",
    "routeCityName": "运城市",
    "routeDistrictName": "垣曲县",
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    text, given = signed(push)
    if not matches_any(given, [digest(text, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def signed(push: RawPush) -> tuple[bytes, str]:
    return _named(push.query, push.body), push.query.get("sign", "").upper()


def digest(text: bytes, secret: bytes) -> str:
    return md5_hex(secret + text + secret).upper()


def _named(query: Mapping[str, str], body: bytes) -> bytes:
    named = {name: query.get(name, "").encode(errors="replace") for name in _SIGNED} | {"param_json": body}
    return b"".join(name.encode() + value for name, value in named.items())


def document(push: RawPush) -> Any:
    return decode_json(push.body)


def reading(raw: str) -> Action:
    return action_of(raw.partition("/")[0], CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    def scan(index: int, document: Document, at: str) -> Item:
        return _item(push, index, words_for_numbers(document))

    return [told for item in read_each([document(push)], [""], scan) for told in _with_new_number(push, item)]


def _item(push: RawPush, index: int, document: Document) -> Item:
    raw = required_code(document, "state")
    sent_at, scanned_text, scanned_at = shanghai_time(document, "operationTime", push.latest)
    site_code, site_name = code(document, "operateSiteId"), place(document, "operateSite")
    new_number = _RETURN.search(free_text(document, "operationRemark")) if raw == RENUMBERED else None
    named = f"{raw}/{new_number[0]}" if new_number else raw
    return Item(
        index=index,
        brand=permitted(BRAND, push.feed.brands, ""),
        waybill_no=waybill(document, "waybillCode"),
        raw_action=named,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=site_code,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(named, sent_at, site_code, site_name),
        order_no=code(document, "orderId"),
    )


def _with_new_number(push: RawPush, item: Item | Unreadable) -> Iterator[Item | Unreadable]:
    yield item
    if isinstance(item, Item) and item.raw_action.startswith(f"{RENUMBERED}/"):
        number, named = item.raw_action.partition("/")[2], f"{RENUMBERED}/{item.waybill_no}"
        if number != item.waybill_no:
            yield replace(item, index=item.index + 1, waybill_no=number, raw_action=named, identity=(named, *item.identity[1:]))


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    if outcome is Outcome.STORED:
        return json_ack(outcome, {"code": "200"})
    return json_ack(outcome, {"code": {Outcome.FAILED: "500", Outcome.RETRY: "503"}[outcome], "msg": message})


def sign(payload: Any, secret: bytes) -> Wire:
    body = dumps(payload)
    query = {
        "LOP-DN": "tongcun",
        "access_token": "tongcun",
        "app_key": "tongcun",
        "method": "/tongcun/trace",
        "timestamp": "2023-07-14 09:12:04",
        "v": "2.0",
        "algorithm": "md5-salt",
    }
    return Wire(body, JSON, query=urlencode(query | {"sign": digest(_named(query, body), secret)}))
