"""ZTO's format: the digest is over the text as sent; its code table; a scan that cannot be read says where."""

from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from services.ingest.brands import zto
from services.ingest.brands.base import BadSignature
from services.ingest.brands.wire import md5_base64
from services.ingest.domain.items import Unreadable
from shared.calendar import SHANGHAI
from tests.unit.brand_pushes import SECRET, pushed, the_flaw, the_item


def test_zto_takes_a_plus_that_was_not_encoded() -> None:
    secret, data = b"k7", '{"billCode":"73100196611386"}'
    digest = next(d for i in range(200) if "+" in (d := md5_base64(data.encode(), secret := f"k{i}".encode())))
    body = f"data={quote(data)}&data_digest={digest}".encode()
    assert zto.verify(pushed("zto", body), [secret]) == "digest"


def test_zto_digest_is_over_the_text_as_sent_not_over_a_re_encoding() -> None:
    spaced = '{ "billCode" : "73100196611386" }'
    body = urlencode({"data": spaced, "data_digest": md5_base64(spaced.encode(), SECRET)}).encode()
    assert zto.verify(pushed("zto", body), [SECRET]) == "digest"
    body = urlencode({"data": spaced, "data_digest": md5_base64(spaced.replace(" ", "").encode(), SECRET)}).encode()
    with pytest.raises(BadSignature):
        zto.verify(pushed("zto", body), [SECRET])


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


@pytest.mark.parametrize("data", ["[]", "1", '"text"', "null"])
def test_a_zto_document_that_is_no_object_is_kept_as_one_unreadable_item(data: str) -> None:
    assert zto.parse(pushed("zto", urlencode({"data": data}).encode())) == [Unreadable(0, "item.type", "")]
