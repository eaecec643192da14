"""What all senders' formats have in common: signatures over the exact bytes, what is refused as a whole, and what is told back."""

import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from services.ingest.brands import NATIVE, pages, zto
from services.ingest.brands.base import TOKEN, BadSignature, Outcome, RawPush, Unparseable
from services.ingest.brands.wire import hmac_base64, md5_base64, md5_hex_upper
from services.ingest.domain.items import Item, Unreadable
from services.ingest.service import authenticate
from shared.contracts.scan import BRANDS, Action
from tests.unit.brand_pushes import FORM, SECRET, SM4_KEY, pushed, signed

SECRETS = {"ems": SM4_KEY}


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


def sample(format_: str, **more: Any) -> RawPush:
    return signed(format_, NATIVE[format_].SAMPLE, SECRETS.get(format_, SECRET), **more)


@pytest.mark.parametrize("format_", NATIVE)
def test_a_sample_verifies_with_any_living_secret_and_with_no_other(format_: str) -> None:
    secret, scheme = SECRETS.get(format_, SECRET), NATIVE[format_].SCHEMES[0]
    assert authenticate(NATIVE[format_], sample(format_, secrets=[b"newer-newer-newe", secret])) == scheme
    for secrets in ([], [b"newer"], [b"newer-newer-newe"], [secret + b" "]):
        with pytest.raises(BadSignature):
            authenticate(NATIVE[format_], sample(format_, secrets=secrets))


@pytest.mark.parametrize("format_", NATIVE)
def test_a_feed_may_fix_its_scheme(format_: str) -> None:
    module, secret = NATIVE[format_], SECRETS.get(format_, SECRET)
    for wanted in module.SCHEMES:
        push = sample(format_)
        other = replace(push, feed=replace(push.feed, signature=wanted))
        if wanted == module.SCHEMES[0]:
            assert authenticate(module, other) == wanted
        else:
            with pytest.raises(BadSignature):
                authenticate(module, other)
    if TOKEN in module.SCHEMES:
        unsigned = replace(sample(format_), headers={}, query={}, token=secret.decode())
        assert authenticate(module, unsigned) == TOKEN
        for given in ("", secret.decode() + " ", "é"):
            with pytest.raises(BadSignature):
                authenticate(module, replace(unsigned, token=given))


@pytest.mark.parametrize("format_", NATIVE)
def test_what_a_sample_says_is_what_the_page_says(format_: str) -> None:
    items = NATIVE[format_].parse(sample(format_))
    read = [(i.action, i.site_name, i.scanned_text) for i in items if isinstance(i, Item)]
    assert len(read) == len(items)
    assert (Action.STATION_INBOUND, "上王村便民服务点", "2023-07-14T09:12:03+08:00") in read
    assert {i.brand for i in items if isinstance(i, Item)} <= set(NATIVE[format_].BRANDS)


@pytest.mark.parametrize("format_", NATIVE)
def test_a_feed_of_another_brand_reads_nothing(format_: str) -> None:
    items = NATIVE[format_].parse(sample(format_, brands=("none of them",)))
    assert [i.code for i in items if isinstance(i, Unreadable)] == ["brand.not_in_feed"] * len(items)


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
        (b"\x00\xff", "form.no_data"),
        (b"data", "form.no_data"),
        (b"&&", "form.no_data"),
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
        ('{"a":1,"a":1}', "json.repeated_key"),
        ('{"a":{"b":[{"c":1, "c" :2}]}}', "json.repeated_key"),
    ],
)
@pytest.mark.parametrize("format_", NATIVE)
def test_json_that_cannot_be_read_is_refused_as_a_whole(format_: str, data: str, code: str) -> None:
    with pytest.raises(Unparseable) as refused:
        NATIVE[format_].parse(holding(format_, data))
    assert refused.value.code == (XML_CODES[code] if format_ == "yto" else code)


XML_CODES = {"json.invalid": "xml.invalid", "json.too_deep": "xml.invalid", "json.repeated_key": "xml.invalid"}


