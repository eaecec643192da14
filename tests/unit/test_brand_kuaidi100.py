"""Kuaidi100's format: signature or token; its codes; the site that a line of text names, and no person."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from services.ingest.brands import kuaidi100
from services.ingest.brands.base import BadSignature, Unparseable
from services.ingest.brands.brackets import site_in
from services.ingest.brands.wire import md5_hex_upper
from services.ingest.domain.items import Item
from services.ingest.service import authenticate
from shared.contracts.scan import Action
from tests.unit.brand_pushes import SECRET, parsed, pushed, the_flaw, the_item


def test_kuaidi100_sign_is_compared_in_any_case_and_a_token_stands_in_for_it() -> None:
    param = '{"status":"polling"}'
    sign = md5_hex_upper(param.encode(), SECRET)
    for given in (sign, sign.lower()):
        assert kuaidi100.verify(pushed("kuaidi100", urlencode({"param": param, "sign": given}).encode()), [SECRET]) == "digest"
    unsigned = urlencode({"param": param}).encode()
    secrets = [b"x", SECRET]
    assert authenticate(kuaidi100, pushed("kuaidi100", unsigned, token=SECRET.decode(), secrets=secrets)) == "token"
    for wrong in (pushed("kuaidi100", unsigned, secrets=secrets), pushed("kuaidi100", unsigned, token="guess", secrets=secrets)):
        with pytest.raises(BadSignature):
            authenticate(kuaidi100, wrong)


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("0", "arrived"), ("1001", "arrived"), ("1002", "departed"), ("1003", "departed"), ("1", "picked_up"), ("103", "picked_up"),
        ("5", "out_for_delivery"), ("501", "station_inbound"), ("304", "station_inbound"), ("3", "signed"), ("301", "signed"),
        ("302", "signed"), ("303", "signed_by_agent"), ("2", "delivery_failed"), ("14", "refused"), ("6", "returning"), ("4", "returned"),
        ("7", "transferred"), ("101", "unknown"), ("12", "unknown"), ("99999", "unknown"),
    ],
)  # fmt: skip
def test_kuaidi100_codes(code: str, action: str) -> None:
    assert kuaidi100.CODES.get(code, Action.UNKNOWN) == action


@pytest.mark.parametrize(
    ("code", "context", "site"),
    [
        ("501", "【运城市】快件已暂存至【上王村便民服务点】，请凭取件码领取", "上王村便民服务点"),
        ("0", "【运城市】快件离开【垣曲县统仓共配中心】，发往【新城镇综合服务站】", "垣曲县统仓共配中心"),
        ("304", "【运城市】快件离开【垣曲县统仓共配中心】，已投递至【上王村便民服务点】", "上王村便民服务点"),
        ("0", "快件离开【北京转运中心】发往【太原转运中心】", "北京转运中心"),
        ("0", "【北京转运中心】已发出", "北京转运中心"),
        ("0", "【垣曲县】【历山镇站】已收入", "历山镇站"),
        ("0", "【运城市】快件在途", None),
        ("0", "快件在途", None),
        ("0", "", None),
        ("301", "【运城市】快件已由【张三】签收，签收网点【上王村便民服务点】", "上王村便民服务点"),
        ("301", "【运城市】已签收，签收人：【张三】", None),
        ("501", "【运城市】您的快件已由【菜鸟驿站】代收", "菜鸟驿站"),
        ("5", "【运城市】【新城镇网点】的快递员【李四】正在派件，电话【13812345678】", "新城镇网点"),
        ("301", "【上王村便民服务点】已签收，电话【0359-6022345】", "上王村便民服务点"),
        ("501", "【】【 】", None),
        ("5", "【运城市】派送员【张三】正在为您派件", None),
        ("5", "【运城市】派送员【张三】正在为您派件，网点【新城镇网点】", "新城镇网点"),
        ("303", "【运城市】他人代收：【张三】", None),
        ("303", "【运城市】在【上王村便民服务点】由家人【王五】代收", "上王村便民服务点"),
        ("301", "【上王村便民服务点】凭取货码签收【张三】", "上王村便民服务点"),
        ("5", "【运城市】张三【138-0013-8000】正在派件", None),
        ("5", "【运城市】张三【138-0013-8000店】正在派件", None),
        ("304", "已投递至【上王村便民服务点】，联系电话【0359-602222】", "上王村便民服务点"),
        ("304", "【运城市】已投递至【上王村（张三）】", None),
        ("501", "【运城市】已存放至【兔喜生活超市（2号）】", "兔喜生活超市（2号）"),
        ("0", "快件已到达【垣曲县公司（新城镇）】", "垣曲县公司（新城镇）"),
        ("301", "【运城市】已签收【王店】【王满仓】【李建社】【李点点】【张金库】【上王村（张社）】", None),
        ("501", "【运城市】已存放至【上王村】", "上王村"),
        ("501", "【运城市】已存放至【菜鸟驿站】", "菜鸟驿站"),
        ("501", "【运城市】已存放至【垣曲县城东营业部】", "垣曲县城东营业部"),
        ("501", "【运城市】已存放至【新城镇丰巢柜3号】", "新城镇丰巢柜3号"),
    ],
)  # fmt: skip
def test_the_site_of_a_kuaidi100_line(code: str, context: str, site: str | None) -> None:
    assert site_in(context, last=code in kuaidi100.SITE_IS_LAST, by_station=code in kuaidi100.BY_STATION) == site


def test_a_kuaidi100_snapshot_gives_each_moment_and_no_text_of_it() -> None:
    station, hub = parsed("kuaidi100", kuaidi100.SAMPLE)
    assert isinstance(station, Item)
    assert isinstance(hub, Item)
    assert (station.brand, station.action, station.site_code, station.site_name) == ("zto", "station_inbound", None, "上王村便民服务点")
    assert station.identity == ("501", "2023-07-14 09:12:03", None, "上王村便民服务点")
    assert (hub.index, hub.action, hub.site_name) == (1, "arrived", "垣曲县统仓共配中心")
    assert "取件码" not in repr(station)


def k100(**changes: Any) -> dict[str, Any]:
    """The sample's newest moment alone; `comNew`, `comOld` change the push, `com`, `nu` the result, all else the moment."""
    made: dict[str, Any] = json.loads(json.dumps(kuaidi100.SAMPLE))
    result = made["lastResult"]
    result["data"] = [result["data"][0]]
    for name, value in changes.items():
        (made if name.startswith("com") and name != "com" else result if name in ("com", "nu") else result["data"][0])[name] = value
    return made


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"comNew": "yuantong"}, ("brand.changed", "/comNew")),
        ({"comOld": "zhongtong", "comNew": "yuantong"}, ("brand.changed", "/comNew")),
        ({"com": "huitongkuaidi"}, ("brand.unknown", "/lastResult/com")),
        ({"com": 5}, ("field.type", "/lastResult/com")),
        ({"nu": None}, ("field.missing", "/lastResult/nu")),
        ({"statusCode": "13812345678"}, ("text.personal_data", "/lastResult/data/0/statusCode")),
        ({"statusCode": None}, ("field.missing", "/lastResult/data/0/statusCode")),
        ({"ftime": "2023-07-14 24:00:00"}, ("time.unreadable", "/lastResult/data/0/ftime")),
        ({"ftime": None, "time": "soon"}, ("time.unreadable", "/lastResult/data/0/time")),
        ({"context": 7}, ("field.type", "/lastResult/data/0/context")),
        ({"context": "【" + "点" * 201 + "】"}, ("field.too_long", "/lastResult/data/0/context")),
        ({"context": "【上王\u0007村】"}, ("text.control_character", "/lastResult/data/0/context")),
    ],
)
def test_a_kuaidi100_moment_that_cannot_be_read_says_where(change: dict[str, Any], flaw: tuple[str, str]) -> None:
    assert the_flaw("kuaidi100", k100(**change)) == flaw


