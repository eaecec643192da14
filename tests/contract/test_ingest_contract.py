"""`api.md` §2's examples, the rules of §1, who may do what, and what bad input is answered with."""

import gzip
import json
import time
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.ingest.brands import gongpei, kuaidi100, webhook, zto
from services.ingest.brands.wire import hmac_base64, md5_base64
from services.ingest.domain.items import MAX_BODY_BYTES
from shared.keyring import Keyring
from tests.contract.ingest_api import AS_OF, shape
from tests.ingest_support import Ingest, event

FORM = {"content-type": "application/x-www-form-urlencoded"}


pytest_plugins = ("tests.contract.ingest_fixtures",)


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


async def test_scans_and_its_receipt(ingest: Ingest) -> None:
    answer = await ingest.client.post("/v1/scans", json=SCANS, headers=ingest.bearer("brand", ("feed", "canon")))
    assert answer.status_code == 200
    told = answer.json()
    assert shape(told) == shape(RECEIPT)
    assert (told["feed"], told["counts"], told["received_at"][-6:]) == ("canon", RECEIPT["counts"], "+08:00")
    assert answer.headers["receipt-id"] == told["receipt_id"]
    looked = await ingest.client.get(f"/v1/receipts/{told['receipt_id']}", headers=ingest.bearer("auditor"))
    assert looked.json() == told, "a receipt is the same body, whenever it is looked up"


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
