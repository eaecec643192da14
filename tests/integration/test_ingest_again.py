"""Quarantine as work, and corrected code tables: sent once more, once; receipts stay, completeness still adds up, who looked is known."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import msgspec
import pytest

from deploy.embedded.installation import Dsns
from services.ingest.brands import gongpei, zto
from services.ingest.domain import native
from shared.contracts.scan import Action, decode_scan
from tests.ingest_support import Ingest, running

MakeDatabase = Callable[[str], Awaitable[Dsns]]
UNREADABLE = zto.SAMPLE | {"actionTime": "2023/07/14 09:12:03", "courier": "张三", "courierPhone": "13812345678"}


@pytest.fixture(scope="module")
async def ingest(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running(tmp_path_factory.mktemp("again"), await make_database("ingest")) as started:
        yield started


async def post(ingest: Ingest, path: str, role: str = "admin", **body: Any) -> Any:
    answer = await ingest.client.post(path, json=body, headers=ingest.bearer(role))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def items(ingest: Ingest, query: str) -> list[dict[str, Any]]:
    got = await ingest.client.get(f"/v1/quarantine?{query}", headers=ingest.bearer("auditor"))
    found: list[dict[str, Any]] = got.json()["items"]
    return found


@pytest.fixture
def a_reader_that_was_mended(monkeypatch: pytest.MonkeyPatch) -> Any:
    """After the next release ZTO's slashes are read."""

    def mend() -> None:
        mended = partial(native.shanghai_time, tidy=lambda text: text.replace("/", "-"))
        monkeypatch.setattr(zto, "shanghai_time", mended)

    return mend


async def test_what_is_mended_is_read_again_once(ingest: Ingest, a_reader_that_was_mended: Any) -> None:
    secret = await ingest.feed("zto-again", "zto", ["zto"])
    receipt = await ingest.receipt(await ingest.push("zto-again", "zto", UNREADABLE, secret))
    await ingest.push("zto-again", "zto", UNREADABLE | {"billCode": "?"}, secret)
    never, once = await items(ingest, "feed=zto-again&status=open")
    before = len(await ingest.log())

    still = await post(ingest, "/v1/quarantine/redrive", feed="zto-again", reason="try")
    assert [i["verdict"] for i in still["items"]] == ["quarantined", "quarantined"], "nothing was mended yet"
    a_reader_that_was_mended()
    dry = await post(ingest, "/v1/quarantine/redrive", feed="zto-again", reason="would it", dry_run=True)
    assert [(i["verdict"], i["code"]) for i in dry["items"]] == [("readable", None), ("quarantined", "waybill.invalid")]
    assert len(await ingest.log()) == before

    both = await asyncio.gather(
        *(post(ingest, "/v1/quarantine/redrive", feed="zto-again", reason="slashes are read now") for _ in range(2))
    )
    assert sorted(len(told["items"]) for told in both) == [1, 2], "the second finds what the first has left"
    (event,) = (decode_scan(value) for value in (await ingest.log())[before:])
    assert (event.receipt_id, event.received_at.isoformat()) == (receipt["receipt_id"], receipt["received_at"])
    assert (event.scanned_at.isoformat(), event.verdict, event.verified) == ("2023-07-14T09:12:03+08:00", "accepted", "digest")
    assert await shown(ingest, receipt) == receipt, "a receipt stays as it was"
    assert [i["status"] for i in await items(ingest, "feed=zto-again")] == ["open", "redriven"]

    dismissed = await post(
        ingest, "/v1/quarantine/dismiss", quarantine_ids=[never["quarantine_id"], once["quarantine_id"]], reason="no number"
    )
    assert dismissed == {"dismissed": 1}
    assert await items(ingest, "feed=zto-again&status=open") == []
    (day,) = (await ingest.client.get("/v1/completeness?feed=zto-again", headers=ingest.bearer("auditor"))).json()["items"]
    assert (day["events"]["quarantined"], day["events"]["accepted"], day["redriven"], day["balanced"]) == (2, 0, 1, True)


