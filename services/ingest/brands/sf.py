"""SF 顺丰, 路由推送: JSON `{"Body": {"WaybillRoute": […]}}`, or the older XML `RoutePushService` (domain facts §1.1, §1.4).

Neither is signed: the feed's secret is the last part of the address. `id` names a node of the route and is the event's identity. The XML's
answer names node by node what was read (`id`) and what was not (`id_error`), which SF sends again. The site is the text in 【】 of
`remark`: `acceptAddress` is the city. Codes marked *unconfirmed* have one public source, or several that contradict each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from services.ingest.brands.base import Ack, BadSignature, Outcome, RawPush, Unparseable, Wire
from services.ingest.brands.brackets import site_of
from services.ingest.brands.wire import JSON, bounded, decode_json, decode_xml, dumps, json_ack, status_of, xml_bytes
from services.ingest.domain.items import MAX_CODE, Item, Unreadable
from services.ingest.domain.native import Document, action_of, code, optional, permitted, read_each, required_code, shanghai_time, waybill
from shared.contracts.scan import Action

NAME = "顺丰 SF"
BRAND = "sf"
BRANDS: Sequence[str] = (BRAND,)
SCHEMES: Sequence[str] = ("token",)
MAPPING_VERSION = 1
CODES: Mapping[str, Action] = {
    "50": Action.PICKED_UP,
    "54": Action.PICKED_UP,
    "30": Action.DEPARTED,
    "36": Action.DEPARTED,
    "3036": Action.DEPARTED,
    "105": Action.DEPARTED,
    "407": Action.DEPARTED,
    "501": Action.DEPARTED,
    "123": Action.DEPARTED,  # in transit, unconfirmed
    "31": Action.ARRIVED,
    "310": Action.ARRIVED,
    "106": Action.ARRIVED,
    "130": Action.ARRIVED,
    "44": Action.OUT_FOR_DELIVERY,
    "204": Action.OUT_FOR_DELIVERY,
    "125": Action.STATION_INBOUND,  # 投放快递柜、驿站、便利店: this and the next five are unconfirmed
    "126": Action.STATION_PICKUP,
    "127": Action.STATION_INBOUND,
    "128": Action.STATION_PICKUP,
    "657": Action.STATION_INBOUND,
    "658": Action.STATION_PICKUP,
    "80": Action.SIGNED,
    "8000": Action.SIGNED,
    "33": Action.DELIVERY_FAILED,  # unconfirmed
    "70": Action.DELIVERY_FAILED,  # unconfirmed
    "99": Action.RETURNING,  # unconfirmed
    "648": Action.RETURNING,
    "631": Action.RETURNED,
}
SERVICE = "RoutePushService"

SAMPLE: dict[str, Any] = {
    "Body": {
        "WaybillRoute": [
            {
                "mailno": "SF1023071400001",
                "acceptAddress": "运城市",
                "reasonName": "",
                "orderid": "TC-20230714-1",
                "acceptTime": "2023-07-14 06:40:11",
                "remark": "快件到达【垣曲县统仓共配中心】",
                "opCode": "31",
                "id": "168930001100001",
                "reasonCode": "",
            },
            {
                "mailno": "SF1023071400001",
                "acceptAddress": "运城市",
                "reasonName": "",
                "orderid": "TC-20230714-1",
                "acceptTime": "2023-07-14 09:12:03",
                "remark": "快件已投放至【上王村便民服务点】",
                "opCode": "125",
                "id": "168930001100002",
                "reasonCode": "",
            },
        ]
    }
}


def verify(push: RawPush, secrets: Sequence[bytes]) -> str:
    raise BadSignature  # nothing in the body is signed: only the secret address tells who it is


def reading(raw: str) -> Action:
    return action_of(raw, CODES)


def parse(push: RawPush) -> list[Item | Unreadable]:
    routes = document(push)

    def scan(index: int, route: Document, at: str) -> Item:
        return _item(push, index, route, at)

    return read_each(routes, [f"/Body/WaybillRoute/{i}" for i in range(len(routes))], scan)


def _is_xml(push: RawPush) -> bool:
    return "json" not in push.content_type and not push.body.lstrip().startswith(b"{")


def document(push: RawPush) -> list[Any]:
    """The nodes of the route, whichever way they came."""
    if _is_xml(push):
        content = push.text(push.body, gbk=True) if push.body.lstrip().startswith(b"<") else push.field("content", gbk=True)
        root = decode_xml(content)
        if root.tag != "Request" or root.get("service") != SERVICE:
            raise Unparseable("xml.no_route_push")
        return bounded([dict(route.attrib) for route in root.iterfind("Body/WaybillRoute")])
    told = decode_json(push.body)
    body = told.get("Body") if isinstance(told, dict) else None
    routes = body.get("WaybillRoute") if isinstance(body, dict) else None
    if not isinstance(routes, list):
        raise Unparseable("json.no_waybill_route")
    return bounded(routes)


def _item(push: RawPush, index: int, route: Document, at: str) -> Item:
    raw = required_code(route, "opCode", at)
    sent_at, scanned_text, scanned_at = shanghai_time(route, "acceptTime", push.latest, at)
    node = optional(route, "id", at, MAX_CODE)
    site_name = site_of(route, "remark", at)
    return Item(
        index=index,
        brand=permitted(BRAND, push.feed.brands, at),
        waybill_no=waybill(route, "mailno", at),
        raw_action=raw,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=None,
        site_name=site_name,
        action=reading(raw),
        mapping_version=MAPPING_VERSION,
        identity=(node,) if node else (raw, sent_at, None, site_name),
        order_no=code(route, "orderid", at),
    )


def acknowledge(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
    if _is_xml(push):
        return Ack(status_of(outcome), "application/xml", _xml_ack(push, outcome, message, unread))
    stored = outcome is Outcome.STORED
    return json_ack(outcome, {"return_code": "0000" if stored else "1000", "return_msg": message})


def _xml_ack(push: RawPush, outcome: Outcome, message: str, unread: Sequence[int]) -> bytes:
    response = Element("Response", service=SERVICE)
    if outcome is not Outcome.STORED:
        SubElement(response, "Head").text = "ERR"
        SubElement(response, "ERROR", code="4001").text = message
        return xml_bytes(response)
    SubElement(response, "Head").text = "OK"
    if unread:
        nodes = [str(route.get("id") or "") for route in document(push)]
        failed = set(unread)
        told = {"id": [n for i, n in enumerate(nodes) if i not in failed], "id_error": [n for i, n in enumerate(nodes) if i in failed]}
        SubElement(SubElement(response, "Body"), "WaybillRouteResponse", {name: ",".join(ids) for name, ids in told.items()})
    return xml_bytes(response)


def sign(payload: Any, secret: bytes) -> Wire:
    return Wire(dumps(payload), JSON, token=secret.decode())
