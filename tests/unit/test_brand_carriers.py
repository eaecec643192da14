"""What the carriers' own formats say: codes with their traps (domain facts §1.11), times, sites, retractions, partial answers."""

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from services.ingest.brands import NATIVE, cainiao, ems, jd, jt, kdniao, sf, sto, yto, yunda
from services.ingest.brands.base import BadSignature, Outcome, RawPush, Unparseable
from services.ingest.brands.wire import md5_base64, md5_hex
from services.ingest.domain.items import Item, Unreadable
from services.ingest.service import authenticate
from tests.unit.brand_pushes import SECRET, SM4_KEY, pushed, signed, the_flaw, the_item


def trace(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The sample with its one scan changed."""
    return document | {"trace": document["trace"] | changes}


def detail(**changes: Any) -> dict[str, Any]:
    return jt.SAMPLE | {"details": [jt.SAMPLE["details"][0] | changes]}


def ems_item(**changes: Any) -> Item:
    (item,) = ems.parse(signed("ems", ems.SAMPLE | changes, SM4_KEY, brands=("ems",)))
    assert isinstance(item, Item), item
    return item


@pytest.mark.parametrize(
    ("format_", "payload", "action", "raw"),
    [
        ("yto", yto.SAMPLE | {"infoContent": "GOT"}, "picked_up", "GOT"),
        ("yto", yto.SAMPLE | {"infoContent": "SIGNED", "name": "王五"}, "signed", "SIGNED"),
        ("yto", yto.SAMPLE | {"infoContent": "SIGNED", "name": "退回签收"}, "returned", "SIGNED/退"),
        ("yto", yto.SAMPLE | {"infoContent": "FAILED", "remark": "地址不详"}, "delivery_failed", "FAILED"),
        ("yto", yto.SAMPLE | {"infoContent": "FAILED", "remark": "收方客户拒收"}, "refused", "FAILED/拒收"),
        ("yto", yto.SAMPLE | {"infoContent": "TMS_RETURN"}, "returning", "TMS_RETURN"),
        ("yto", yto.SAMPLE | {"infoType": "WEIGHT"}, "unknown", "WEIGHT/INBOUND"),
        ("sto", trace(sto.SAMPLE, scanType="驿站出库"), "station_pickup", "驿站出库"),
        ("sto", trace(sto.SAMPLE, scanType="快件取出"), "taken_back", "快件取出"),
        ("sto", trace(sto.SAMPLE, scanType="问题件", issueName="客户拒收"), "refused", "问题件/拒收"),
        ("sto", trace(sto.SAMPLE, scanType="问题件", issueName="电话无人接听"), "delivery_failed", "问题件"),
        ("sto", trace(sto.SAMPLE, scanType="改地址件"), "departed", "改地址件"),
        ("sto", trace(sto.SAMPLE, scanType="外星扫描"), "unknown", "外星扫描"),
        ("yunda", yunda.SAMPLE | {"action": "OUTBOUND"}, "taken_back", "OUTBOUND"),
        ("yunda", yunda.SAMPLE | {"action": "REJECTION"}, "refused", "REJECTION"),
        ("yunda", yunda.SAMPLE | {"action": "OVERSEA_IN"}, "unknown", "OVERSEA_IN"),
        ("jt", detail(scanType=7), "station_inbound", "7"),
        ("jt", detail(scanType="快件签收"), "signed", "快件签收"),
        ("jt", detail(scanType="快件取出扫描"), "taken_back", "快件取出扫描"),
        ("jt", detail(scanType=11, problemType="A34"), "delivery_failed", "11/A34"),
        ("jt", detail(scanType="问题件扫描", problemType="A2"), "refused", "问题件扫描/A2"),
        ("jt", detail(scanType="签收", problemType="A2"), "signed", "签收"),
        ("jd", jd.SAMPLE | {"state": "200051"}, "station_inbound", "200051"),
        ("jd", jd.SAMPLE | {"state": 10034}, "signed", "10034"),
        ("jd", jd.SAMPLE | {"state": "10035"}, "refused", "10035"),
        ("jd", jd.SAMPLE | {"state": "200020"}, "returning", "200020"),
    ],
)
def test_codes(format_: str, payload: Any, action: str, raw: str) -> None:
    item = the_item(format_, payload)
    assert (item.action, item.raw_action) == (action, raw)


@pytest.mark.parametrize(
    ("code", "detail", "action", "raw", "undoes"),
    [
        ("204", {}, "unknown", "204", None),
        ("704", {}, "signed", "704", None),
        ("704", {"deliveryCode": "160"}, "signed_by_agent", "704/160", None),
        ("704", {"deliveryCode": 30}, "station_inbound", "704/30", None),
        ("704", {"deliveryCode": "99"}, "signed", "704/99", None),
        ("705", {"failCode": "7"}, "refused", "705/7", None),
        ("711", {}, "returned", "711", None),
        ("742", {}, "retracted", "742", "out_for_delivery"),
        ("743", {}, "retracted", "743", "signed"),
        ("743", {"deliveryCode": "160"}, "retracted", "743/160", "signed_by_agent"),
        ("744", {"failCode": "7"}, "retracted", "744/7", "refused"),
        ("207", {}, "retracted", "207", "picked_up"),
    ],
)
def test_codes_of_ems(code: str, detail: dict[str, Any], action: str, raw: str, undoes: str | None) -> None:
    item = ems_item(opCode=code, **detail)
    assert (item.action, item.raw_action) == (action, raw)
    assert (item.retracts and item.retracts.previous_action) == undoes


@pytest.mark.parametrize(("code", "action"), [("80", "signed"), ("126", "station_pickup"), ("631", "returned"), ("4711", "unknown")])
def test_codes_of_sf(code: str, action: str) -> None:
    items = sf.parse(signed("sf", {"Body": {"WaybillRoute": [sf.SAMPLE["Body"]["WaybillRoute"][0] | {"opCode": code}]}}))
    assert [i.action for i in items if isinstance(i, Item)] == [action]


# times
@pytest.mark.parametrize("told", ["2023-07-14 09:12:03", "2023/07/14 09:12:03", "2023-07-1409:12:03", "2023/07/14 09:12:003"])
def test_kdniao_writes_times_in_four_ways_and_each_is_identified_as_sent(told: str) -> None:
    item = kdniao_item(AcceptTime=told)
    assert (item.scanned_text, item.identity[1]) == ("2023-07-14T09:12:03+08:00", told)


def kdniao_item(**changes: Any) -> Item:
    parcel = kdniao.SAMPLE["Data"][0]
    return the_item("kdniao", kdniao.SAMPLE | {"Data": [parcel | {"Traces": [parcel["Traces"][1] | changes]}]})


@pytest.mark.parametrize("told", ["2023-07-14 09:12:093", "2023-7-14 09:12:03", "2023-07-14T09:12:03", "昨天"])
def test_what_kdniao_does_not_write_is_no_time(told: str) -> None:
    parcel = kdniao.SAMPLE["Data"][0]
    payload = kdniao.SAMPLE | {"Data": [parcel | {"Traces": [parcel["Traces"][1] | {"AcceptTime": told}]}]}
    assert the_flaw("kdniao", payload) == ("time.unreadable", "/Data/0/Traces/0/AcceptTime")


@pytest.mark.parametrize("told", ["2023-07-14 09:12:03.0 CST", "2023-07-14 09:12:03.0"])
def test_ytos_older_times(told: str) -> None:
    item = the_item("yto", yto.SAMPLE | {"acceptTime": told})
    assert (item.scanned_text, item.identity[1]) == ("2023-07-14T09:12:03+08:00", told)


@pytest.mark.parametrize(
    ("zone", "read"),
    [("+8", "09"), ("GMT+08:00", "09"), ("8", "09"), (None, "09"), ("", "09"), ("+9", "08"), ("UTC+0", "17"), ("-1", "18")],
)
def test_stos_time_zone(zone: str | None, read: str) -> None:
    told = "2023-07-14 09:12:03" if zone not in ("UTC+0", "-1") else "2023-07-13 09:12:03"
    assert the_item("sto", trace(sto.SAMPLE, tz=zone, opTime=told)).scanned_text[11:13] == read


def test_a_zone_that_is_none() -> None:
    assert the_flaw("sto", trace(sto.SAMPLE, tz="火星")) == ("time.zone_unknown", "/trace/tz")
    assert the_flaw("sto", trace(sto.SAMPLE, tz="+15")) == ("time.zone_unknown", "/trace/tz")


# identity
def test_a_senders_own_id_of_a_scan_is_its_identity() -> None:
    assert the_item("sto", sto.SAMPLE).identity == ("20230714091203770230714000001",)
    items = [i for i in sf.parse(signed("sf", sf.SAMPLE)) if isinstance(i, Item)]
    assert [i.identity for i in items] == [("168930001100001",), ("168930001100002",)]
    assert the_item("jd", jd.SAMPLE).identity == ("200057", "2023-07-14 09:12:03", "100200", "上王村便民服务点")


# what stays in the inbox
PERSON = "李四 13812345678"


@pytest.mark.parametrize(
    ("format_", "payload", "flaw"),
    [
        ("yto", yto.SAMPLE | {"name": PERSON, "remark": f"快件已由【{PERSON}】签收", "infoContent": "SIGNED"}, None),
        ("sto", trace(sto.SAMPLE, memo=PERSON, opEmpName=PERSON, signoffPeople=PERSON, address=PERSON), None),
        ("sto", trace(sto.SAMPLE, opOrgName=PERSON), ("text.personal_data", "/trace/opOrgName")),
        ("yunda", yunda.SAMPLE | {"description": PERSON, "signer": PERSON, "phone": "13812345678"}, None),
        ("yunda", yunda.SAMPLE | {"station_name": PERSON}, ("text.personal_data", "/station_name")),
        ("yunda", yunda.SAMPLE | {"station": 13812345678}, ("text.personal_data", "/station")),
        ("jt", detail(desc=PERSON, staffName=PERSON, staffContact="13812345678", scanNetworkContact="13812345678"), None),
        ("jt", detail(scanNetworkName=PERSON), ("text.personal_data", "/details/0/scanNetworkName")),
        ("jd", jd.SAMPLE | {"operationRemark": PERSON, "routeAddress": PERSON}, None),
        ("jd", jd.SAMPLE | {"operateSite": PERSON}, ("text.personal_data", "/operateSite")),
    ],
)
def test_nothing_of_a_person_is_read(format_: str, payload: Any, flaw: tuple[str, str] | None) -> None:
    if flaw:
        assert the_flaw(format_, payload) == flaw
    else:
        assert not any(word in repr(the_item(format_, payload)) for word in ("李四", "13812345678"))


def test_a_scan_that_cannot_be_read_never_takes_its_neighbour_with_it() -> None:
    routes = sf.SAMPLE["Body"]["WaybillRoute"]
    items = sf.parse(signed("sf", {"Body": {"WaybillRoute": [routes[0] | {"acceptTime": "never"}, routes[1], 5]}}))
    flaws = [(i.code, i.pointer) for i in items if isinstance(i, Unreadable)]
    assert flaws == [("time.unreadable", "/Body/WaybillRoute/0/acceptTime"), ("item.type", "/Body/WaybillRoute/2")]
    assert isinstance(items[1], Item)


# the wires
XML = """<?xml version="1.0" encoding="UTF-8"?><Request service="RoutePushService" lang="zh-CN"><Body>
<WaybillRoute id="7" mailno="SF1023071400001" acceptTime="2023-07-14 09:12:03" acceptAddress="运城市" opCode="125" orderid="TC-1"
 remark="快件已投放至【上王村便民服务点】"/>
<WaybillRoute id="8" mailno="SF1023071400001" acceptTime="never" opCode="80" remark="已签收"/></Body></Request>"""


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (urlencode({"content": XML}).encode(), "application/x-www-form-urlencoded"),
        (urlencode({"content": XML.replace("UTF-8", "GBK").encode("gbk")}).encode(), "application/x-www-form-urlencoded"),
        (XML.encode(), "text/xml"),
    ],
)
def test_sfs_older_xml_and_its_partial_answer(body: bytes, content_type: str) -> None:
    push = pushed("sf", body, content_type, token=SECRET.decode(), secrets=[SECRET])
    assert authenticate(sf, push) == "token"
    read, flawed = sf.parse(push)
    assert isinstance(read, Item)
    assert (read.action, read.site_name, read.identity) == ("station_inbound", "上王村便民服务点", ("7",))
    assert flawed == Unreadable(1, "time.unreadable", "/Body/WaybillRoute/1/acceptTime")
    partial = sf.acknowledge(push, Outcome.STORED, "m", [1])
    said = '<Response service="RoutePushService"><Head>OK</Head><Body><WaybillRouteResponse id="7" id_error="8" /></Body></Response>'
    assert (partial.content_type, partial.body.decode()) == ("application/xml", said)
    assert sf.acknowledge(push, Outcome.STORED, "m").body.decode() == '<Response service="RoutePushService"><Head>OK</Head></Response>'
    later = sf.acknowledge(push, Outcome.RETRY, "m")
    said = '<Response service="RoutePushService"><Head>ERR</Head><ERROR code="4001">m</ERROR></Response>'
    assert (later.status, later.body.decode()) == (503, said)


def test_stos_json_body_has_its_digest_beside_it() -> None:
    body = json.dumps(sto.SAMPLE, ensure_ascii=False).encode()
    digest = md5_base64(body, SECRET)
    unsigned = pushed("sto", body, "application/json", secrets=[SECRET])
    in_header = {"data_digest": digest.replace("+", " ")}
    for push in (replace(unsigned, query={"data_digest": digest}), replace(unsigned, headers=in_header)):
        assert authenticate(sto, push) == "digest"
        assert isinstance(sto.parse(push)[0], Item)
    with pytest.raises(BadSignature):
        authenticate(sto, unsigned)


def test_yundas_history_is_signed_in_a_header_over_the_body() -> None:
    steps = [yunda.SAMPLE | {"action": a} for a in ("ARRIVAL", "INBOUND")]
    for document in ({"mailno": 430000000000001, "steps": steps}, {"data": {"mailno": "430000000000001", "steps": steps}}):
        body = json.dumps(document).encode()
        push = pushed("yunda", body, "application/json", headers={"sign": md5_hex(body + b"_" + SECRET).upper()}, secrets=[SECRET])
        assert authenticate(yunda, push) == "digest"
        assert [i.action for i in yunda.parse(push) if isinstance(i, Item)] == ["arrived", "station_inbound"]


def test_the_published_vectors_of_signatures() -> None:
    """Domain facts §1.12."""
    body = b'{"mailno":"430000000000001"}'
    push = pushed("yunda", body, "application/json", headers={"sign": "9208f72025093f506fafa9f12287c41d"})
    assert yunda.verify(push, [SECRET]) == "digest"
    for data, key, sign in (
        (b'{"PushTime":"2023-06-01 10:00:00"}', SECRET, "ZWQyNjA5YjU4NzA1NWM3MzRhM2E4NWRmNjFhYzkxODM="),
        (
            b"{'OrderCode':'','ShipperCode':'SF','LogisticCode':'118954907573'}",
            b"56da2cf8-c8a2-44b2-b6fa-476cd7d1ba17",
            "OWFhM2I5N2ViM2U2MGRkMjc4YzU2NmVlZWI3ZDk0MmE=",
        ),
    ):
        body = urlencode({"RequestData": data, "DataSign": sign}).encode()
        assert kdniao.verify(pushed("kdniao", body), [key]) == "digest"
    body = urlencode({"logistics_interface": "hello1234", "data_digest": "ufYU7rvXhHY3IDyZgyt6SA=="}).encode()
    assert cainiao.verify(pushed("cainiao", body), [b"key123"]) == "digest"


def test_jd_signs_its_query_with_the_body() -> None:
    push = signed("jd", jd.SAMPLE)
    for name in ("timestamp", "access_token", "app_key", "method", "v", "sign"):
        changed = RawPush(push.feed, push.body, push.content_type, push.received_at, query={**push.query, name: "x"}, secrets=[SECRET])
        with pytest.raises(BadSignature):
            authenticate(jd, changed)


def test_a_new_number_of_jd_is_linked_to_its_parcel() -> None:
    """The way back is no delivery that anybody is paid for."""
    remark = {"state": "200020", "operationRemark": "客户拒收，换单打印，新运单号JDVC02307140009，联系13812345678"}
    old, new = (i for i in jd.parse(signed("jd", jd.SAMPLE | remark)) if isinstance(i, Item))
    assert (old.waybill_no, old.raw_action, old.action) == ("JDVA02307140001", "200020/JDVC02307140009", "returning")
    assert (new.waybill_no, new.raw_action, new.action) == ("JDVC02307140009", "200020/JDVA02307140001", "returning")
    assert (new.index, new.order_no, old.order_no) == (1, "TC-20230714-1", "TC-20230714-1")


def test_an_sm4_key_is_16_bytes_or_their_base64() -> None:
    for secret in (SM4_KEY, b64encode(SM4_KEY)):
        push = signed("ems", ems.SAMPLE, secret, brands=("ems",))
        assert authenticate(ems, push) == "cipher"
        assert isinstance(ems.parse(push)[0], Item)
    with pytest.raises(ValueError, match="16 bytes"):
        ems.sign(ems.SAMPLE, b"too short")


def test_a_body_whose_secret_is_gone_is_not_read() -> None:
    with pytest.raises(Unparseable) as refused:
        ems.parse(signed("ems", ems.SAMPLE, SM4_KEY, secrets=[b"another-another-"]))
    assert refused.value.code == "body.sealed"


@pytest.mark.parametrize("wrap", [lambda d: [d, d], lambda d: {"responseItems": [d, d]}])
def test_ems_sends_one_operation_or_many(wrap: Any) -> None:
    items = ems.parse(signed("ems", wrap(ems.SAMPLE), SM4_KEY, brands=("chinapost",)))
    assert [i.brand for i in items if isinstance(i, Item)] == ["chinapost", "chinapost"]


def test_cainiao_in_xml_says_what_it_says_in_json() -> None:
    xml = (
        "<request><mailNo>621230714000001</mailNo><cpCode>CAINIAO</cpCode><bizCode>TC-20230714-1</bizCode><traces><trace>"
        "<site><siteCode>YQ100200</siteCode><siteName>上王村便民服务点</siteName></site>"
        "<detail><operateAction>STA_INBOUND</operateAction><operateTime>2023-07-14 09:12:03</operateTime></detail>"
        "</trace></traces></request>"
    )
    (told,) = cainiao.parse(pushed("cainiao", urlencode({"logistics_interface": xml}).encode()))
    assert told == the_item("cainiao", cainiao.SAMPLE)


def test_a_number_without_a_history_is_no_scan() -> None:
    parcel = kdniao.SAMPLE["Data"][0]
    empty = [parcel | {"Traces": []}, parcel | {"Traces": None, "Success": False, "Reason": "暂无轨迹信息"}]
    assert NATIVE["kdniao"].parse(signed("kdniao", kdniao.SAMPLE | {"Data": empty})) == []
    assert the_flaw("kdniao", kdniao.SAMPLE | {"Data": [parcel | {"Traces": [{"AcceptTime": "2023-07-14 09:12:03"}]}]}) == (
        "field.missing",
        "/Data/0/Traces/0/Action",
    )
    assert the_flaw("kdniao", kdniao.SAMPLE | {"Data": [5]}) == ("item.type", "/Data/0")