def holding(format_: str, text: str) -> RawPush:
    """A push of that format with this text where its document stands."""
    match format_:
        case "sf" | "jd" | "yunda":
            return pushed(format_, text.encode(), "application/json")
        case "ems":
            return pushed(format_, urlencode({"logitcsInterface": text}).encode(), token="t")
    fields = {
        "zto": "data", "yto": "logistics_interface", "sto": "content", "jt": "bizContent", "cainiao": "logistics_interface",
        "kuaidi100": "param", "kdniao": "RequestData", "gongpei": "data",
    }  # fmt: skip
    return pushed(format_, urlencode({fields[format_]: text, "dataDigest": "x", "appId": "x"}).encode())


DOCTYPE = '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        ("<a>", "xml.invalid"),
        ("<a>\x00</a>", "xml.invalid"),
        (f"{DOCTYPE}<a>&x;&z;</a>", "xml.doctype"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>', "xml.doctype"),
        ("<a>&undefined;</a>", "xml.invalid"),
        ("<a>" * 40 + "</a>" * 40, "xml.too_deep"),
        ("<a>" * 100_000 + "</a>" * 100_000, "xml.too_deep"),
    ],
)
@pytest.mark.parametrize("format_", ["sf", "yto", "cainiao"])
def test_xml_that_cannot_be_read_is_refused_as_a_whole(format_: str, xml: str, code: str) -> None:
    field = "content" if format_ == "sf" else "logistics_interface"
    with pytest.raises(Unparseable) as refused:
        NATIVE[format_].parse(pushed(format_, urlencode({field: xml}).encode()))
    assert refused.value.code == code


@pytest.mark.parametrize(("said", "sent"), [("", "gb18030"), ("; charset=gbk", "gb18030"), ("; charset=UTF-8", "utf-8"), ("", "utf-8")])
@pytest.mark.parametrize("format_", ["yto", "cainiao"])
def test_gbk_is_read_where_a_sender_writes_it(format_: str, said: str, sent: str) -> None:
    """The digest is over the bytes, whatever they stand for."""
    field = "logistics_interface"
    content = sample(format_).field(field).encode(sent)
    body = urlencode({field: content, "data_digest": md5_base64(content, SECRET)}).encode()
    push = pushed(format_, body, FORM + said.lower(), NATIVE[format_].BRANDS, secrets=[SECRET])
    assert authenticate(NATIVE[format_], push) == "digest"
    assert [i.site_name for i in NATIVE[format_].parse(push) if isinstance(i, Item)] == ["上王村便民服务点"]


def test_a_charset_that_no_sender_uses_is_refused() -> None:
    push = sample("zto")
    unsaid = pushed("zto", urlencode({"data": push.field("data").encode("gb18030")}).encode())  # ZTO writes UTF-8
    for refused in (unsaid, *(replace(push, content_type=f"{FORM}; charset={name}") for name in ("utf-16", "latin-1", ""))):
        with pytest.raises(Unparseable) as why:
            zto.parse(refused)
        assert why.value.code == "text.charset"


@pytest.mark.parametrize("format_", NATIVE)
def test_what_a_format_tells_are_brands_and_actions_of_the_programme(format_: str) -> None:
    assert set(NATIVE[format_].BRANDS) <= set(BRANDS)
    assert set(NATIVE[format_].CODES.values()) <= set(Action)


# answers (domain facts §1.1)
KDNIAO = {"EBusinessID": "1237100", "UpdateTime": "2023-07-14 09:12:04"}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.STORED, "<success>true</success></Response>"),
        (Outcome.FAILED, "<success>false</success><reason>m</reason></Response>"),
        (Outcome.RETRY, "<success>false</success><reason>m</reason></Response>"),
    ],
)
def test_yto_is_answered_in_xml_with_its_own_order(outcome: Outcome, expected: str) -> None:
    ack = NATIVE["yto"].acknowledge(sample("yto"), outcome, "m")
    begin = "<Response><logisticProviderID>YTO</logisticProviderID><txLogisticID>TC-20230714-1</txLogisticID>"
    assert (ack.content_type, ack.body.decode()) == ("application/xml", begin + expected)


@pytest.mark.parametrize("format_", NATIVE)
@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"{", b"<", b"a=b", "logistics_interface=é".encode("latin-1")])
def test_whatever_was_sent_can_be_answered(format_: str, body: bytes) -> None:
    for content_type in (FORM, "application/json", f"{FORM}; charset=none"):
        assert NATIVE[format_].acknowledge(pushed(format_, body, content_type), Outcome.FAILED, "m").status == 200


