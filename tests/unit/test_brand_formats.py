"""What each sender's format says: signatures over the exact bytes, code tables, sites, and what it is told back."""

import json
from base64 import b64decode
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from services.ingest.brands import NATIVE, gongpei, kuaidi100, zto
from services.ingest.brands.base import (
    BadSignature,
    Feed,
    Outcome,
    RawPush,
    Unparseable,
    Wire,
    hmac_base64,
    md5_base64,
    md5_hex_upper,
)
from services.ingest.domain.items import Item, Unreadable
from shared.calendar import SHANGHAI
from shared.contracts.scan import BRANDS, Action

RECEIVED = datetime(2023, 7, 14, 9, 12, 4, tzinfo=SHANGHAI)
SECRET = b"s3cret-DEMO"
FORM = "application/x-www-form-urlencoded"


def pushed(format_: str, body: bytes, content_type: str = FORM, brands: tuple[str, ...] = BRANDS, token: str | None = None) -> RawPush:
    return RawPush(Feed("f", format_, brands, None, "live", 7200), body, content_type, RECEIVED, token)


def signed(format_: str, payload: Any, **more: Any) -> RawPush:
    wire: Wire = NATIVE[format_].sign(payload, SECRET)
    return pushed(format_, wire.body, wire.content_type, **more)


def parsed(format_: str, payload: Any, **more: Any) -> list[Item | Unreadable]:
    return NATIVE[format_].parse(signed(format_, payload, **more))


def the_item(format_: str, payload: Any) -> Item:
    (item,) = parsed(format_, payload)
    assert isinstance(item, Item), item
    return item


def the_flaw(format_: str, payload: Any, **more: Any) -> tuple[str, str]:
    (item,) = parsed(format_, payload, **more)
    assert isinstance(item, Unreadable), item
    return item.code, item.pointer


# signatures (domain facts §1.12)
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (md5_base64(b"hello1234", b"key123"), "ufYU7rvXhHY3IDyZgyt6SA=="),
        (md5_base64(b'{"billCode":"73100196611386","action":"INBOUND"}', SECRET), "rcFDxElzChC6BsjaPiEhQw=="),
        (md5_base64(b'{"billCode":"JT0000000000001"}', SECRET), "yAskdL3caQysJx0WY7hbaA=="),
        (md5_base64(b'{"waybillNo":"770000000000001"}', SECRET), "r5tJ8Vsftd91gRj2vPSUnA=="),
        (md5_base64(b"<UpdateInfo><mailNo>YT0000000000001</mailNo></UpdateInfo>", SECRET), "U1hNjhvgVLhTJApvTiUYzQ=="),
        (md5_hex_upper(b'{"status":"polling"}', b"salt1"), "AC38506FEB4B8F0AB868A0E803D9F123"),
    ],
)
def test_digests_are_those_of_the_published_vectors(made: str, expected: str) -> None:
    assert made == expected


def test_the_scanners_digest_is_hmac_sha256() -> None:
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"  # RFC 4231, test case 2
    assert b64decode(hmac_base64(b"what do ya want for nothing?", b"Jefe")).hex() == digest


@pytest.mark.parametrize("format_", NATIVE)
def test_a_sample_verifies_with_any_living_secret_and_with_no_other(format_: str) -> None:
    push = signed(format_, NATIVE[format_].SAMPLE)
    assert NATIVE[format_].verify(push, [b"newer", SECRET]) in ("digest", "hmac")
    for secrets in ([], [b"newer"], [SECRET + b" "]):
        with pytest.raises(BadSignature):
            NATIVE[format_].verify(push, secrets)


def test_zto_takes_a_plus_that_was_not_encoded() -> None:
    secret, data = b"k7", '{"billCode":"73100196611386"}'
    digest = next(d for i in range(200) if "+" in (d := md5_base64(data.encode(), secret := f"k{i}".encode())))
    body = f"data={quote(data)}&data_digest={digest}".encode()
    assert zto.verify(pushed("zto", body), [secret]) == "digest"


@pytest.mark.parametrize("ending", [b"&", b"&&", b"&note"])
def test_a_form_may_end_as_some_clients_end_it(ending: bytes) -> None:
    wire = zto.sign(zto.SAMPLE, SECRET)
    push = pushed("zto", wire.body.replace(b"&data_digest", b"&&data_digest") + ending)
    assert zto.verify(push, [SECRET]) == "digest"
    assert isinstance(zto.parse(push)[0], Item)


def test_zto_digest_is_over_the_text_as_sent_not_over_a_re_encoding() -> None:
    spaced = '{ "billCode" : "73100196611386" }'
    body = urlencode({"data": spaced, "data_digest": md5_base64(spaced.encode(), SECRET)}).encode()
    assert zto.verify(pushed("zto", body), [SECRET]) == "digest"
    body = urlencode({"data": spaced, "data_digest": md5_base64(spaced.replace(" ", "").encode(), SECRET)}).encode()
    with pytest.raises(BadSignature):
        zto.verify(pushed("zto", body), [SECRET])


