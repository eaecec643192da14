"""Whatever a sender signs is read, kept aside item by item, or refused as a whole: no document breaks a reader, none costs a neighbour."""

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.brands import NATIVE, canonical
from services.ingest.brands.base import BadSignature, Feed, Outcome, RawPush, Unparseable, Wire
from services.ingest.domain.items import Item, Unreadable, identify
from services.ingest.service import authenticate
from shared.calendar import SHANGHAI
from shared.contracts.scan import BRANDS
from shared.personal import has_control, is_personal
from tests.ingest_support import event

RECEIVED = datetime(2023, 7, 14, 9, 12, 4, tzinfo=SHANGHAI)
SECRET = b"s3cret-DEMO-0123"  # 16 bytes: it is an SM4 key, too
GONE = object()

scalars = (
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)


def mutated(sample: Any) -> st.SearchStrategy[Any]:
    """The sample with any one of its values, at any depth, replaced by anything or left out; or something else altogether."""
    return st.builds(_replaced, st.just(sample), st.sampled_from(list(_paths(sample))), st.just(GONE) | values)


def _paths(sample: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = sample.items() if isinstance(sample, dict) else enumerate(sample) if isinstance(sample, list) else ()
    for name, value in children:
        yield from _paths(value, (*path, name))


def _replaced(sample: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return None if value is GONE else value
    changed = sample.copy()
    if len(path) == 1 and value is GONE:
        del changed[path[0]]
    else:
        changed[path[0]] = _replaced(sample[path[0]], path[1:], value)
    return changed


def push(format_: str, body: bytes, content_type: str = "application/x-www-form-urlencoded", wire: Wire | None = None) -> RawPush:
    module = NATIVE.get(format_)
    feed = Feed("f", format_, tuple(module.BRANDS) if module else BRANDS, None, "live", 7200)
    headers = {name.lower(): value for name, value in wire.headers.items()} if wire else {}
    query, token = (dict(parse_qsl(wire.query)), wire.token) if wire else ({}, None)
    return RawPush(feed, body, content_type, RECEIVED, token, headers, query, [SECRET])


def sound(items: list[Item | Unreadable]) -> None:
    """Indexes are the items' places; what is read can be hashed and holds nothing that must stay inside."""
    assert [item.index for item in items] == list(range(len(items)))
    for item in items:
        if isinstance(item, Item):
            identified = identify(item, "live", "f", item.brand)
            assert len(identified.content) == 32
            assert item.scanned_at.isoformat() == item.scanned_text
            texts = [item.waybill_no, item.raw_action, item.site_code, item.site_name, item.goods, item.order_no]
            assert not any(has_control(text) for text in texts if text)
            assert not any(is_personal(text) for text in (item.site_name, item.goods) if text)
        else:
            assert item.code
            assert not has_control(item.pointer)


DOCUMENTS = {name: mutated(module.SAMPLE) for name, module in NATIVE.items()}


@pytest.mark.parametrize("format_", NATIVE)
@given(data=st.data())
def test_any_signed_document_is_read_or_refused(format_: str, data: st.DataObject) -> None:
    module, payload = NATIVE[format_], data.draw(DOCUMENTS[format_])
    if format_ == "yto":  # an XML of texts
        payload = {k: v for k, v in payload.items() if XML_TEXT.fullmatch(str(v))} if isinstance(payload, dict) else {}
    wire = module.sign(payload, SECRET)
    told = push(format_, wire.body, wire.content_type, wire)
    assert authenticate(module, told) == module.SCHEMES[0]
    with contextlib.suppress(Unparseable):
        sound(module.parse(told))
    assert module.acknowledge(told, Outcome.STORED, "m", [0]).status == 200


XML_TEXT = re.compile("[\\t\\n\\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


@pytest.mark.parametrize("format_", NATIVE)
@given(body=st.binary(max_size=200), content_type=st.sampled_from(["application/x-www-form-urlencoded", "application/json", ""]))
def test_any_bytes_are_refused_and_nothing_else(format_: str, body: bytes, content_type: str) -> None:
    with pytest.raises((BadSignature, Unparseable)):
        authenticate(NATIVE[format_], push(format_, body, content_type))


@given(st.lists(mutated(event(event_ref="e", goods="g", weight_g=1, retracts={"previous_action": "signed"})), max_size=4))
def test_any_batch_of_the_canonical_api_is_read_item_by_item(events: list[Any]) -> None:
    good = event(event_ref="neighbour")
    items = canonical.parse(push("canonical", b""), msgspec.json.encode({"events": [*events, good]}))
    sound(items)
    assert isinstance(items[-1], Item), "whatever stands before it, a good item is read"


@given(st.binary(max_size=200))
def test_any_bytes_are_no_batch(body: bytes) -> None:
    with pytest.raises(Unparseable):
        canonical.parse(push("canonical", b""), body)


@given(st.binary(max_size=60) | st.text(alphabet="%+&=aF09 é", max_size=40).map(str.encode))
def test_a_form_is_what_the_library_reads(body: bytes) -> None:
    told = push("zto", body)
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    if not body or len(dict(pairs)) != len(pairs):
        with pytest.raises(Unparseable):
            _ = told.form
    else:
        assert told.form == {name: value.encode("latin-1") for name, value in pairs}
