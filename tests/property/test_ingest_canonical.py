"""A body of the canonical API is read at once where nothing in it is wrong: each of its items is what it would be alone."""

from datetime import datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.brands import canonical
from services.ingest.brands.base import Feed, RawPush
from services.ingest.domain.items import Item

FEED = Feed("f", "canonical", ("zto", "yto"), None, "live", 7200)
RECEIVED = datetime.fromisoformat("2023-07-14T09:12:04+08:00")
GOOD: dict[str, list[Any]] = {
    "brand": ["zto", "yto"],
    "waybill_no": ["73100196611386", "yt-0001", "AbCd"],
    "action": ["station_inbound", "signed"],
    "scanned_at": ["2023-07-14T09:12:03+08:00", "2023-02-28T00:00:00+08:00"],
    "raw_action": ["INBOUND", "入库", None],
    "event_ref": ["e1", "e2", None],
    "site_code": ["S1", None],
    "site_name": ["上王村便民服务点", "X", None],
    "origin": ["140827100200", None],
    "destination": ["140827100201", None],
    "goods": ["花椒", None],
    "order_no": ["20230714000123456", None],
    "weight_g": [0, 1, 10_000_000, None],
}
ODD: dict[str, list[Any]] = {
    "brand": ["sf"],
    "waybill_no": ["a b c", "运单运单", "ab|cd"],
    "scanned_at": [
        "2023-02-30T09:12:03+08:00", "2023-07-14T25:12:03+08:00", "2023-07-14T01:12:03Z", "2023-07-14T09:12:03.5+08:00",
        "2023-07-14 09:12:03+08:00", "2023-07-14T09:12:03+08:0", "02023-07-14T09:12:03+08:00", "2014-12-31T23:59:59+08:00",
        "2023-07-15T09:12:05+08:00", "2023-07-14T09:12:03+00:00", "2023-07-14T09:12:03|08:00",
    ],
    "raw_action": ["13800138000"],
    "site_code": ["13800138000"],
    "site_name": ["张三13800138000", "甲\u202e"],
    "origin": ["14082710020X"],
    "destination": ["１４０８２７１００２００"],
    "goods": ["0359-6022222"],
    "order_no": ["13800138000"],
}  # fmt: skip


def event(values: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    required = {name: st.sampled_from(values[name]) for name in ("brand", "waybill_no", "action", "scanned_at")}
    return st.fixed_dictionaries(required, optional={name: st.sampled_from(of) for name, of in values.items() if name not in required})


good, any_ = event(GOOD), event({name: of + ODD.get(name, []) for name, of in GOOD.items()})


def told(events: list[dict[str, Any]], content_type: str = "application/json") -> Any:
    lines = [msgspec.json.encode(e) for e in events]
    whole = b'{"events":[' + b",".join(lines) + b"]}"
    return canonical.parse(RawPush(FEED, b"", content_type, RECEIVED), b"\n".join(lines) if "nd" in content_type else whole)


@given(st.lists(good, max_size=6), st.lists(any_, max_size=1))
def test_read_at_once_an_item_is_what_it_is_alone(events: list[dict[str, Any]], odd: list[dict[str, Any]]) -> None:
    assert told(events + odd) == told(events + odd, "application/x-ndjson")


@given(good)
def test_nothing_is_wrong_with_a_good_one(one: dict[str, Any]) -> None:
    assert all(isinstance(item, Item) for item in told([one, one]))