def test_kuaidi100_sign_is_compared_in_any_case_and_a_token_stands_in_for_it() -> None:
    param = '{"status":"polling"}'
    sign = md5_hex_upper(param.encode(), SECRET)
    for given in (sign, sign.lower()):
        assert kuaidi100.verify(pushed("kuaidi100", urlencode({"param": param, "sign": given}).encode()), [SECRET]) == "digest"
    unsigned = urlencode({"param": param}).encode()
    assert kuaidi100.verify(pushed("kuaidi100", unsigned, token=SECRET.decode()), [b"x", SECRET]) == "token"
    for wrong in (pushed("kuaidi100", unsigned), pushed("kuaidi100", unsigned, token="guess")):
        with pytest.raises(BadSignature):
            kuaidi100.verify(wrong, [SECRET])


@pytest.mark.parametrize("given", ["", "é", "\x00", "=" * 5000, "rcFDxElzChC6BsjaPiEhQw"])
def test_a_hostile_signature_is_wrong_and_nothing_else(given: str) -> None:
    body = urlencode({"data": "{}", "data_digest": given or " "}).encode()
    with pytest.raises(BadSignature):
        zto.verify(pushed("zto", body), [SECRET])


# ZTO
@pytest.mark.parametrize(
    ("action", "more", "expected", "raw"),
    [
        ("GOT", {}, "picked_up", "GOT"),
        ("DEPARTURE", {}, "departed", "DEPARTURE"),
        ("ARRIVAL", {}, "arrived", "ARRIVAL"),
        ("DISPATCH", {}, "out_for_delivery", "DISPATCH"),
        ("INBOUND", {}, "station_inbound", "INBOUND"),
        ("HANDOVERSCAN_SIGNED", {}, "station_inbound", "HANDOVERSCAN_SIGNED"),
        ("DEPARTURE_SIGNED", {}, "station_pickup", "DEPARTURE_SIGNED"),
        ("SIGNED", {}, "signed", "SIGNED"),
        ("RETURN_SCAN", {}, "returning", "RETURN_SCAN"),
        ("RETURN_SCAN", {"returnType": "退回"}, "returning", "RETURN_SCAN/退回"),
        ("RETURN_SCAN", {"returnType": "改地址"}, "departed", "RETURN_SCAN/改地址"),
        ("RETURN_SCAN", {"returnType": "", "returnUpdateType": "改地址"}, "departed", "RETURN_SCAN/改地址"),
        ("RETURN_SIGNED", {}, "returned", "RETURN_SIGNED"),
        ("PROBLEM", {}, "delivery_failed", "PROBLEM"),
        ("NEVER_SEEN", {}, "unknown", "NEVER_SEEN"),
    ],
)
def test_zto_codes(action: str, more: dict[str, str], expected: str, raw: str) -> None:
    item = the_item("zto", zto.SAMPLE | {"action": action} | more)
    assert (item.action, item.raw_action, item.mapping_version) == (expected, raw, zto.MAPPING_VERSION)


