"""Feeds: made, shown, rotated, changed, and what may not be."""

from typing import Any

import pytest

from services.ingest.brands import yunda, zto
from tests.contract.ingest_api import AS_OF, shape
from tests.ingest_support import Ingest, event

pytest_plugins = ("tests.contract.ingest_fixtures",)


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
