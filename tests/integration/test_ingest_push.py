"""Pushes on a real PostgreSQL: verdicts, receipts, the log, quarantine, completeness."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command

from deploy.embedded.installation import Dsns
from services.ingest.brands import gongpei, kuaidi100, zto
from services.ingest.domain.verdicts import VERDICTS
from services.ingest.migrate import install
from shared.identity import parcel_key, partition_of
from shared.migrations import config
from tests.ingest_support import PARTITIONS, Ingest, event, running


@pytest.fixture(scope="module")
async def ingest(make_database: Callable[[str], Awaitable[Dsns]], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running(tmp_path_factory.mktemp("ingest"), await make_database("ingest")) as started:
        yield started


def told(receipt: dict[str, Any]) -> list[str]:
    return [item["verdict"] for item in receipt["items"]]


async def test_the_migrations_make_what_the_models_say_and_run_twice(ingest: Ingest) -> None:
    await install(ingest.dsns.owner, PARTITIONS)
    await asyncio.to_thread(command.check, config("ingest", ingest.dsns.owner))


async def test_a_zto_push_is_acknowledged_stored_and_logged_once(ingest: Ingest) -> None:
    secret = await ingest.feed("zto-a", "zto", ["zto"])
    first = await ingest.push("zto-a", "zto", zto.SAMPLE, secret)
    assert (first.status_code, first.json()["status"]) == (200, True)
    assert told(await ingest.receipt(first)) == ["accepted"]
    again = await ingest.push("zto-a", "zto", zto.SAMPLE, secret)
    assert again.json()["status"] is True
    assert told(await ingest.receipt(again)) == ["duplicate"]
    values = [json.loads(value) for value in await ingest.log()]
    mine = [v for v in values if v["feed"] == "zto-a"]
    assert [(v["action"], v["site_name"], v["site_code"], v["site_namespace"], v["verified"]) for v in mine] == [
        ("station_inbound", "上王村便民服务点", None, "zto", "digest")
    ]
    assert mine[0]["scanned_at"] == "2023-07-14T09:12:03+08:00"


async def test_a_kuaidi100_snapshot_is_told_whole_each_time_and_counts_once(ingest: Ingest) -> None:
    secret = await ingest.feed("k-a", "kuaidi100", ["zto"])
    shorter = json.loads(json.dumps(kuaidi100.SAMPLE))
    del shorter["lastResult"]["data"][0]
    assert told(await ingest.receipt(await ingest.push("k-a", "kuaidi100", shorter, secret))) == ["accepted"]
    whole = await ingest.push("k-a", "kuaidi100", kuaidi100.SAMPLE, secret)
    assert whole.json() == {"result": True, "returnCode": "200", "message": "成功 / stored"}
    assert told(await ingest.receipt(whole)) == ["accepted", "duplicate"]


async def test_a_changed_scan_under_the_same_id_is_a_conflict_once(ingest: Ingest) -> None:
    secret = await ingest.feed("gp-a", "gongpei", ["zto"], namespace="gp")
    scan = gongpei.SAMPLE[1]
    changed = {**scan, "siteCode": "YQ-100201"}
    verdicts = [told(await ingest.receipt(await ingest.push("gp-a", "gongpei", [x], secret))) for x in (scan, changed, changed, scan)]
    assert verdicts == [["accepted"], ["conflict"], ["duplicate"], ["duplicate"]]
    mine = [v for value in await ingest.log() if (v := json.loads(value))["feed"] == "gp-a"]
    assert [(v["verdict"], v["site_code"], v["weight_g"], v["verified"]) for v in mine] == [
        ("accepted", "YQ-100200", 850, "hmac"),
        ("conflict", "YQ-100201", 850, "hmac"),
    ]


async def test_two_pushes_with_the_same_new_event_at_once_accept_it_once(ingest: Ingest) -> None:
    await ingest.feed("race-a", "canonical", ["zto"])
    same = [ingest.scans("race-a", event(event_ref="same")) for _ in range(12)]
    other = [ingest.scans("race-a", event(event_ref="same", weight_g=7)) for _ in range(12)]
    answers = [a.json() for a in await asyncio.gather(*same, *other)]
    verdicts = sorted(v for a in answers for v in told(a))
    assert verdicts == ["accepted", "conflict", *["duplicate"] * 22]
    assert len([v for value in await ingest.log() if (v := json.loads(value))["feed"] == "race-a"]) == 2


async def test_two_processes_with_the_same_new_events_accept_each_once(ingest: Ingest, tmp_path: Path) -> None:
    await ingest.feed("race-b", "canonical", ["zto"])
    events = [event(event_ref=f"b{i}") for i in range(50)]
    async with running(tmp_path, ingest.dsns, like=ingest) as other:
        answers = await asyncio.gather(ingest.scans("race-b", *events), other.scans("race-b", *events[::-1]))
    counts = [a.json()["counts"] for a in answers]
    assert (sum(c["accepted"] for c in counts), sum(c["duplicate"] for c in counts)) == (50, 50)


async def test_a_sandbox_feed_gets_verdicts_and_nothing_is_logged(ingest: Ingest) -> None:
    await ingest.feed("sand-a", "canonical", ["zto"], mode="sandbox")
    assert told((await ingest.scans("sand-a", event())).json()) == ["accepted"]
    assert told((await ingest.scans("sand-a", event())).json()) == ["duplicate"]
    assert not [value for value in await ingest.log() if json.loads(value)["feed"] == "sand-a"]
    live = await ingest.client.patch("/v1/feeds/sand-a", json={"mode": "live"}, headers=ingest.bearer("admin"))
    assert live.json()["mode"] == "live"
    assert told((await ingest.scans("sand-a", event())).json()) == ["accepted"], "what was tried in the sandbox is new when it is meant"


async def test_an_unreadable_item_is_kept_aside_and_its_neighbours_are_not(ingest: Ingest) -> None:
    secret = await ingest.feed("gp-q", "gongpei", ["zto"])
    good, late = gongpei.SAMPLE[0], {**gongpei.SAMPLE[0], "scanId": "q", "scanTime": "2023-02-30 00:00:00"}
    answer = await ingest.push("gp-q", "gongpei", [late, good], secret)
    assert answer.json()["success"] is True
    receipt = await ingest.receipt(answer)
    assert told(receipt) == ["quarantined", "accepted"]
    shown = await ingest.client.get("/v1/quarantine?feed=gp-q", headers=ingest.bearer("coordinator"))
    assert shown.json()["items"] == [
        {
            "quarantine_id": shown.json()["items"][0]["quarantine_id"],
            "receipt_id": receipt["receipt_id"],
            "feed": "gp-q",
            "index": 0,
            "code": "time.unreadable",
            "pointer": "/data/0/scanTime",
            "received_at": receipt["received_at"],
            "status": "open",
        }
    ]
    none = await ingest.client.get("/v1/quarantine?feed=gp-q&code=brand.unknown", headers=ingest.bearer("coordinator"))
    assert none.json()["items"] == []


async def test_completeness_counts_what_came_and_what_was_refused(ingest: Ingest) -> None:
    secret = await ingest.feed("zto-c", "zto", ["zto"])
    await ingest.push("zto-c", "zto", zto.SAMPLE, secret)
    await ingest.push("zto-c", "zto", zto.SAMPLE, secret)
    await ingest.push("zto-c", "zto", zto.SAMPLE, "another secret")
    await ingest.client.post("/v1/push/zto-c", content=b"\x00\xff", headers={"content-type": "application/x-www-form-urlencoded"})
    page = (await ingest.client.get("/v1/completeness?feed=zto-c", headers=ingest.bearer("auditor"))).json()
    (day,) = page["items"]
    assert day["pushes"] == {"received": 4, "unauthenticated": 1, "unparseable": 1, "paused": 0}
    assert day["events"] == {"received": 2, "accepted": 1, "duplicate": 1, "conflict": 0, "quarantined": 0, "rejected": 0}
    assert (day["balanced"], day["mode"], day["declared_events"]) == (True, "live", None)


@pytest.mark.parametrize("format_", ["zto", "canonical"])
async def test_what_is_pushed_to_a_paused_feed_is_counted(ingest: Ingest, format_: str) -> None:
    secret = await ingest.feed(f"paused-{format_}", format_, ["zto"], mode="paused")
    for _ in range(2):
        if format_ == "canonical":
            assert (await ingest.scans("paused-canonical", event())).status_code == 409
        else:
            assert (await ingest.push("paused-zto", "zto", zto.SAMPLE, secret)).json()["status"] is False
    page = (await ingest.client.get(f"/v1/completeness?feed=paused-{format_}", headers=ingest.bearer("auditor"))).json()
    (day,) = page["items"]
    assert day["pushes"] == {"received": 2, "unauthenticated": 0, "unparseable": 0, "paused": 2}
    assert (day["mode"], day["events"]["received"], day["balanced"]) == ("paused", 0, True)


async def test_a_day_is_balanced_only_while_its_items_are_its_counts(ingest: Ingest) -> None:
    await ingest.feed("balance", "canonical", ["zto"])
    await ingest.scans("balance", event(event_ref="1"), event(event_ref="1"), event(event_ref="2"), event(weight_g=-1))
    owner = await asyncpg.connect(ingest.dsns.owner)

    async def balanced() -> bool:
        page = await ingest.client.get("/v1/completeness?feed=balance", headers=ingest.bearer("auditor"))
        said: bool = page.json()["items"][0]["balanced"]
        return said

    assert await balanced()
    for change, back in [
        ("accepted = 1, duplicate = 2", "accepted = 2, duplicate = 1"),
        ("received = 5, rejected = 2", "received = 4, rejected = 1"),
    ]:
        await owner.execute(f"update push set {change} where feed = 'balance'")
        assert not await balanced(), change
        await owner.execute(f"update push set {back} where feed = 'balance'")
    assert await balanced()
    await owner.close()


async def test_the_counts_of_live_feeds_are_the_positions_of_the_log(ingest: Ingest) -> None:
    items: list[Any] = []
    url: str | None = "/v1/completeness?limit=2"
    while url:
        page = await ingest.client.get(url, headers=ingest.bearer("auditor"))
        items += page.json()["items"]
        url = page.links["next"]["url"] if "next" in page.links else None
    assert len({(i["feed"], i["mode"], i["received_date"]) for i in items}) == len(items) >= 8
    logged = sum(i["events"]["accepted"] + i["events"]["conflict"] for i in items if i["mode"] == "live")
    assert logged == len(await ingest.log())
    assert page.json()["unpublished_events"] == logged, "no relay runs here"
    for item in items:
        assert item["events"]["received"] == sum(item["events"][verdict] for verdict in VERDICTS)
        assert item["balanced"]


async def test_the_log_can_be_read_and_its_chain_checked(ingest: Ingest) -> None:
    for partition in range(PARTITIONS):
        page = (await ingest.client.get(f"/v1/log/{partition}?limit=1000", headers=ingest.bearer("auditor"))).json()
        assert page["head"] == page["next_position"] == len(page["items"])
        for before, entry in zip(page["items"], page["items"][1:], strict=False):
            link = sha256(bytes.fromhex(before["chain"]) + sha256(entry["value"].encode()).digest())
            assert link.hexdigest() == entry["chain"]
    assert (await ingest.client.get(f"/v1/log/{PARTITIONS}", headers=ingest.bearer("auditor"))).status_code == 404


async def test_a_consumer_reports_is_listed_and_removed(ingest: Ingest) -> None:
    mine = {"positions": [{"partition": 0, "next_position": 0, "chain": None, "asks": 0}]}
    report = await ingest.client.put("/v1/log/consumers/auditor-1", json=mine, headers=ingest.bearer("service"))
    assert len(report.json()["heads"]) == PARTITIONS
    listed = (await ingest.client.get("/v1/log/consumers", headers=ingest.bearer("auditor"))).json()["items"]
    assert [(c["consumer"], c["lag"]) for c in listed] == [("auditor-1", report.json()["heads"][0])]
    assert (await ingest.client.delete("/v1/log/consumers/auditor-1", headers=ingest.bearer("admin"))).status_code == 204
    assert (await ingest.client.delete("/v1/log/consumers/auditor-1", headers=ingest.bearer("admin"))).status_code == 404
    bad = await ingest.client.put("/v1/log/consumers/auditor-1", json={"positions": 1}, headers=ingest.bearer("service"))
    assert (bad.status_code, bad.json()["code"]) == (422, "request.invalid")


async def test_a_closed_partition_gives_the_retry_answer_to_its_own_parcels_only(ingest: Ingest) -> None:
    secret = await ingest.feed("zto-x", "zto", ["zto"])
    closed = 1
    payloads = [{**zto.SAMPLE, "billCode": f"7310019661{i}"} for i in range(1000, 1024)]
    async with ingest.database.write() as tx:
        await tx.execute("update log_head set closed = true, reason = 'test' where partition = $1", closed)
    try:
        answers = await asyncio.gather(*(ingest.push("zto-x", "zto", p, secret) for p in payloads))
    finally:
        async with ingest.database.write() as tx:
            await tx.execute("update log_head set closed = false, reason = null")
    for payload, answer in zip(payloads, answers, strict=True):
        stands = partition_of(parcel_key("zto", payload["billCode"]), PARTITIONS) == closed
        assert (answer.status_code, answer.json()["status"]) == ((503, False) if stands else (200, True))
        assert not stands or ("log.closed" in answer.json()["message"] and answer.headers["retry-after"])
    assert {a.status_code for a in answers} == {200, 503}
    refused = payloads[[a.status_code for a in answers].index(503)]
    assert told(await ingest.receipt(await ingest.push("zto-x", "zto", refused, secret))) == ["accepted"], "nothing of it was kept"