def test_a_zto_scan_keeps_its_facts_and_no_person() -> None:
    person = {"courier": "张三", "courierPhone": "13812345678", "expressSigner": "李四", "address": "上王村1号", "desc": "李四 13812345678"}
    item = the_item("zto", zto.SAMPLE | person)
    assert (item.brand, item.waybill_no, item.site_code, item.site_name) == ("zto", "73100196611386", None, "上王村便民服务点")
    assert item.scanned_at == datetime(2023, 7, 14, 9, 12, 3, tzinfo=SHANGHAI)
    assert item.identity == ("INBOUND", "2023-07-14 09:12:03", None, "上王村便民服务点")
    assert not any(word in repr(item) for word in ("张三", "李四", "13812345678", "1号"))


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"actionTime": "2023-02-30 00:00:00"}, ("time.unreadable", "/actionTime")),
        ({"actionTime": "2023/07/14 09:12:03"}, ("time.unreadable", "/actionTime")),
        ({"actionTime": "2023-07-14 09:12:03\n"}, ("text.control_character", "/actionTime")),
        ({"actionTime": "٢٠٢٣-07-14 09:12:03"}, ("time.unreadable", "/actionTime")),
        ({"actionTime": 1689297123}, ("field.type", "/actionTime")),
        ({"actionTime": None}, ("field.missing", "/actionTime")),
        ({"actionTime": "2023-07-15 09:12:05"}, ("time.implausible", "/actionTime")),  # 24 h and a second after its receipt
        ({"actionTime": "2014-12-31 23:59:59"}, ("time.implausible", "/actionTime")),
        ({"billCode": 73100196611386}, ("field.type", "/billCode")),
        ({"billCode": 10**30}, ("field.type", "/billCode")),
        ({"billCode": ""}, ("field.missing", "/billCode")),
        ({"billCode": "7310 0196"}, ("waybill.invalid", "/billCode")),
        ({"billCode": "1" * 33}, ("waybill.invalid", "/billCode")),
        ({"action": "A" * 65}, ("field.too_long", "/action")),
        ({"action": ["INBOUND"]}, ("field.type", "/action")),
        ({"facilityName": "上王村\u0000点"}, ("text.control_character", "/facilityName")),
        ({"facilityName": "\u202e点村王上"}, ("text.control_character", "/facilityName")),
        ({"facilityName": "老王 13812345678"}, ("text.personal_data", "/facilityName")),
        ({"facilityName": "老王 138-0013-8000"}, ("text.personal_data", "/facilityName")),
        ({"facilityCode": "13812345678"}, ("text.personal_data", "/facilityCode")),
        ({"action": "138 1234 5678"}, ("text.personal_data", "/action")),
        ({"action": "RETURN_SCAN", "returnType": "张三13812345678"}, ("text.personal_data", "/returnType")),
        ({"facilityName": "点" * 201}, ("field.too_long", "/facilityName")),
    ],
)
def test_a_zto_scan_that_cannot_be_read_says_where(change: dict[str, Any], flaw: tuple[str, str]) -> None:
    assert the_flaw("zto", zto.SAMPLE | change) == flaw


def test_a_day_ahead_is_still_taken_and_a_foreign_brand_is_not() -> None:
    assert the_item("zto", zto.SAMPLE | {"actionTime": "2023-07-15 09:12:04"}).scanned_at.day == 15
    assert the_flaw("zto", zto.SAMPLE, brands=("yto",)) == ("brand.not_in_feed", "")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body.empty"),
        (b"\x00\xff", "form.invalid"),
        (b"data", "form.no_data"),
        (b"&&", "form.no_data"),
        (b"data=%ff&data_digest=x", "form.invalid"),
        (b"data=1&data=2&data_digest=x", "form.repeated_field"),
        (b"&".join(b"a%d=1" % i for i in range(40)), "form.invalid"),
        (b"data_digest=x", "form.no_data"),
        (b"data=&data_digest=x", "form.no_data"),
        (b"data=x", "form.no_data_digest"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_as_a_whole(body: bytes, code: str) -> None:
    with pytest.raises(Unparseable) as refused:
        zto.verify(pushed("zto", body), [SECRET])
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("{", "json.invalid"),
        ("NaN", "json.invalid"),
        ('{"a":"\\ud800"}', "json.invalid"),
        ("[" * 33 + "]" * 33, "json.too_deep"),
        ("[" * 100_000 + "]" * 100_000, "json.too_deep"),
    ],
)
@pytest.mark.parametrize("format_", NATIVE)
def test_json_that_cannot_be_read_is_refused_as_a_whole(format_: str, data: str, code: str) -> None:
    fields = {"zto": ("data", "data_digest"), "kuaidi100": ("param", "sign"), "gongpei": ("data", "dataDigest")}[format_]
    body = urlencode(dict(zip(fields, (data, "x"), strict=True)) | {"appId": "x"}).encode()
    with pytest.raises(Unparseable) as refused:
        NATIVE[format_].parse(pushed(format_, body))
    assert refused.value.code == code


@pytest.mark.parametrize("data", ["[]", "1", '"text"', "null"])
def test_a_zto_document_that_is_no_object_is_kept_as_one_unreadable_item(data: str) -> None:
    assert zto.parse(pushed("zto", urlencode({"data": data}).encode())) == [Unreadable(0, "item.type", "")]


# Kuaidi100
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
    assert kuaidi100.site_in(context, code) == site


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


def test_carriers_are_brands_of_the_programme() -> None:
    assert set(kuaidi100.CARRIERS.values()) <= set(BRANDS)
    assert set(gongpei.COMPANIES.values()) <= set(BRANDS)


