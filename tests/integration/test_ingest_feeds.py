"""What helps a sender start, and what shows how it is doing: health, alarms, the signature check, its own daily count."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from deploy.embedded.installation import Dsns
from services.ingest.brands import NATIVE, gongpei, zto
from services.ingest.brands.wire import FORM, md5_base64
from services.ingest.domain.shares import PROBE_S, Share
from shared.calendar import SHANGHAI
from tests.ingest_support import Ingest, event, running

MakeDatabase = Callable[[str], Awaitable[Dsns]]


@pytest.fixture(scope="module")
async def ingest(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running(tmp_path_factory.mktemp("feeds"), await make_database("ingest")) as started:
        yield started


async def got(ingest: Ingest, path: str, role: str = "auditor", status: int = 200) -> Any:
    answer = await ingest.client.get(path, headers=ingest.bearer(role))
    assert answer.status_code == status, answer.text
    return answer.json()


def today() -> str:
    return datetime.now(SHANGHAI).date().isoformat()


async def test_health_is_told_from_the_last_hour(ingest: Ingest) -> None:
    secret = await ingest.feed("well", "zto", ["zto"])
    assert (await got(ingest, "/v1/feeds/well/health"))["status"] == "silent"
    scanned = (datetime.now(SHANGHAI) - timedelta(seconds=90)).strftime("%Y-%m-%d %H:%M:%S")
    await ingest.push("well", "zto", zto.SAMPLE | {"actionTime": scanned}, secret)
    await ingest.push("well", "zto", zto.SAMPLE | {"actionTime": "never"}, secret)
    health = await got(ingest, "/v1/feeds/well/health")
    assert (health["status"], health["reason_codes"]) == ("degraded", ["rejected"])
    assert (health["events_last_hour"], health["rejected_last_hour"], health["refused_last_hour"]) == (2, 1, 0)
    assert health["last_event_at"] == scanned.replace(" ", "T") + "+08:00"
    assert -100_000 < health["clock_skew_ms"] < -80_000
    for _ in range(5):
        await ingest.push("well", "zto", zto.SAMPLE, "another secret")
    health = await got(ingest, "/v1/feeds/well/health")
    assert (health["status"], health["reason_codes"], health["refused_last_hour"]) == ("failing", ["refused"], 5)
    await got(ingest, "/v1/feeds/nobody/health", status=404)


async def test_a_bad_release_does_not_put_everything_aside(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = await ingest.feed("bad-release", "gongpei", ["zto"])
    unreadable = [gongpei.SAMPLE[0] | {"scanTime": "never", "scanId": f"b{n}"} for n in range(150)]
    assert (await ingest.push("bad-release", "gongpei", unreadable, secret)).status_code == 200
    held = await ingest.push("bad-release", "gongpei", unreadable, secret)
    assert (held.status_code, held.json()["success"], held.headers["retry-after"]) == (503, False, "5")
    assert "feed.mostly_unreadable" in held.json()["reason"]
    assert (await ingest.push("bad-release", "gongpei", unreadable, "another secret")).status_code == 200, "who is not known is told so"
    day = (await got(ingest, "/v1/completeness?feed=bad-release"))["items"][0]
    assert day["events"]["quarantined"] == 150, "what was told to come later is not stored"

    share: Share = ingest.service.watch._shares["bad-release"]
    share._probe_at = 0.0  # the time has come to let one through
    assert (await ingest.push("bad-release", "gongpei", gongpei.SAMPLE, secret)).status_code == 200
    assert (await ingest.push("bad-release", "gongpei", gongpei.SAMPLE, secret)).status_code == 200, "it is over"
    assert PROBE_S > 1


async def test_the_signature_check_says_why(ingest: Ingest) -> None:
    secret = await ingest.feed("building", "zto", ["zto"], mode="sandbox")
    await ingest.feed("building-2", "zto", ["zto"], mode="sandbox")
    wire = zto.sign(zto.SAMPLE, secret.encode())

    async def checked(body: bytes, role: str = "admin", feed: str = "building", **claim: tuple[str, str]) -> Any:
        headers = ingest.bearer(role, claim.get("claim")) | {"content-type": FORM}
        return await ingest.client.post(f"/v1/feeds/{feed}/signature-check", content=body, headers=headers)

    good = (await checked(wire.body)).json()
    assert (good["good"], good["code"]) == (True, "signature.good")
    data = b'{"billCode":"1"}'
    wrong = urlencode({"data": data, "data_digest": md5_base64(data, secret.encode() + b"\n")}).encode()
    told = (await checked(wrong)).json()
    assert (told["good"], told["code"], told["signed_bytes"]) == (False, "secret.whitespace", len(data))
    assert md5_base64(data, secret.encode()) not in str(told), "what would have been right is not told"
    assert (await checked(b"data=1")).json()["code"] == "form.no_data_digest"
    assert (await checked(wire.body, "brand", claim=("feed", "building"))).status_code == 200
    assert (await checked(wire.body, "brand", feed="building-2", claim=("feed", "building"))).status_code == 404
    await ingest.client.patch("/v1/feeds/building", json={"mode": "live"}, headers=ingest.bearer("admin"))
    assert (await checked(wire.body)).json()["code"] == "feed.not_sandbox"
    assert (await got(ingest, "/v1/completeness?feed=building"))["items"] == [], "a check is no push"


@pytest.mark.parametrize("format_", NATIVE)
async def test_each_formats_sample_passes_its_check(ingest: Ingest, format_: str) -> None:
    module = NATIVE[format_]
    secret = await ingest.feed(f"check-{format_}", format_, list(module.BRANDS[:1]), mode="sandbox")
    wire = module.sign(module.SAMPLE, secret.encode())
    url = f"/v1/feeds/check-{format_}/signature-check" + (f"?{wire.query}" if wire.query else "")
    answer = await ingest.client.post(
        url, content=wire.body, headers={**ingest.bearer("admin"), "content-type": wire.content_type, **wire.headers}
    )
    if format_ == "sf":
        assert (answer.status_code, answer.json()["code"]) == (409, "feed.unsigned")
    else:
        assert answer.json()["code"] == "signature.good", answer.text


async def test_a_senders_own_count_is_compared_with_what_came(ingest: Ingest) -> None:
    secret = await ingest.feed("counted", "gongpei", ["zto"])
    headers = ingest.bearer("brand", ("feed", "counted"))
    await got(ingest, f"/v1/manifests/counted/{today()}", status=404)
    five = [gongpei.SAMPLE[1] | {"waybillNo": f"7310019661000{n}", "scanId": str(n)} for n in range(5)]
    await ingest.push("counted", "gongpei", five, secret)
    await ingest.push("counted", "gongpei", [gongpei.SAMPLE[1] | {"waybillNo": "73100196610009", "scanTime": "never"}], secret)

    made = await ingest.client.post("/v1/manifests", json={"date": today(), "events": 6}, headers=headers)
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/manifests/counted/{today()}")
    told = made.json()
    assert (told["declared_events"], told["received_events"], told["missing_events"]) == (6, 6, None)

    waybills = {"73100196610000": 1, "73100196610001": 2, "73100196610002": 1, "73100196610003": 1, "73100196610009": 1}
    corrected = {"date": today(), "events": 6, "waybills": waybills}
    told = (await ingest.client.post("/v1/manifests", json=corrected, headers=headers)).json()
    assert (told["missing"], told["missing_events"]) == ({"73100196610001": 1, "73100196610009": 1}, 2)
    assert (told["undeclared"], told["undeclared_events"]) == ({"73100196610004": 1}, 1)
    assert {k: v for k, v in (await got(ingest, f"/v1/manifests/counted/{today()}")).items() if k != "as_of"} == {
        k: v for k, v in told.items() if k != "as_of"
    }
    (day,) = (await got(ingest, "/v1/completeness?feed=counted"))["items"]
    assert (day["declared_events"], day["events"]["received"]) == (6, 6)
    await ingest.client.patch("/v1/feeds/counted", json={"mode": "sandbox"}, headers=ingest.bearer("admin"))
    await ingest.push("counted", "gongpei", five[:1], secret)
    rows = (await got(ingest, "/v1/completeness?feed=counted"))["items"]
    assert [(row["mode"], row["declared_events"]) for row in rows] == [("live", 6), ("sandbox", None)]
    await ingest.client.patch("/v1/feeds/counted", json={"mode": "live"}, headers=ingest.bearer("admin"))
    async with ingest.database.read() as read:
        assert await read.fetchval("select count(*) from body_read where why = 'manifest' and receipt_id like 'counted %'") == 2
    good = {"date": today(), "events": 1}
    for bad in ({"events": 1}, good | {"date": "2023-02-30"}, good | {"events": -1}, good | {"waybills": {"?": 1}}):
        assert (await ingest.client.post("/v1/manifests", json=bad, headers=headers)).status_code == 422
    nobody = await ingest.client.post("/v1/manifests", json=good, headers=ingest.bearer("brand", ("feed", "never-made")))
    assert (nobody.status_code, nobody.json()["code"]) == (404, "feed.unknown")
    twice = {"date": today(), "events": 2, "waybills": {"ZT0001": 1, "zt0001": 1}}
    assert (await ingest.client.post("/v1/manifests", json=twice, headers=headers)).json()["missing"]["ZT0001"] == 2
    other = ingest.bearer("brand", ("feed", "well"))
    assert (await ingest.client.get(f"/v1/manifests/counted/{today()}", headers=other)).status_code == 404


async def test_scans_of_the_canonical_api_are_counted_by_waybill_too(ingest: Ingest) -> None:
    await ingest.feed("own-count", "canonical", ["zto"])
    await ingest.scans("own-count", event(event_ref="1"), event(event_ref="2"))
    headers = ingest.bearer("brand", ("feed", "own-count"))
    body = {"date": today(), "events": 2, "waybills": {"73100196611386": 2}}
    told = (await ingest.client.post("/v1/manifests", json=body, headers=headers)).json()
    assert (told["missing_events"], told["undeclared_events"]) == (0, 0)
    assert told["as_of"]["known_at"] <= datetime.now(UTC).astimezone(SHANGHAI).isoformat()