def test_kuaidi100_same_carrier_brands_and_empty_histories() -> None:
    assert the_item("kuaidi100", k100(comOld="zhongtong", comNew="zhongtong")).brand == "zto"
    assert the_flaw("kuaidi100", k100(com="yuantong"), brands=("zto",)) == ("brand.not_in_feed", "/lastResult/com")
    assert parsed("kuaidi100", {"status": "abort", "message": "3天查询无记录"}) == []
    assert parsed("kuaidi100", {"comNew": "", "comOld": "", "lastResult": None}) == []
    assert parsed("kuaidi100", {"lastResult": {"com": "zhongtong", "nu": "1", "data": None}}) == []
    refusals = [
        ([], "json.not_an_object"),
        ({"lastResult": []}, "json.no_last_result"),
        ({"lastResult": {"data": {}}}, "json.no_last_result"),
    ]
    for document, code in refusals:
        with pytest.raises(Unparseable) as refused:
            parsed("kuaidi100", document)
        assert refused.value.code == code
    long = k100()
    long["lastResult"]["data"] *= 501
    with pytest.raises(Unparseable) as refused:
        parsed("kuaidi100", long)
    assert refused.value.code == "items.too_many"


@pytest.mark.parametrize("result", [None, {}, {"com": "zhongtong", "nu": "1", "data": []}, {"com": "zhongtong", "nu": "1", "data": None}])
def test_a_change_of_carrier_without_a_history_is_kept_for_a_person(result: Any) -> None:
    assert the_flaw("kuaidi100", {"comOld": "zhongtong", "comNew": "yuantong", "lastResult": result}) == ("brand.changed", "/comNew")
    assert the_flaw("kuaidi100", {"comNew": 7, "lastResult": result}) == ("field.type", "/comNew")
