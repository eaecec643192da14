"""Items of the canonical API: what is taken, what is rejected and where, and that a bad item stands alone."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from services.ingest.brands import canonical
from services.ingest.brands.base import Feed, RawPush, Unparseable
from services.ingest.domain.items import Item, Unreadable
from shared.calendar import SHANGHAI
from tests.ingest_support import event

EVENT_ID = "6f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e"
RECEIVED = datetime(2023, 7, 14, 9, 12, 4, tzinfo=SHANGHAI)
PUSH = RawPush(Feed("f", "canonical", ("zto", "yto"), None, "live", 7200), b"", "application/json", RECEIVED)


def parse(*events: Any) -> list[Item | Unreadable]:
    return canonical.parse(PUSH, json.dumps({"events": list(events)}, ensure_ascii=False).encode())


def test_an_item_keeps_every_fact_as_sent() -> None:
    (item,) = parse(
        event(waybill_no="yt0000000000001", brand="yto", event_ref="e1", origin="140827100200", goods="花椒", order_no="o", weight_g=1)
    )
    assert isinstance(item, Item)
    assert (item.waybill_no, item.brand, item.origin, item.goods, item.weight_g) == ("YT0000000000001", "yto", "140827100200", "花椒", 1)
    assert (item.identity, item.action, item.sent_action, item.mapping_version) == (("e1",), "station_inbound", "station_inbound", 0)


@pytest.mark.parametrize(
    "sent", ["2023-07-14T09:12:03+08:00", "2023-07-14T01:12:03Z", "2023-07-13T20:12:03-05:00", "2023-07-14T01:12:03.000Z"]
)
def test_an_instant_is_one_however_it_is_written_and_its_identity_is_what_was_written(sent: str) -> None:
    (item,) = parse(event(scanned_at=sent))
    assert isinstance(item, Item)
    assert item.scanned_at.isoformat() == "2023-07-14T09:12:03+08:00"
    assert item.identity == ("INBOUND", sent, None, "上王村便民服务点")


@pytest.mark.parametrize(
    ("fraction", "written"),
    [("1", "100000"), ("123456", "123456"), ("1234567", "123456"), ("123456789", "123456"), ("999999999", "999999"), ("0000009", None)],
)
def test_an_instant_finer_than_the_log_is_cut_to_the_microsecond(fraction: str, written: str | None) -> None:
    sent = f"2023-07-14T09:12:03.{fraction}+08:00"
    (item,) = parse(event(scanned_at=sent))
    assert isinstance(item, Item)
    assert item.scanned_text == "2023-07-14T09:12:03" + (f".{written}" if written else "") + "+08:00"
    assert msgspec.json.decode(f'"{item.scanned_text}"', type=datetime) == item.scanned_at, "readers of the log decode it"
    assert item.identity[1] == sent


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"scanned_at": "2023-07-14 09:12:03"}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": "2023-07-14T09:12:03"}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": "2023-02-30T09:12:03Z"}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": "2023-07-14T09:12:03+99:99"}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": "2023-07-14T25:12:03Z"}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": "2023-07-14T09:12:03.1234567890Z"}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": "2023-07-14T09:12:03.Z"}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": 1}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": "0001-01-01T00:00:00+14:00"}, "time.unreadable", "/scanned_at"),
        ({"scanned_at": "2014-12-31T23:00:00+08:00"}, "time.implausible", "/scanned_at"),
        ({"scanned_at": "2023-07-16T00:00:00Z"}, "time.implausible", "/scanned_at"),
        ({"brand": "sf"}, "brand.not_in_feed", "/brand"),
        ({"brand": None}, "field.invalid", "/brand"),
        ({"waybill_no": 73100196611386}, "field.invalid", "/waybill_no"),
        ({"waybill_no": "7310\n0196"}, "field.invalid", "/waybill_no"),
        ({"waybill_no": "73100196\n"}, "field.invalid", "/waybill_no"),
        ({"action": "teleported"}, "field.invalid", "/action"),
        ({"weight_g": 10**30}, "field.invalid", "/weight_g"),
        ({"weight_g": True}, "field.invalid", "/weight_g"),
        ({"weight_g": 1.0e3}, "field.invalid", "/weight_g"),
        ({"weight_g": -1}, "field.invalid", "/weight_g"),
        ({"origin": "1408271002"}, "field.invalid", "/origin"),
        ({"site_name": ""}, "field.invalid", "/site_name"),
        ({"site_name": "点" * 201}, "field.invalid", "/site_name"),
        ({"site_name": "上\u0000王"}, "text.control_character", "/site_name"),
        ({"site_code": "a\u202eb"}, "text.control_character", "/site_code"),
        ({"goods": "收件人 13812345678"}, "text.personal_data", "/goods"),
        ({"site_name": "14082719700101123X"}, "text.personal_data", "/site_name"),
        ({"raw_action": "13812345678"}, "text.personal_data", "/raw_action"),
        ({"site_code": "张三-13812345678"}, "text.personal_data", "/site_code"),
        ({"order_no": "0359-6022222"}, "text.personal_data", "/order_no"),
        ({"phone": "13812345678"}, "field.unknown", ""),
        ({"retracts": {}}, "retracts.exactly_one", "/retracts"),
        ({"retracts": {"event_id": "x"}}, "field.invalid", "/retracts/event_id"),
        ({"retracts": {"previous_action": "signed", "event_id": EVENT_ID}}, "retracts.exactly_one", "/retracts"),
        ({"retracts": {"secret": 1}}, "field.unknown", "/retracts"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_rejected_alone_and_says_where(change: dict[str, Any], code: str, pointer: str) -> None:
    before, bad, after = parse(event(), event(**change), event(weight_g=2))
    assert bad == Unreadable(1, code, "/events/1" + pointer)
    assert isinstance(before, Item)
    assert isinstance(after, Item)


@pytest.mark.parametrize("name", ["brand", "waybill_no", "action", "scanned_at"])
def test_what_is_missing_is_named(name: str) -> None:
    without = {k: v for k, v in event().items() if k != name}
    assert parse(without) == [Unreadable(0, "field.missing", f"/events/0/{name}")]


@pytest.mark.parametrize("item", [1, None, "x", [], [[]], True])
def test_an_item_that_is_no_object_is_rejected_alone(item: Any) -> None:
    bad, good = parse(item, event())
    assert bad == Unreadable(0, "item.type", "/events/0")
    assert isinstance(good, Item)


def test_a_raw_action_and_a_retraction_are_optional() -> None:
    (item,) = parse(
        {k: v for k, v in event().items() if k != "raw_action"} | {"retracts": {"previous_action": "signed"}, "action": "retracted"}
    )
    assert isinstance(item, Item)
    assert (item.raw_action, item.retracts and item.retracts.previous_action) == ("retracted", "signed")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json.invalid"),
        (b"{", "json.invalid"),
        (b"\xff", "json.invalid"),
        (b'{"events":[{"a":NaN}]}', "json.invalid"),
        (b'{"events":[],}', "json.invalid"),
        (b"[]", "body.shape"),
        (b"{}", "body.shape"),
        (b'{"events":{}}', "body.shape"),
        (b'{"events":[],"more":1}', "body.shape"),
        (b'{"events":[' + b",".join([b"{}"] * 501) + b"]}", "items.too_many"),
        (b'{"events":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "json.too_deep"),
        (b'{"events":[{"x":' + b"[" * 40 + b"]" * 40 + b"}]}", "json.too_deep"),
        (b'{"events":[{"x":' + b'{"y":' * 100_000 + b"1" + b"}" * 100_000 + b"}]}", "json.too_deep"),
        (b'{"events":["' + rb"\"" * 400_000, "json.invalid"),  # an endless string costs one pass, not its square
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_refused_as_a_whole(body: bytes, code: str) -> None:
    with pytest.raises(Unparseable) as refused:
        canonical.parse(PUSH, body)
    assert refused.value.code == code


def test_an_empty_batch_is_one() -> None:
    assert parse() == []


def test_a_bracket_inside_a_string_is_no_depth() -> None:
    bad, good = parse({"x": "[" * 100}, event(site_name="[[[[" * 9))
    assert isinstance(bad, Unreadable)
    assert isinstance(good, Item)


@pytest.mark.parametrize(
    "twice",
    [
        '"goods":null,"goods":"x"', '"goods":"x","goods":null', '"goods":"x","goods":"x"', '"goods" :"y","goods":"x"',
        '"goods"\n:"y","goods":"x"', '"retracts":{"previous_action":"signed","previous_action":"signed"}',
        '"retracts":{"event_id":null,"event_id":"6f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e"}',
    ],
)  # fmt: skip
def test_a_key_that_is_there_twice_rejects_its_item_alone(twice: str) -> None:
    """Two readers might each believe another value."""
    plain = json.dumps(event(), ensure_ascii=False)
    body = f'{{"events":[{plain},{plain[:-1]},{twice}}},{plain}]}}'.encode()
    first, flawed, last = read(body)
    assert isinstance(first, Item)
    assert isinstance(last, Item)
    assert flawed == Unreadable(1, "json.repeated_key", "/events/1")


def test_events_twice_is_no_batch() -> None:
    with pytest.raises(Unparseable) as refused:
        read(b'{"events":[],"events":[]}')
    assert refused.value.code == "json.repeated_key"


def test_a_text_that_looks_like_keys_is_a_text() -> None:
    (item,) = read(json.dumps({"events": [event(goods='a":null,"b": "goods" :"x"')]}).encode())
    assert isinstance(item, Item)


def test_lines_are_events_one_by_one() -> None:
    good = json.dumps(event(), ensure_ascii=False)
    lines = "\n".join([good, "", '{"brand":', good[:-1] + ',"brand":"zto"}', "[1]", good, ""]).encode()
    told = read(lines, "application/x-ndjson")
    assert [i.code if isinstance(i, Unreadable) else i.action for i in told] == [
        "station_inbound", "json.invalid", "json.repeated_key", "item.type", "station_inbound",
    ]  # fmt: skip
    with pytest.raises(Unparseable) as refused:
        read("\n".join([good] * 501).encode(), "application/x-ndjson")
    assert refused.value.code == "items.too_many"


def read(body: bytes, content_type: str = "application/json") -> list[Item | Unreadable]:
    return canonical.parse(replace(PUSH, content_type=content_type), body)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
def test_a_number_of_five_thousand_digits_is_a_bad_item_and_nothing_else(content_type: str) -> None:
    good, bad = json.dumps(event()), json.dumps(event())[:-1] + ', "weight_g": ' + "9" * 5000 + "}"
    body = "\n".join([bad, good]) if "ndjson" in content_type else f'{{"events":[{bad},{good}]}}'
    flawed, item = read(body.encode(), content_type)
    assert isinstance(flawed, Unreadable)
    assert isinstance(item, Item)