@pytest.mark.parametrize(
    ("format_", "outcome", "status", "expected"),
    [
        ("zto", Outcome.STORED, 200, {"status": True, "statusCode": "SYS000", "message": "m", "result": None}),
        ("zto", Outcome.FAILED, 200, {"status": False, "statusCode": "FAILED", "message": "m", "result": None}),
        ("zto", Outcome.RETRY, 503, {"status": False, "statusCode": "RETRY", "message": "m", "result": None}),
        ("sto", Outcome.STORED, 200, {"success": True, "errorCode": "", "errorMsg": "", "data": None}),
        ("sto", Outcome.FAILED, 200, {"success": False, "errorCode": "FAILED", "errorMsg": "m", "data": None}),
        ("sto", Outcome.RETRY, 503, {"success": False, "errorCode": "RETRY", "errorMsg": "m", "data": None}),
        ("yunda", Outcome.STORED, 200, {"result": "true", "code": "200", "remark": "", "data": ""}),
        ("yunda", Outcome.FAILED, 200, {"result": "false", "code": "500", "remark": "m", "data": ""}),
        ("yunda", Outcome.RETRY, 503, {"result": "false", "code": "503", "remark": "m", "data": ""}),
        ("jt", Outcome.STORED, 200, {"code": "1", "msg": "success", "data": "SUCCESS"}),
        ("jt", Outcome.FAILED, 200, {"code": "0", "msg": "m", "data": None}),
        ("jt", Outcome.RETRY, 503, {"code": "0", "msg": "m", "data": None}),
        ("sf", Outcome.STORED, 200, {"return_code": "0000", "return_msg": "m"}),
        ("sf", Outcome.FAILED, 200, {"return_code": "1000", "return_msg": "m"}),
        ("sf", Outcome.RETRY, 503, {"return_code": "1000", "return_msg": "m"}),
        ("jd", Outcome.STORED, 200, {"code": "200"}),
        ("jd", Outcome.FAILED, 200, {"code": "500", "msg": "m"}),
        ("jd", Outcome.RETRY, 503, {"code": "503", "msg": "m"}),
        ("ems", Outcome.STORED, 200, {"retCode": "00000", "retMsg": "m", "retBody": None, "success": True}),
        ("ems", Outcome.FAILED, 200, {"retCode": "00001", "retMsg": "m", "retBody": None, "success": False}),
        ("ems", Outcome.RETRY, 503, {"retCode": "00002", "retMsg": "m", "retBody": None, "success": False}),
        ("cainiao", Outcome.STORED, 200, {"success": True, "errorCode": "", "errorMsg": ""}),
        ("cainiao", Outcome.FAILED, 200, {"success": False, "errorCode": "S02", "errorMsg": "m"}),
        ("cainiao", Outcome.RETRY, 503, {"success": False, "errorCode": "S12", "errorMsg": "m"}),
        ("kuaidi100", Outcome.STORED, 200, {"result": True, "returnCode": "200", "message": "m"}),
        ("kuaidi100", Outcome.FAILED, 200, {"result": False, "returnCode": "500", "message": "m"}),
        ("kuaidi100", Outcome.RETRY, 503, {"result": False, "returnCode": "503", "message": "m"}),
        ("kdniao", Outcome.STORED, 200, KDNIAO | {"Success": True, "Reason": ""}),
        ("kdniao", Outcome.FAILED, 200, KDNIAO | {"Success": False, "Reason": "m"}),
        ("kdniao", Outcome.RETRY, 503, KDNIAO | {"Success": False, "Reason": "m"}),
        ("gongpei", Outcome.STORED, 200, {"success": True, "reason": "m"}),
        ("gongpei", Outcome.FAILED, 200, {"success": False, "reason": "m"}),
        ("gongpei", Outcome.RETRY, 503, {"success": False, "reason": "m"}),
    ],
)
def test_each_sender_is_answered_in_its_own_words(format_: str, outcome: Outcome, status: int, expected: dict[str, Any]) -> None:
    ack = NATIVE[format_].acknowledge(sample(format_), outcome, "m")
    assert (ack.status, ack.content_type, json.loads(ack.body)) == (status, "application/json", expected)


def test_the_page_is_what_the_modules_say() -> None:
    assert Path("docs/brands.md").read_text(encoding="utf-8") == pages.page(), "run: python -m services.ingest.brands.pages"
