"""`api.md` §2's examples, the rules of §1, who may do what, and what bad input is answered with."""

import gzip
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.embedded.installation import Dsns
from services.ingest.brands import gongpei, kuaidi100, webhook, yunda, zto
from services.ingest.brands.wire import hmac_base64, md5_base64
from services.ingest.domain.items import MAX_BODY_BYTES
from shared.auth import ROLES, TENANT_ROLES
from shared.keyring import Keyring
from tests.ingest_support import Ingest, event, running

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
async def ingest(make_database: Callable[[str], Awaitable[Dsns]], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running(tmp_path_factory.mktemp("contract"), await make_database("ingest")) as started:
        await started.feed("canon", "canonical", ["zto"], namespace="gp")
        yield started


def shape(value: Any) -> Any:
    """Field names and JSON types; null and text of the same field count as one (`null` means unknown)."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "scalar" if value is None or isinstance(value, str) else type(value).__name__


SCANS = {
    "events": [
        {
            "event_ref": None, "brand": "zto", "waybill_no": "73100196611386", "action": "station_inbound", "raw_action": "INBOUND",
            "scanned_at": "2023-07-14T09:12:03+08:00", "site_code": None, "site_name": "上王村便民服务点", "origin": None,
            "destination": "140827100200", "goods": None, "order_no": None, "weight_g": 850, "retracts": None,
        }
    ]
}  # fmt: skip
RECEIPT = {
    "receipt_id": "rcp_a3", "feed": "gongpei-yuanqu", "received_at": "2023-07-14T09:12:04+08:00",
    "counts": {"received": 1, "accepted": 1, "duplicate": 0, "conflict": 0, "quarantined": 0, "rejected": 0},
    "items": [{"index": 0, "verdict": "accepted", "event_id": "6f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e", "code": None, "pointer": None}],
}  # fmt: skip
AS_OF = {
    "valid_at": None, "known_at": "2023-08-01T08:00:00+08:00", "watermark": None, "revision": None, "registry_revision": None,
    "pending_reassessments": None,
    "set_aside": None,
}  # fmt: skip


async def test_scans_and_its_receipt(ingest: Ingest) -> None:
    answer = await ingest.client.post("/v1/scans", json=SCANS, headers=ingest.bearer("brand", ("feed", "canon")))
    assert answer.status_code == 200
    told = answer.json()
    assert shape(told) == shape(RECEIPT)
    assert (told["feed"], told["counts"], told["received_at"][-6:]) == ("canon", RECEIPT["counts"], "+08:00")
    assert answer.headers["receipt-id"] == told["receipt_id"]
    looked = await ingest.client.get(f"/v1/receipts/{told['receipt_id']}", headers=ingest.bearer("auditor"))
    assert looked.json() == told, "a receipt is the same body, whenever it is looked up"


async def test_a_feed_is_made_shown_listed_rotated_and_switched(ingest: Ingest) -> None:
    admin = ingest.bearer("admin")
    body = {"feed": "zto-yuanqu", "format": "zto", "brands": ["zto"], "site_namespace": None, "mode": "sandbox", "silence_after_s": 7200}
    made = await ingest.client.post("/v1/feeds", json=body, headers=admin)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/feeds/zto-yuanqu")
    settings = {"signature": None, "allow_from": None}
    example = body | settings | {"push_url": "/v1/push/zto-yuanqu", "secret": made.json()["secret"], "secret_id": made.json()["secret_id"]}
    assert made.json() == example
    assert len(made.json()["secret"]) >= 32
    again = await ingest.client.post("/v1/feeds", json=body, headers=admin)
    assert (again.status_code, again.json()["code"]) == (409, "feed.exists")
    shown = (await ingest.client.get("/v1/feeds/zto-yuanqu", headers=admin)).json()
    assert shown == {k: v for k, v in example.items() if not k.startswith("secret")} | {"as_of": shown["as_of"]}
    assert shape(shown["as_of"]) == shape(AS_OF)
    assert "secret" not in (await ingest.client.get("/v1/feeds", headers=admin)).text
    rotated = (await ingest.client.post("/v1/feeds/zto-yuanqu/secret", headers=admin)).json()
    for secret in (made.json()["secret"], rotated["secret"]):
        assert (await ingest.push("zto-yuanqu", "zto", zto.SAMPLE, secret)).json()["status"] is True, "both are good while they overlap"
    async with ingest.database.write() as tx:
        await tx.execute("update feed_secret set retires_at = now() where retires_at is not null")
    await ingest.client.post("/v1/feeds/zto-yuanqu/secret", headers=admin)
    assert (await ingest.push("zto-yuanqu", "zto", zto.SAMPLE, made.json()["secret"])).json()["status"] is False
    assert (await ingest.push("zto-yuanqu", "zto", zto.SAMPLE, rotated["secret"])).json()["status"] is True
    paused = await ingest.client.patch("/v1/feeds/zto-yuanqu", json={"mode": "paused"}, headers=admin)
    assert paused.json()["mode"] == "paused"
    refused = await ingest.push("zto-yuanqu", "zto", zto.SAMPLE, rotated["secret"])
    assert (refused.status_code, refused.json()["status"], "paused" in refused.json()["message"]) == (200, False, True)


async def test_a_rotation_revokes_at_once_where_it_is_told_to(ingest: Ingest) -> None:
    admin = ingest.bearer("admin")
    first = await ingest.feed("leaked", "zto", ["zto"])
    second = (await ingest.client.post("/v1/feeds/leaked/secret", headers=admin)).json()
    third = (await ingest.client.post("/v1/feeds/leaked/secret", json={"overlap_s": 0}, headers=admin)).json()
    assert (second["overlap_s"], third["overlap_s"]) == (86400, 0)
    pushed = [(await ingest.push("leaked", "zto", zto.SAMPLE, s)).json()["status"] for s in (first, second["secret"], third["secret"])]
    assert pushed == [False, False, True]
    for wrong in ({"overlap_s": -1}, {"overlap_s": "0"}, {"overlap": 0}, {"secret": "a b"}):
        refused = await ingest.client.post("/v1/feeds/leaked/secret", json=wrong, headers=admin)
        assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid"), wrong


async def test_a_sender_keeps_its_own_secret_which_is_never_shown_again(ingest: Ingest) -> None:
    admin, own = ingest.bearer("admin"), "appSecret/of+ZTO~1"
    made = await ingest.client.post("/v1/feeds", json={"feed": "own", "format": "zto", "brands": ["zto"], "secret": own}, headers=admin)
    assert (made.status_code, made.json()["secret"]) == (201, own)
    assert (await ingest.push("own", "zto", zto.SAMPLE, own)).json()["status"] is True
    await ingest.client.post("/v1/feeds/own/secret", json={"secret": "n" * 256, "overlap_s": 0}, headers=admin)
    assert (await ingest.push("own", "zto", zto.SAMPLE, "n" * 256)).json()["status"] is True
    assert (await ingest.push("own", "zto", zto.SAMPLE, own)).json()["status"] is False
    for url in ("/v1/feeds/own", "/v1/feeds"):
        shown = (await ingest.client.get(url, headers=admin)).text
        assert own not in shown
        assert "n" * 256 not in shown


async def test_a_canonical_feed_has_no_secret_to_rotate(ingest: Ingest) -> None:
    refused = await ingest.client.post("/v1/feeds/canon/secret", headers=ingest.bearer("admin"))
    assert (refused.status_code, refused.json()["code"]) == (409, "feed.no_secret")


async def test_lists_pin_their_pages(ingest: Ingest) -> None:
    names: list[str] = []
    url = "/v1/feeds?limit=1"
    while url:
        page = await ingest.client.get(url, headers=ingest.bearer("admin"))
        names += [item["feed"] for item in page.json()["items"]]
        assert (page.json()["next_cursor"] is None) == ("next" not in page.links)
        url = page.links["next"]["url"] if "next" in page.links else ""
    assert names == sorted(set(names))
    assert "canon" in names


async def test_a_get_has_an_etag_over_all_but_as_of(ingest: Ingest) -> None:
    first = await ingest.client.get("/v1/feeds/canon", headers=ingest.bearer("admin"))
    again = await ingest.client.get("/v1/feeds/canon", headers=ingest.bearer("admin") | {"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_completeness_and_quarantine_have_the_documented_fields(ingest: Ingest) -> None:
    await ingest.scans("canon", event(), event(weight_g="heavy"))
    day = {
        "feed": "zto-yuanqu", "mode": "live", "received_date": "2023-07-14",
        "pushes": {"received": 433, "unauthenticated": 2, "unparseable": 1, "paused": 0},
        "events": {"received": 430, "accepted": 401, "duplicate": 25, "conflict": 1, "quarantined": 2, "rejected": 1},
        "redriven": 0, "remapped": 0, "declared_events": None, "balanced": True,
    }  # fmt: skip
    page = (await ingest.client.get("/v1/completeness?feed=canon", headers=ingest.bearer("auditor"))).json()
    assert shape(page) == shape({"items": [day], "unpublished_events": 0, "next_cursor": None, "as_of": AS_OF})
    future = await ingest.client.get("/v1/completeness?from=2099-01-01&to=2099-02-01", headers=ingest.bearer("auditor"))
    assert future.json()["items"] == []
    secret = await ingest.feed("gp-shape", "gongpei", ["zto"])
    await ingest.push("gp-shape", "gongpei", [gongpei.SAMPLE[0] | {"scanTime": "never"}], secret)
    item = {
        "quarantine_id": "qua_9", "receipt_id": "rcp_a3", "feed": "zto-yuanqu", "index": 0, "code": "time.unreadable",
        "pointer": "/actionTime", "received_at": "2023-07-14T09:12:04+08:00", "status": "open",
    }  # fmt: skip
    kept = (await ingest.client.get("/v1/quarantine?feed=gp-shape", headers=ingest.bearer("coordinator"))).json()
    assert shape(kept) == shape({"items": [item], "next_cursor": None, "as_of": AS_OF})
    log = (await ingest.client.get("/v1/log/0?limit=1", headers=ingest.bearer("auditor"))).json()
    assert set(log) == {"items", "next_position", "head", "origin"}
    assert all(set(i) == {"position", "appended_at", "value", "chain"} for i in log["items"])


# who may do what
OPERATIONS = [
    ("POST", "/v1/scans", "scans:write"),
    ("GET", "/v1/receipts/rcp_a", "receipts:read"),
    ("GET", "/v1/completeness", "completeness:read"),
    ("GET", "/v1/quarantine", "quarantine:read"),
    ("GET", "/v1/quarantine/qua_1", "quarantine:read"),
    ("POST", "/v1/quarantine/redrive", "quarantine:work"),
    ("POST", "/v1/quarantine/dismiss", "quarantine:work"),
    ("POST", "/v1/files", "scans:write"),
    ("PUT", "/v1/feeds/canon/columns", "feeds:write"),
    ("GET", "/v1/feeds/canon/columns", "feeds:read"),
    ("POST", "/v1/manifests", "scans:write"),
    ("GET", "/v1/manifests/canon/2023-07-14", "receipts:read"),
    ("POST", "/v1/feeds", "feeds:write"),
    ("GET", "/v1/feeds", "feeds:read"),
    ("GET", "/v1/feeds/canon", "feeds:read"),
    ("POST", "/v1/feeds/canon/secret", "feeds:write"),
    ("PATCH", "/v1/feeds/canon", "feeds:write"),
    ("GET", "/v1/feeds/canon/health", "feeds:read"),
    ("POST", "/v1/feeds/canon/signature-check", "receipts:read"),
    ("POST", "/v1/feeds/canon/remap", "feeds:write"),
    ("PUT", "/v1/log/consumers/x", "log:report"),
    ("GET", "/v1/log/consumers", "log:read"),
    ("DELETE", "/v1/log/consumers/x", "log:admin"),
    ("GET", "/v1/log/0", "log:read"),
    ("POST", "/v1/log/0/reopen", "log:admin"),
]


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_what_its_scopes_say_and_nothing_else(ingest: Ingest, role: str) -> None:
    for method, url, scope in OPERATIONS:
        claim = (TENANT_ROLES[role][0], "nobody") if role in TENANT_ROLES else None
        answer = await ingest.client.request(method, url, headers=ingest.bearer(role, claim), content=b"{}")
        assert (answer.status_code == 403 and answer.json()["code"] == "scope.missing") == (scope not in ROLES[role]), (method, url)
        assert answer.status_code < 500


async def test_without_a_token_nothing_but_a_signed_push_is_taken(ingest: Ingest) -> None:
    for method, url, _ in OPERATIONS:
        assert (await ingest.client.request(method, url, content=b"{}")).status_code == 401, (method, url)


async def test_every_operation_of_the_openapi_is_in_the_matrix_and_declares_its_scope(ingest: Ingest) -> None:
    document = (await ingest.client.get("/openapi.json")).json()
    native = {"/v1/push/{feed}", "/v1/push/{feed}/{token}"}  # the signature is their authentication
    declared = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            scopes = {s for requirement in operation.get("security", []) for names in requirement.values() for s in names}
            assert len(scopes) == (path not in native), (method, path)
            declared |= {(method.upper(), s) for s in scopes}
    assert declared == {(method, scope) for method, _, scope in OPERATIONS}


async def test_the_scans_schema_of_the_openapi_takes_the_example(ingest: Ingest) -> None:
    document = (await ingest.client.get("/openapi.json")).json()
    where = "#/paths/~1v1~1scans/post/requestBody/content/application~1json/schema"
    jsonschema.Draft202012Validator(document | {"$ref": where}).validate(SCANS)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(document | {"$ref": where}).validate({"events": [event(retracts=1)]})


TENANTS = [
    (("feed", "canon"), True), (("brand", "zto"), True), (("feed", "other"), False), (("brand", "yto"), False),
]  # fmt: skip


async def test_another_tenants_rows_are_not_there(ingest: Ingest) -> None:
    mine = (await ingest.scans("canon", event(event_ref="mine"))).json()["receipt_id"]
    for claim, sees in TENANTS:
        looked = await ingest.client.get(f"/v1/receipts/{mine}", headers=ingest.bearer("brand", claim))
        assert looked.status_code == (200 if sees else 404), claim
        days = await ingest.client.get("/v1/completeness?feed=canon", headers=ingest.bearer("brand", claim))
        assert bool(days.json()["items"]) == sees, claim


# bad input: a clear answer, nothing lost, never a 5xx
async def post(ingest: Ingest, content: bytes, **headers: str) -> Any:
    return await ingest.client.post("/v1/scans", content=content, headers=ingest.bearer("brand", ("feed", "canon")) | headers)


GOOD = json.dumps(SCANS).encode()


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"", {}, 400, "json.invalid"),
        (b"\x00", {}, 400, "json.invalid"),
        (b"\xff\xfe", {}, 400, "json.invalid"),
        (b"[" * 100_000, {}, 400, "json.too_deep"),
        (b'{"events":' + b"[" * 5_000 + b"]" * 5_000 + b"}", {}, 400, "json.too_deep"),
        (b'{"event":[]}', {}, 422, "body.shape"),
        (json.dumps({"events": [event()] * 501}).encode(), {}, 422, "items.too_many"),
        (b" " * (1 << 20) + b"{}", {}, 413, "body.too_large"),
        (b" " * (5 << 20), {}, 413, "body.too_large"),
        (gzip.compress(b" " * (200 << 20)), {"content-encoding": "gzip"}, 413, "body.too_large"),
        (gzip.compress(GOOD)[:-4], {"content-encoding": "gzip"}, 400, "body.encoding"),
        (gzip.compress(GOOD) + b"more", {"content-encoding": "gzip"}, 400, "body.encoding"),
        (b"no gzip", {"content-encoding": "gzip"}, 400, "body.encoding"),
        (GOOD, {"content-encoding": "br"}, 415, "body.encoding_unknown"),
    ],
)
async def test_a_batch_that_cannot_be_read(ingest: Ingest, content: bytes, headers: dict[str, str], status: int, code: str) -> None:
    answer = await post(ingest, content, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["trace_id"]
    english = await post(ingest, content, **headers, **{"accept-language": "en"})
    assert english.json()["detail"] != answer.json()["detail"]


async def test_a_gzipped_batch_is_taken(ingest: Ingest) -> None:
    assert (await post(ingest, gzip.compress(GOOD), **{"content-encoding": "gzip"})).status_code == 200


async def test_hostile_items_are_rejected_alone(ingest: Ingest) -> None:
    hostile: list[Any] = [
        event(site_name="\x00"), event(weight_g=10**30), event(waybill_no=["x"]), event(scanned_at="2023-13-01T00:00:00Z"), 7, None, [],
        {"a": {"b": {"c": {}}}}, event(site_name="x" * 10_000), event(brand="\x00"), event(action=None), {},
    ]  # fmt: skip
    answer = (await ingest.scans("canon", *hostile, event(event_ref="neighbour"))).json()
    assert [item["verdict"] for item in answer["items"]] == ["rejected"] * len(hostile) + ["accepted"]
    assert all(item["code"] and item["pointer"].startswith(f"/events/{item['index']}") for item in answer["items"][:-1])


async def test_a_number_beyond_all_bounds_is_rejected_alone(ingest: Ingest) -> None:
    answer = await post(ingest, b'{"events":[{"weight_g":1e999},' + GOOD[len(b'{"events": [') :])
    assert [item["verdict"] for item in answer.json()["items"]] == ["rejected", "duplicate"]


async def test_a_token_must_name_a_canonical_feed_that_takes_pushes(ingest: Ingest) -> None:
    await ingest.feed("native", "zto", ["zto"])
    await ingest.feed("asleep", "canonical", ["zto"], mode="paused")
    for claim, status, code in [
        (None, 401, "token.invalid"), (("brand", "zto"), 403, "token.no_feed"), (("feed", "nobody"), 404, "feed.unknown"),
        (("feed", "native"), 409, "feed.format"), (("feed", "asleep"), 409, "feed.paused"),
    ]:  # fmt: skip
        answer = await ingest.client.post("/v1/scans", json=SCANS, headers=ingest.bearer("brand", claim))
        assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "body.empty"),
        (b"\x00\xff\xfe", "form.no_data"),
        (b"data=%00", "form.no_data_digest"),
        (b"x" * ((1 << 20) + 1), "body.too_large"),
        (b"x" * (5 << 20), "body.too_large"),
        (urlencode({"data": "{", "data_digest": md5_base64(b"{", b"SECRET")}).encode(), "json.invalid"),
        (urlencode({"data": "[" * 99 + "]" * 99, "data_digest": md5_base64(b"[" * 99 + b"]" * 99, b"SECRET")}).encode(), "json.too_deep"),
        (urlencode({"data": "{}", "data_digest": "wrong"}).encode(), "signature"),
    ],
)
async def test_a_native_push_that_cannot_be_read_gets_its_senders_failure_body_and_is_counted(
    ingest: Ingest, content: bytes, word: str
) -> None:
    name = f"refuses-{abs(hash(content)) % 10**9}"
    secret = await ingest.feed(name, "zto", ["zto"])
    if b"data_digest" in content and word.startswith("json"):
        data = "{" if word == "json.invalid" else "[" * 99 + "]" * 99
        content = urlencode({"data": data, "data_digest": md5_base64(data.encode(), secret.encode())}).encode()
    answer = await ingest.client.post(f"/v1/push/{name}", content=content, headers=FORM)
    assert (answer.status_code, answer.json()["status"]) == (200, False)
    assert word in answer.json()["message"]
    assert answer.headers["receipt-id"].startswith("rcp_")
    (day,) = (await ingest.client.get(f"/v1/completeness?feed={name}", headers=ingest.bearer("auditor"))).json()["items"]
    kind = "unauthenticated" if word == "signature" else "unparseable"
    assert day["pushes"] == {"received": 1, "unauthenticated": 0, "unparseable": 0, "paused": 0} | {kind: 1}


async def test_a_couriers_address_may_carry_a_query_of_its_own(ingest: Ingest) -> None:
    secret = await ingest.feed("zto-query", "zto", ["zto"])
    wire = zto.sign(zto.SAMPLE, secret.encode())
    answer = await ingest.client.post("/v1/push/zto-query?from=gateway", content=wire.body, headers={"content-type": wire.content_type})
    assert (answer.status_code, answer.json()["status"]) == (200, True)


async def test_a_push_address_that_is_none_is_404(ingest: Ingest) -> None:
    for name in ("nobody", "canon", "zto%00", "a" * 64, "native/sometoken"):
        answer = await ingest.client.post(f"/v1/push/{name}", content=b"data=1", headers=FORM)
        assert answer.status_code in (404, 422), name
        assert answer.headers["content-type"] == "application/problem+json"


async def test_kuaidi100_may_push_to_a_secret_address(ingest: Ingest) -> None:
    secret = await ingest.feed("k-token", "kuaidi100", ["zto"])
    body = urlencode({"param": json.dumps(kuaidi100.SAMPLE)}).encode()
    assert (await ingest.client.post(f"/v1/push/k-token/{secret}", content=body, headers=FORM)).json()["result"] is True
    assert (await ingest.client.post("/v1/push/k-token/guess", content=body, headers=FORM)).json()["result"] is False
    assert (await ingest.client.post("/v1/push/k-token", content=body, headers=FORM)).json()["result"] is False


async def test_scanners_may_send_json(ingest: Ingest) -> None:
    secret = await ingest.feed("gp-json", "gongpei", ["zto"])
    data = json.dumps(gongpei.SAMPLE)
    envelope = {"data": data, "dataDigest": hmac_base64(data.encode(), secret.encode()), "appId": "vendor"}
    assert (await ingest.client.post("/v1/push/gp-json", json=envelope)).json()["success"] is True


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"feed": "Näme"}, "/feed"), ({"feed": "a/b"}, "/feed"), ({"format": "telegram"}, "/format"), ({"brands": ["ups"]}, "/brands"),
        ({"brands": []}, "/brands"), ({"brands": ["zto", "zto"]}, "/brands"), ({"mode": "on"}, "/mode"),
        ({"silence_after_s": "7200"}, "/silence_after_s"),
        ({"silence_after_s": 1}, "/silence_after_s"), ({"site_namespace": "\x00"}, "/site_namespace"), ({"more": 1}, "/more"),
        ({"secret": ""}, "/secret"), ({"secret": "a b"}, "/secret"), ({"secret": "密钥"}, "/secret"), ({"secret": "x" * 257}, "/secret"),
        ({"secret": "x\n"}, "/secret"), ({"secret": "own", "format": "canonical"}, "/secret"),
    ],
)  # fmt: skip
async def test_a_feed_with_a_mistake_says_where(ingest: Ingest, change: dict[str, Any], pointer: str) -> None:
    body = {"feed": "new-feed", "format": "zto", "brands": ["zto"]} | change
    answer = await ingest.client.post("/v1/feeds", json=body, headers=ingest.bearer("admin"))
    assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "url",
    [
        "/v1/completeness?from=yesterday", "/v1/completeness?limit=0", "/v1/completeness?limit=1001", "/v1/completeness?cursor=x",
        "/v1/completeness?cursor=eyJhZnRlciI6WzFdfQ", "/v1/quarantine?from=2023-07-14", "/v1/quarantine?cursor=eyJiZWZvcmUiOiJ4In0",
        "/v1/quarantine?feed=%00", "/v1/feeds?cursor=eyJmZWVkIjoxfQ", "/v1/receipts/nonsense", "/v1/log/x", "/v1/log/-1",
        "/v1/log/0?from_position=-1", "/v1/log/0?from_position=99999999999999999999", "/v1/quarantine?feed=nobody",
        "/v1/completeness?feed=canon,nobody", "/v1/completeness?fede=canon", "/v1/feeds/canon?verbose=1",
        "/v1/completeness?from=2023-07-02&to=2023-07-01", "/v1/completeness?from=2023-07-01&to=2023-07-01",
        "/v1/quarantine?from=2023-07-02T00:00:00%2B08:00&to=2023-07-01T00:00:00%2B08:00",
    ],
)  # fmt: skip
async def test_a_query_with_a_mistake_is_422(ingest: Ingest, url: str) -> None:
    answer = await ingest.client.get(url, headers=ingest.bearer("admin"))
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text


async def test_a_write_with_a_query_that_it_does_not_know_writes_nothing(ingest: Ingest) -> None:
    body = {"feed": "dry-run", "format": "zto", "brands": ["zto"]}
    answer = await ingest.client.post("/v1/feeds?dry_run=1", json=body, headers=ingest.bearer("admin"))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#query/dry_run")
    assert (await ingest.client.get("/v1/feeds/dry-run", headers=ingest.bearer("admin"))).status_code == 404


async def test_a_tenant_does_not_learn_which_feeds_there_are(ingest: Ingest) -> None:
    for name in ("canon", "nobody"):
        answer = await ingest.client.get(f"/v1/quarantine?feed={name}", headers=ingest.bearer("brand", ("brand", "yto")))
        assert (answer.status_code, answer.json()["items"]) == (200, [])


async def test_a_push_that_is_too_large_is_told_the_limit(ingest: Ingest) -> None:
    await ingest.feed("large", "zto", ["zto"])
    answer = await ingest.client.post("/v1/push/large", content=b"x" * (5 << 20), headers=FORM)
    assert "1048576 bytes" in answer.json()["message"]


async def test_scans_come_as_lines_too(ingest: Ingest) -> None:
    await ingest.feed("lines", "canonical", ["zto"])
    lines = "\n".join([json.dumps(event(event_ref="l1")), json.dumps(event(event_ref="l2", scanned_at="never")), ""]).encode()
    headers = ingest.bearer("brand", ("feed", "lines")) | {"content-type": "application/x-ndjson"}
    for encoding, body in (("identity", lines), ("gzip", gzip.compress(lines))):
        answer = await ingest.client.post("/v1/scans", content=body, headers=headers | {"content-encoding": encoding})
        told = [(i["verdict"], i["code"], i["pointer"]) for i in answer.json()["items"]]
        first = "accepted" if encoding == "identity" else "duplicate"
        assert told == [(first, None, None), ("rejected", "time.unreadable", "/events/1/scanned_at")]


async def test_scans_of_another_content_type_are_415(ingest: Ingest) -> None:
    answer = await post(ingest, GOOD, **{"content-type": "text/csv"})
    assert (answer.status_code, answer.json()["code"]) == (415, "body.not_json")


async def test_bodies_are_encrypted_and_persons_stay_inside(ingest: Ingest) -> None:
    secret = await ingest.feed("private", "zto", ["zto"])
    person = zto.SAMPLE | {"courier": "张三丰", "courierPhone": "13812345678", "desc": "张三丰 13812345678"}
    receipt = (await ingest.push("private", "zto", person, secret)).headers["receipt-id"]
    async with ingest.database.read() as read:
        row = await read.fetchrow("select key_id, body, flaws from push where receipt_id = $1", receipt)
    assert row is not None
    plain = Keyring.load(ingest.settings.keyring).decrypt(row["key_id"], row["body"], f"push|{receipt}".encode())
    assert b"13812345678" in plain
    for stored in (row["body"], row["flaws"], *await ingest.log()):
        assert b"13812345678" not in stored
        assert "张三丰".encode() not in stored


async def test_a_feeds_settings_change_one_by_one(ingest: Ingest) -> None:
    secret = await ingest.feed("settings", "yunda", ["yunda"])
    for wish in ({"signature": "token"}, {"silence_after_s": 60}, {"allow_from": ["203.0.113.0/24", "2001:db8::/32"]}, {"mode": "paused"}):
        changed = await ingest.client.patch("/v1/feeds/settings", json=wish, headers=ingest.bearer("admin"))
        assert changed.status_code == 200, changed.text
        assert changed.json().items() >= wish.items()
    refusals: list[tuple[dict[str, Any], str]] = [
        ({}, "patch.empty"),
        ({"mode": None}, "literal_error"),
        ({"signature": "hmac"}, "signature.unknown"),
        ({"allow_from": ["203.0.113.1/24"]}, "network.invalid"),
        ({"allow_from": []}, "too_short"),
    ]
    for wish, code in refusals:
        refused = await ingest.client.patch("/v1/feeds/settings", json=wish, headers=ingest.bearer("admin"))
        assert refused.status_code == 422
        assert code in refused.text
    nothing_else = await ingest.client.patch(
        "/v1/feeds/settings", json={"mode": "live", "allow_from": None}, headers=ingest.bearer("admin")
    )
    assert (nothing_else.json()["silence_after_s"], nothing_else.json()["signature"]) == (60, "token")
    refused = await ingest.push("settings", "yunda", yunda.SAMPLE, secret)
    assert refused.json()["result"] == "false", "signed, but the feed takes the secret address alone"
    taken = await ingest.client.post(f"/v1/push/settings/{secret}", json=yunda.SAMPLE)
    assert taken.json()["result"] == "true"


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({"format": "zto", "brands": ["sf"]}, "/brands"),
        ({"format": "ems", "brands": ["ems", "chinapost"]}, "/brands"),
        ({"format": "zto", "signature": "token"}, "/signature"),
        ({"format": "canonical", "signature": "digest"}, "/signature"),
        ({"format": "ems", "brands": ["ems"], "secret": "no SM4 key"}, "/secret"),
    ],
)
async def test_a_feed_that_could_not_be_is_not_made(ingest: Ingest, wish: dict[str, Any], pointer: str) -> None:
    body = {"feed": "impossible", "brands": ["zto"], "mode": "sandbox"} | wish
    if body.get("secret"):
        body["secret"] = "no-SM4-key"
    refused = await ingest.client.post("/v1/feeds", json=body, headers=ingest.bearer("admin"))
    assert (refused.status_code, [e["pointer"] for e in refused.json()["errors"]]) == (422, [pointer])
    assert (await ingest.client.get("/v1/feeds/impossible", headers=ingest.bearer("admin"))).status_code == 404


async def test_a_feed_takes_pushes_from_its_networks_alone(ingest: Ingest) -> None:
    """The test's client is 127.0.0.1."""
    secret = await ingest.feed("fenced", "zto", ["zto"])
    await ingest.feed("fenced-canonical", "canonical", ["zto"])
    for networks, taken in ((["203.0.113.0/24"], False), (["203.0.113.0/24", "127.0.0.0/8"], True), (None, True)):
        for feed in ("fenced", "fenced-canonical"):
            await ingest.client.patch(f"/v1/feeds/{feed}", json={"allow_from": networks}, headers=ingest.bearer("admin"))
        answer = await ingest.push("fenced", "zto", zto.SAMPLE, secret)
        assert answer.json()["status"] is taken
        canonical = await ingest.scans("fenced-canonical", event())
        assert (canonical.status_code, canonical.json().get("code")) == ((200, None) if taken else (403, "feed.address"))
    days = (await ingest.client.get("/v1/completeness?feed=fenced", headers=ingest.bearer("auditor"))).json()["items"]
    assert [(d["pushes"]["received"], d["pushes"]["unauthenticated"]) for d in days] == [(3, 1)]


async def test_signed_pushes_of_the_canonical_api(ingest: Ingest) -> None:
    """Both kinds of key while they change over; the signature is kept with the push; whatever is wrong is one and the same 401."""
    admin = ingest.bearer("admin")
    body = {"feed": "signed", "format": "canonical", "brands": ["zto"], "mode": "live", "signature": "webhook"}
    made = (await ingest.client.post("/v1/feeds", json=body, headers=admin)).json()
    assert (made["push_url"], made["secret"][:6]) == ("/v1/push/signed", "whsec_")
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + b64encode(private.public_key().public_bytes_raw()).decode()
    assert (await ingest.client.post("/v1/feeds/signed/secret", json={"secret": public}, headers=admin)).status_code == 200
    refused = await ingest.client.post("/v1/feeds/signed/secret", json={"secret": "whsk_x"}, headers=admin)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "secret.unusable")

    batch = json.dumps({"events": [event(event_ref="w1"), event(event_ref="w2", scanned_at="never")]}).encode()
    for key, verdict in ((made["secret"], "accepted"), ("whsk_" + b64encode(private.private_bytes_raw()).decode(), "duplicate")):
        headers = webhook.sign(batch, key, "msg-1", int(time.time()))
        answer = await ingest.client.post("/v1/push/signed", content=batch, headers=headers)
        assert (answer.status_code, [i["verdict"] for i in answer.json()["items"]]) == (200, [verdict, "rejected"])
        looked = await ingest.client.get(f"/v1/receipts/{answer.headers['receipt-id']}", headers=ingest.bearer("auditor"))
        assert looked.json() == answer.json()
        async with ingest.database.read() as read:
            kept = await read.fetchrow("select verified, signed from push where receipt_id = $1", answer.headers["receipt-id"])
        assert kept
        assert tuple(kept) == ("webhook", "\n".join(headers.values()))

    bodies = set()
    for wrong in ({}, headers | {"webhook-id": "other"}, headers | {"webhook-timestamp": "9" * 400}, headers | {"webhook-signature": "v1"}):
        answer = await ingest.client.post("/v1/push/signed", content=batch, headers=wrong)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (401, "signature.invalid")
        bodies.add(json.dumps({k: v for k, v in problem.items() if k != "trace_id"}))
    assert len(bodies) == 1
    too_large = b"x" * (MAX_BODY_BYTES + 1)
    answer = await ingest.client.post(
        "/v1/push/signed", content=too_large, headers=webhook.sign(b"", made["secret"], "m", int(time.time()))
    )
    assert answer.status_code == 413
    by_token = await ingest.scans("signed", event())
    assert (by_token.status_code, by_token.json()["code"]) == (409, "feed.signature")
    plain = await ingest.client.post("/v1/push/lines", json={"events": []})
    assert plain.status_code == 404, "a canonical feed without a secret takes its pushes at /v1/scans"
