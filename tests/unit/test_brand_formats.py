"""What all senders' formats have in common: signatures over the exact bytes, what is refused as a whole, and what is told back."""

import json
from base64 import b64decode
from typing import Any
from urllib.parse import urlencode

import pytest

from services.ingest.brands import NATIVE, gongpei, kuaidi100, zto
from services.ingest.brands.base import (
    BadSignature,
    Outcome,
    Unparseable,
    hmac_base64,
    md5_base64,
    md5_hex_upper,
)
from services.ingest.domain.items import Item
from shared.contracts.scan import BRANDS
from tests.unit.brand_pushes import SECRET, pushed, signed


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


@pytest.mark.parametrize("ending", [b"&", b"&&", b"&note"])
def test_a_form_may_end_as_some_clients_end_it(ending: bytes) -> None:
    wire = zto.sign(zto.SAMPLE, SECRET)
    push = pushed("zto", wire.body.replace(b"&data_digest", b"&&data_digest") + ending)
    assert zto.verify(push, [SECRET]) == "digest"
    assert isinstance(zto.parse(push)[0], Item)


@pytest.mark.parametrize("given", ["", "é", "\x00", "=" * 5000, "rcFDxElzChC6BsjaPiEhQw"])
def test_a_hostile_signature_is_wrong_and_nothing_else(given: str) -> None:
    body = urlencode({"data": "{}", "data_digest": given or " "}).encode()
    with pytest.raises(BadSignature):
        zto.verify(pushed("zto", body), [SECRET])


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


def test_carriers_are_brands_of_the_programme() -> None:
    assert set(kuaidi100.CARRIERS.values()) <= set(BRANDS)
    assert set(gongpei.CARRIERS.values()) <= set(BRANDS)


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
