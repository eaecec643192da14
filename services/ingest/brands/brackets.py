"""Which place a line of a parcel's history names: the text in 【】, and no person.

1. a leading 【…】 that ends in 省 市 州 盟 地区 县 区 旗 is the city, never the site;
2. a 【…】 is a place only if it ends as places do (PLACE_WORDS, NEAR, FAR: 店 站 点 中心 公司 …, perhaps with a number or a bracket
   behind it): carriers put the names of couriers and addressees in 【】, too, and what may be one is left inside;
3. a place that follows a word for a person (签收人, 快递员 …; also 由, unless `by_station`: 由【…】 is then the station) or that holds a
   telephone number is somebody all the same;
4. of what is left the last one if `last`, else the first one. None left: the line names no place.
"""

import re
from typing import Any

from services.ingest.domain.items import MAX_TEXT, Flaw
from services.ingest.domain.native import Document, clean
from shared.personal import is_personal

MAX_LINE = 2000
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


def site_of(document: Document, field: str, at: str = "", *, last: bool = False, by_station: bool = False) -> str | None:
    """The place that the text in `field` names. The text itself never leaves the inbox: only its type and length are checked."""
    line: Any = document.get(field) or ""
    if not isinstance(line, str):
        raise Flaw("field.type", f"{at}/{field}")
    if len(line) > MAX_LINE:
        raise Flaw("field.too_long", f"{at}/{field}")
    name = site_in(line, last=last, by_station=by_station)
    return clean(name, f"{at}/{field}", MAX_TEXT) if name else None


def site_in(line: str, *, last: bool = False, by_station: bool = False) -> str | None:
    """The rule that stands at the top of this file."""
    city = _CITY.match(line)
    found = [(match.start(), match[1].strip()) for match in _BRACKETS.finditer(line, city.end() if city else 0)]
    places = [name for start, name in found if _PLACE.search(name) and not _somebody(line, start, name, by_station)]
    if not places:
        return None
    return places[-1] if last else places[0]


def _somebody(line: str, start: int, name: str, by_station: bool) -> bool:
    near = max(0, start - PERSON_WITHIN)
    by_person = not by_station and _BY.search(line, near, start)
    return bool(by_person or _TELEPHONE.search(name) or is_personal(name) or _PERSON.search(line, near, start))
