"""Kuaidi100 快递100, 订阅推送 with `resultv2`: a form whose `param` is the parcel's whole history, newest first (domain facts §1.9).

`sign` = MD5hex(param + salt), upper case, compared in any case; a subscription without salt pushes to the feed's secret address.

The site is the text in 【】 of `context`:
  1. a leading 【…】 that ends in 省 市 州 盟 地区 县 区 旗 is the city, never the site;
  2. a 【…】 is a place only if it ends as places do (PLACE_WORDS, NEAR, FAR: 店 站 点 中心 公司 …, perhaps with a number or a bracket
     behind it): carriers put the names of couriers and addressees in 【】, too, and what may be one is left inside;
  3. a place that follows a word for a person (签收人, 快递员 …; also 由, unless the code is 304 or 501, whose 由【…】 is a station) or that
     holds a telephone number is somebody all the same;
  4. of what is left the last one for 301, 303, 304 and 501, else the first one. None left: the scan names no place.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from services.ingest.brands.base import (
    Ack,
    BadSignature,
    Outcome,
    RawPush,
    Unparseable,
    Wire,
    bounded,
    decode_json,
    dumps,
    matches_any,
    md5_hex_upper,
    status_of,
)
from services.ingest.domain.items import MAX_CODE, MAX_TEXT, Flaw, Item, Unreadable
from services.ingest.domain.native import (
    Document,
    action_of,
    brand_of,
    clean,
    optional,
    read_each,
    required,
    required_code,
    shanghai_time,
    waybill,
)
from shared.contracts.scan import Action
from shared.personal import is_personal

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
MAX_CONTEXT = 2000
PERSON_WITHIN = 8  # characters before a 【 that are looked at

# How names of places end. A single character counts behind three others (王满仓, 李建社 and 张金库 are people), those of NEAR behind two.
PLACE_WORDS = (
    "中心", "公司", "网点", "驿站", "超市", "仓库", "云仓", "小区", "社区", "园区", "校区", "新区", "开发区", "街道", "大厦", "广场",
    "市场", "农场", "医院", "学院", "花园", "家园", "公寓", "合作社", "供销社", "便利", "驿家", "菜鸟", "丰巢", "兔喜", "邮政",
)  # fmt: skip
NEAR = "店站柜村镇乡"
FAR = "点部仓库处社所局厂校室铺庄市县"

_WORD = "(?:" + "|".join(PLACE_WORDS) + ")"
_NUMBER = "[0-9０-９一二三四五六七八九十]{1,3}"
_BEHIND = rf"(?:{_NUMBER}[号部]?)?(?:[(（](?:{_NUMBER}[号部]?|[^()（）]{{2,}}[{NEAR}部]|[^()（）]*{_WORD})[)）])?\Z"
_PLACE = re.compile(rf"(?:(?<=.){_WORD}|(?<=..)[{NEAR}]|(?<=...)[{FAR}]){_BEHIND}")
_BRACKETS = re.compile(r"【([^【】]*)】")
_CITY = re.compile(r"\s*【[^【】]*(?:[省市州盟县区旗]|地区)】")
_PERSON = re.compile(r"(?:签收人|收件人|代签人|派件员|业务员|快递员|投递员|揽投员|小哥|联系人)\s*[:：是为]?\s*\Z")
_BY = re.compile(r"由\s*\Z")
_TELEPHONE = re.compile(r"\d{7}")

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
    param = push.field("param").encode()
    if push.token is not None:
        if not matches_any(push.token, [secret.decode() for secret in secrets]):
            raise BadSignature
        return "token"
    given = push.form.get("sign", "").upper()
    if not matches_any(given, [md5_hex_upper(param, secret) for secret in secrets]):
        raise BadSignature
    return "digest"


def parse(push: RawPush) -> list[Item | Unreadable]:
    document = decode_json(push.field("param"))
    if not isinstance(document, dict):
        raise Unparseable("json.not_an_object")
    result = {} if document.get("lastResult") is None else document["lastResult"]
    data = result.get("data") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(data, list | None):
        raise Unparseable("json.no_last_result")
    if not data:
        return _without_history(document, result)
    moments = bounded(data)

    def scan(index: int, moment: Document, at: str) -> Item:
        _same_carrier(document, result)
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
    site_name = site_in(_context(moment, at), code)
    if site_name:
        clean(site_name, f"{at}/context", MAX_TEXT)
    return Item(
        index=index,
        brand=brand,
        waybill_no=waybill(result, "nu", "/lastResult"),
        raw_action=code,
        scanned_at=scanned_at,
        scanned_text=scanned_text,
        site_code=None,
        site_name=site_name,
        action=action_of(code, CODES),
        mapping_version=MAPPING_VERSION,
        identity=(code, sent_at, None, site_name),
    )


def _context(moment: Document, at: str) -> str:
    """The free text, unchecked but for its type and length: it never leaves the inbox, only a site found in it does."""
    text = moment.get("context") or ""
    if not isinstance(text, str):
        raise Flaw("field.type", f"{at}/context")
    if len(text) > MAX_CONTEXT:
        raise Flaw("field.too_long", f"{at}/context")
    return text


def site_in(context: str, code: str) -> str | None:
    """The place that a line of history names; the rule stands at the top of this file."""
    city = _CITY.match(context)
    found = [(match.start(), match[1].strip()) for match in _BRACKETS.finditer(context, city.end() if city else 0)]
    places = [name for start, name in found if _PLACE.search(name) and not _somebody(context, start, name, code)]
    if not places:
        return None
    return places[-1] if code in SITE_IS_LAST else places[0]


def _somebody(context: str, start: int, name: str, code: str) -> bool:
    near = max(0, start - PERSON_WITHIN)
    by_person = code not in BY_STATION and _BY.search(context, near, start)
    return bool(by_person or _TELEPHONE.search(name) or is_personal(name) or _PERSON.search(context, near, start))


def acknowledge(outcome: Outcome, message: str) -> Ack:
    stored = outcome is Outcome.STORED
    code = {Outcome.STORED: "200", Outcome.FAILED: "500", Outcome.RETRY: "503"}[outcome]
    return Ack(status_of(outcome), "application/json", dumps({"result": stored, "returnCode": code, "message": message}))


def sign(payload: Any, secret: bytes) -> Wire:
    param = dumps(payload)
    return Wire(urlencode({"param": param, "sign": md5_hex_upper(param, secret)}).encode(), "application/x-www-form-urlencoded")