async def shown(ingest: Ingest, receipt: Mapping[str, Any]) -> Any:
    return (await ingest.client.get(f"/v1/receipts/{receipt['receipt_id']}", headers=ingest.bearer("auditor"))).json()


async def test_the_same_scan_that_came_again_meanwhile_is_a_duplicate(ingest: Ingest, a_reader_that_was_mended: Any) -> None:
    secret = await ingest.feed("zto-twice", "zto", ["zto"])
    for _ in range(2):
        await ingest.push("zto-twice", "zto", UNREADABLE, secret)
    a_reader_that_was_mended()
    before = len(await ingest.log())
    told = await post(ingest, "/v1/quarantine/redrive", feed="zto-twice", code="time.unreadable", reason="r")
    assert [i["verdict"] for i in told["items"]] == ["accepted", "duplicate"]
    assert len(await ingest.log()) == before + 1


async def test_a_sandbox_item_never_reaches_the_log(ingest: Ingest, a_reader_that_was_mended: Any) -> None:
    secret = await ingest.feed("zto-sand", "zto", ["zto"], mode="sandbox")
    await ingest.push("zto-sand", "zto", UNREADABLE, secret)
    await ingest.client.patch("/v1/feeds/zto-sand", json={"mode": "live"}, headers=ingest.bearer("admin"))
    a_reader_that_was_mended()
    before = len(await ingest.log())
    told = await post(ingest, "/v1/quarantine/redrive", feed="zto-sand", reason="r")
    assert [i["verdict"] for i in told["items"]] == ["accepted"]
    assert len(await ingest.log()) == before, "it was pushed to a sandbox, whatever the feed is now"


async def test_whoever_looks_into_a_push_sees_no_person_and_is_written_down(ingest: Ingest) -> None:
    secret = await ingest.feed("zto-look", "zto", ["zto"])
    await ingest.push("zto-look", "zto", UNREADABLE | {"facilityName": "老王 13912345678"}, secret)
    ((item),) = await items(ingest, "feed=zto-look")
    path = f"/v1/quarantine/{item['quarantine_id']}"
    told = (await ingest.client.get(path, headers=ingest.bearer("auditor"))).json()
    document = told["document"]
    assert (document["actionTime"], document["action"], document["billCode"]) == ("2023/07/14 09:12:03", "INBOUND", "73100196611386")
    assert {document[name] for name in ("courier", "courierPhone", "desc", "facilityName")} == {"●●", "●●●●●●●●"}
    assert not any(text in str(told) for text in ("张三", "13812345678", "13912345678"))
    async with ingest.database.read() as read:
        looked = await read.fetch("select by, why from body_read where receipt_id = $1", item["receipt_id"])
    assert [tuple(row) for row in looked] == [("test", "quarantine.inspect")]
    for claim, status in ((("feed", "zto-look"), 200), (("brand", "zto"), 200), (("brand", "sf"), 404), (("feed", "zto-again"), 404)):
        got = await ingest.client.get(path, headers=ingest.bearer("brand", claim))
        assert got.status_code == status


async def test_only_an_administrator_works_on_it(ingest: Ingest) -> None:
    for role in ("auditor", "reviewer", "coordinator", "finance"):
        for path in ("/v1/quarantine/redrive", "/v1/quarantine/dismiss"):
            refused = await ingest.client.post(path, json={"quarantine_ids": ["qua_1"], "reason": "r"}, headers=ingest.bearer(role))
            assert refused.status_code == 403
    for body in ({"reason": ""}, {}, {"reason": "r", "quarantine_ids": []}, {"reason": "r", "quarantine_ids": ["1"]}):
        refused = await ingest.client.post("/v1/quarantine/redrive", json=body, headers=ingest.bearer("admin"))
        assert refused.status_code == 422
    unknown = {"quarantine_ids": ["qua_999999999"], "reason": "r"}
    refused = await ingest.client.post("/v1/quarantine/redrive", json=unknown, headers=ingest.bearer("admin"))
    assert refused.json()["errors"][0]["code"] == "quarantine.unknown"