# 统仓共配
@pytest.mark.parametrize(
    ("code", "receiver", "action"),
    [
        ("DS", None, "arrived"), ("DP", None, "arrived"), ("DF", None, "arrived"), ("FW", None, "departed"),
        ("PJ", None, "out_for_delivery"), ("FP", None, "out_for_delivery"), ("ZY", None, "transferred"), ("DZ", None, "transferred"),
        ("QS", "101", "signed"),
        ("QS", "116", "signed_by_agent"), ("QS", "111", "station_inbound"),
        ("QS", "125", "station_inbound"), ("QS", "127", "station_inbound"),
        ("QS", "128", "station_inbound"), ("QS", None, "unknown"), ("QS", "999", "unknown"), ("CK", None, "station_pickup"),
        ("QH", None, "taken_back"), ("TJ", None, "returning"), ("DS", "125", "arrived"), ("??", None, "unknown"),
    ],
)  # fmt: skip
def test_gongpei_codes(code: str, receiver: str | None, action: str) -> None:
    item = the_item("gongpei", [gongpei.SAMPLE[0] | {"scanType": code, "receiverCode": receiver}])
    assert (item.action, item.raw_action) == (action, f"QS/{receiver}" if code == "QS" and receiver else code)


def test_a_gongpei_push_is_a_form_or_an_object_and_holds_scans_or_one() -> None:
    data = json.dumps(gongpei.SAMPLE[1], ensure_ascii=False)
    envelope = {"data": data, "dataDigest": hmac_base64(data.encode(), SECRET), "appId": "x"}
    as_json = pushed("gongpei", json.dumps(envelope).encode(), "application/json; charset=utf-8")
    as_form = pushed("gongpei", urlencode(envelope).encode())
    for push in (as_json, as_form):
        assert gongpei.verify(push, [SECRET]) == "hmac"
        (item,) = gongpei.parse(push)
        assert isinstance(item, Item)
        assert (item.identity, item.weight_g, item.site_code) == (("GP-20230714-000002",), 850, "YQ-100200")


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"companyCode": "HTKY"}, ("brand.unknown", "/data/0/companyCode")),
        ({"scanTime": ""}, ("field.missing", "/data/0/scanTime")),
        ({"weightGram": -1}, ("field.type", "/data/0/weightGram")),
        ({"weightGram": True}, ("field.type", "/data/0/weightGram")),
        ({"weightGram": 1.5}, ("field.type", "/data/0/weightGram")),
        ({"weightGram": 10**30}, ("field.type", "/data/0/weightGram")),
        ({"scanId": 1}, ("field.type", "/data/0/scanId")),
        ({"orderNo": "13812345678"}, ("text.personal_data", "/data/0/orderNo")),
        ({"siteCode": "0359-6022222"}, ("text.personal_data", "/data/0/siteCode")),
        ({"receiverCode": "+8613812345678"}, ("text.personal_data", "/data/0/receiverCode")),
    ],
)
def test_a_gongpei_scan_that_cannot_be_read_says_where(change: dict[str, Any], flaw: tuple[str, str]) -> None:
    assert the_flaw("gongpei", [gongpei.SAMPLE[1] | change]) == flaw


@pytest.mark.parametrize("body", [b"[]", b'{"data":1}', b'{"data":"x","dataDigest":"x"}', b'"x"', b"{"])
def test_a_gongpei_envelope_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(Unparseable):
        gongpei.verify(pushed("gongpei", body, "application/json"), [SECRET])


def test_one_bad_scan_takes_no_neighbour_with_it() -> None:
    items = parsed("gongpei", [gongpei.SAMPLE[0], 7, None, {}, gongpei.SAMPLE[1]])
    assert [type(i) for i in items] == [Item, Unreadable, Unreadable, Unreadable, Item]
    assert [i.index for i in items] == [0, 1, 2, 3, 4]


# answers (domain facts §1.1)
@pytest.mark.parametrize(
    ("format_", "outcome", "status", "expected"),
    [
        ("zto", Outcome.STORED, 200, {"status": True, "statusCode": "SYS000", "message": "m", "result": None}),
        ("zto", Outcome.FAILED, 200, {"status": False, "statusCode": "FAILED", "message": "m", "result": None}),
        ("zto", Outcome.RETRY, 503, {"status": False, "statusCode": "RETRY", "message": "m", "result": None}),
        ("kuaidi100", Outcome.STORED, 200, {"result": True, "returnCode": "200", "message": "m"}),
        ("kuaidi100", Outcome.FAILED, 200, {"result": False, "returnCode": "500", "message": "m"}),
        ("kuaidi100", Outcome.RETRY, 503, {"result": False, "returnCode": "503", "message": "m"}),
        ("gongpei", Outcome.STORED, 200, {"success": True, "reason": "m"}),
        ("gongpei", Outcome.FAILED, 200, {"success": False, "reason": "m"}),
        ("gongpei", Outcome.RETRY, 503, {"success": False, "reason": "m"}),
    ],
)
def test_each_sender_is_answered_in_its_own_words(format_: str, outcome: Outcome, status: int, expected: dict[str, Any]) -> None:
    ack = NATIVE[format_].acknowledge(outcome, "m")
    assert (ack.status, ack.content_type, json.loads(ack.body)) == (status, "application/json", expected)
