"""The joint-distribution scanners' format (统仓共配): envelope, codes, each scan on its own."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from services.ingest.brands import gongpei
from services.ingest.brands.base import Unparseable
from services.ingest.brands.wire import hmac_base64
from services.ingest.domain.items import Item, Unreadable
from tests.unit.brand_pushes import SECRET, parsed, pushed, the_flaw, the_item


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