async def remapped(ingest: Ingest, feed: str, **more: Any) -> tuple[int, list[dict[str, Any]]]:
    """Over all partitions -> (published, changes)."""
    published, changes = 0, list[dict[str, Any]]()
    for partition in range(4):
        position: int | None = 0
        while position is not None:
            told = await post(ingest, f"/v1/feeds/{feed}/remap", partition=partition, from_position=position, reason="table", **more)
            published, changes, position = published + told["published"], changes + told["changes"], told["next_position"]
    return published, changes


def corrected(monkeypatch: pytest.MonkeyPatch, module: ModuleType, version: int, **codes: Action) -> None:
    monkeypatch.setattr(module, "CODES", {**module.CODES, **codes})
    monkeypatch.setattr(module, "MAPPING_VERSION", version)


async def test_a_corrected_table_sends_its_events_again_and_each_once(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = await ingest.feed("gp-map", "gongpei", ["zto"])
    scans = [gongpei.SAMPLE[1] | {"scanId": f"m{n}", "waybillNo": f"7310019661{n:04d}", "receiverCode": "129"} for n in range(30)]
    receipt = await ingest.receipt(await ingest.push("gp-map", "gongpei", scans, secret))
    await ingest.push("gp-map", "gongpei", gongpei.SAMPLE, secret)
    other = await ingest.feed("gp-other", "gongpei", ["zto"])
    await ingest.push("gp-other", "gongpei", scans[:3], other)
    assert await remapped(ingest, "gp-map") == (0, []), "the table is the one that they were read with"

    corrected(monkeypatch, gongpei, 2, **{"QS/129": Action.STATION_INBOUND})
    before = [decode_scan(value) for value in await ingest.log()]
    published, changes = await remapped(ingest, "gp-map", dry_run=True)
    assert (published, sum(c["events"] for c in changes)) == (0, 30)
    assert {(c["raw_action"], c["was"], c["now"]) for c in changes} == {("QS/129", "unknown", "station_inbound")}
    assert (await remapped(ingest, "gp-map"))[0] == 30
    assert (await remapped(ingest, "gp-map"))[0] == 0, "however often it is asked for"
    after = [decode_scan(value) for value in await ingest.log()]
    new = [e for e in after if e not in before]
    assert {(e.action, e.mapping_version, e.feed) for e in new} == {("station_inbound", 2, "gp-map")}
    was = {(e.event_id, e.content): e for e in before}
    for event in new:
        assert event == msgspec.structs.replace(was[event.event_id, event.content], action="station_inbound", mapping_version=2)
    assert await shown(ingest, receipt) == receipt

    corrected(monkeypatch, gongpei, 3, **{"QS/129": Action.UNKNOWN})
    assert (await remapped(ingest, "gp-map"))[0] == 30, "the highest version counts, so the way back is a version, too"
    (day,) = (await ingest.client.get("/v1/completeness?feed=gp-map", headers=ingest.bearer("auditor"))).json()["items"]
    assert (day["remapped"], day["events"]["accepted"]) == (60, 32)
    in_log = sum(decode_scan(value).feed == "gp-map" for value in await ingest.log())
    assert in_log == day["events"]["accepted"] + day["events"]["conflict"] + day["redriven"] + day["remapped"]


async def test_what_has_no_table_is_not_remapped(ingest: Ingest) -> None:
    await ingest.feed("own-words", "canonical", ["zto"])
    for feed, status in (("own-words", 409), ("nobody-here", 404)):
        refused = await ingest.client.post(f"/v1/feeds/{feed}/remap", json={"partition": 0, "reason": "r"}, headers=ingest.bearer("admin"))
        assert refused.status_code == status
