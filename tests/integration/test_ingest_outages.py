"""PostgreSQL away, a lost answer to COMMIT, a full backlog, a keyring of somebody else: "later" at once, nothing lost, nothing twice."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.embedded.installation import Dsns
from services.ingest import repository
from services.ingest.api import build
from services.ingest.brands import zto
from services.ingest.health import check_installation
from services.ingest.migrate import install
from services.ingest.settings import Settings
from shared import keyring
from shared.db import Database
from shared.keyring import KeyringError
from shared.process import CannotRun
from tests.gate import Gate
from tests.ingest_support import PARTITIONS, event, running

MakeDatabase = Callable[[str], Awaitable[Dsns]]


async def test_when_postgresql_is_away_senders_hear_later_at_once_and_nothing_is_lost(make_database: MakeDatabase, tmp_path: Path) -> None:
    dsns = await make_database("ingest")
    async with Gate(dsns.app) as gate, running(tmp_path, dsns, database_url=gate.dsn) as ingest:
        secret = await ingest.feed("zto-out", "zto", ["zto"])
        await ingest.feed("canon-out", "canonical", ["zto"])
        assert (await ingest.push("zto-out", "zto", zto.SAMPLE, secret)).json()["status"] is True
        assert (await ingest.scans("canon-out", event())).status_code == 200
        gate.close_all()
        for _ in range(3):
            started = time.monotonic()
            native = await ingest.push("zto-out", "zto", zto.SAMPLE | {"actionTime": "2023-07-14 10:00:00"}, secret)
            canonical = await ingest.scans("canon-out", event(event_ref="out"))
            assert time.monotonic() - started < 1
            assert (native.status_code, native.json()["status"], native.headers["retry-after"]) == (503, False, "5")
            assert (canonical.status_code, canonical.headers["retry-after"]) == (503, "5")
        ready = await ingest.client.get("/readyz")
        assert ready.status_code == 503
        gate.open_again()
        answers = [await _until_taken(lambda: ingest.scans("canon-out", event(event_ref="out"))) for _ in range(2)]
        assert [a["items"][0]["verdict"] for a in answers] == ["accepted", "duplicate"]


async def test_when_postgresql_hangs_senders_hear_later_within_seconds_and_then_at_once(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    dsns = await make_database("ingest")
    async with Gate(dsns.app) as gate, running(tmp_path, dsns, database_url=gate.dsn) as ingest:
        secret = await ingest.feed("zto-hang", "zto", ["zto"])
        await ingest.feed("canon-hang", "canonical", ["zto"])
        assert (await ingest.push("zto-hang", "zto", zto.SAMPLE, secret)).json()["status"] is True
        assert (await ingest.scans("canon-hang", event())).status_code == 200
        gate.hang()
        for within_s in (5, 0.5, 0.5, 0.5):
            started = time.monotonic()
            answers = await asyncio.gather(
                ingest.push("zto-hang", "zto", zto.SAMPLE | {"actionTime": "2023-07-14 10:00:00"}, secret),
                ingest.push("zto-hang", "zto", zto.SAMPLE, "another secret"),
                ingest.scans("canon-hang", event(event_ref="hang")),
                ingest.client.post("/v1/scans", content=b"{", headers=ingest.bearer("brand", ("feed", "canon-hang"))),
            )
            assert time.monotonic() - started < within_s
            assert [(a.status_code, a.headers["retry-after"]) for a in answers] == [(503, "5")] * 4
            assert answers[0].json()["status"] is False
            await asyncio.sleep(1)
        gate.answer_again()
        await _until_taken(lambda: ingest.scans("canon-hang", event(event_ref="hang")))
        assert (await _until_taken(lambda: ingest.scans("canon-hang", event(event_ref="hang"))))["counts"]["duplicate"] == 1
        assert len(await ingest.log()) == 3


async def _until_taken(send: Callable[[], Awaitable[Any]]) -> Any:
    for _ in range(50):
        answer = await send()
        if answer.status_code == 200:
            return answer.json()
        await asyncio.sleep(0.1)
    raise AssertionError("still not taken")


async def test_after_a_lost_answer_to_commit_the_receipt_is_looked_up_and_nothing_runs_twice(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    dsns = await make_database("ingest")
    async with Gate(dsns.app) as gate, running(tmp_path, dsns, database_url=gate.dsn) as ingest:
        await ingest.feed("lost", "canonical", ["zto"])
        await ingest.scans("lost", event(event_ref="before"))
        gate.drop_the_answer_to(b"COMMIT;")
        answer = await ingest.scans("lost", event(event_ref="during"))
        assert gate.answers_dropped == 1
        assert (answer.status_code, answer.json()["counts"]["accepted"]) == (200, 1)
        looked = await ingest.client.get(f"/v1/receipts/{answer.json()['receipt_id']}", headers=ingest.bearer("auditor"))
        assert looked.json() == answer.json()
        assert (await ingest.scans("lost", event(event_ref="during"))).json()["counts"]["duplicate"] == 1
        assert len(await ingest.log()) == 2


async def test_beyond_the_backlog_senders_hear_later_until_the_relay_has_caught_up(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest"), backlog_events=1_000) as ingest:
        await ingest.feed("many", "canonical", ["zto"])
        for batch in range(2):
            assert (await ingest.scans("many", *(event(event_ref=f"{batch}-{i}") for i in range(500)))).status_code == 200
        for _ in range(40):
            answer = await ingest.scans("many", event(event_ref="one more"))
            if answer.status_code == 503:
                break
            await asyncio.sleep(0.1)
        assert (answer.status_code, answer.json()["code"]) == (503, "log.backlog")
        async with ingest.database.write() as tx:
            await tx.execute("update log_relay r set next_position = h.next_position from log_head h where h.partition = r.partition")
        assert (await _until_taken(lambda: ingest.scans("many", event(event_ref="again"))))["counts"]["accepted"] == 1


async def test_when_a_shared_commit_fails_only_the_bad_push_fails(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest")) as ingest:
        await ingest.feed("shared", "canonical", ["zto"])
        owner = await asyncpg.connect(ingest.dsns.owner)
        await owner.execute("alter table push add constraint never check (received <> 3) not valid")
        answers = await asyncio.gather(
            *(ingest.scans("shared", *(event(event_ref=f"{n}-{i}") for i in range(size))) for n, size in enumerate([1, 2, 3, 4, 5] * 3))
        )
        assert [a.status_code for a in answers] == [200, 200, 503, 200, 200] * 3
        assert answers[2].json()["code"] == "database.failed"
        await owner.close()
        assert len(await ingest.log()) == 3 * (1 + 2 + 4 + 5)


async def test_a_process_that_is_told_other_partitions_does_not_start(make_database: MakeDatabase, tmp_path: Path) -> None:
    dsns = await make_database("ingest")
    await install(dsns.owner, PARTITIONS)
    database = await Database(dsns.app, max_size=1).open()
    await check_installation(database, PARTITIONS)
    for wrong in (PARTITIONS - 1, PARTITIONS + 1):
        with pytest.raises(CannotRun, match="TONGCUN_PARTITIONS"):
            await check_installation(database, wrong)
    await database.close()


async def test_a_missing_or_foreign_keyring_refuses_to_start(make_database: MakeDatabase, tmp_path: Path) -> None:
    dsns = await make_database("ingest")
    async with running(tmp_path, dsns) as ingest:
        await ingest.feed("keyed", "zto", ["zto"])
        path = Path(ingest.settings.keyring)
    path.rename(path.with_suffix(".away"))
    with pytest.raises(KeyringError, match="restore it from its backup"):
        build(ingest.settings)
    keyring.create(path)
    await refuses(ingest.settings)
    mine = json.loads(path.with_suffix(".away").read_text())
    other = json.loads(path.read_text())["keys"].popitem()[1]
    path.write_text(json.dumps({"current": mine["current"], "keys": {mine["current"]: other}}))
    await refuses(ingest.settings)


async def test_a_foreign_keyring_is_told_by_the_bodies_where_no_feed_has_a_secret(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest")) as ingest:
        await ingest.feed("unkeyed", "canonical", ["zto"])
        await ingest.scans("unkeyed", event())
    Path(ingest.settings.keyring).unlink()
    keyring.create(ingest.settings.keyring)
    await refuses(ingest.settings)


async def refuses(settings: Settings) -> None:
    app = build(settings)
    with pytest.raises(KeyringError, match="not the one that this database was written with: restore"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_secret_that_the_keyring_does_not_open_gets_the_retry_answer(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest")) as ingest:
        secret = await ingest.feed("damaged", "zto", ["zto"])
        owner = await asyncpg.connect(ingest.dsns.owner)
        await owner.execute("update feed_secret set ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)")
        await owner.close()
        answer = await ingest.push("damaged", "zto", zto.SAMPLE, secret)
        assert (answer.status_code, answer.json()["status"], answer.headers["retry-after"]) == (503, False, "5")
        assert "keyring.unreadable" in answer.json()["message"]


async def test_a_watch_that_fails_goes_on_and_one_that_has_ended_is_not_ready(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest")) as ingest:
        owner = await asyncpg.connect(ingest.dsns.owner)
        await owner.execute("alter table log_relay rename to log_relay_away")
        await asyncio.sleep(2.2)  # two looks
        await owner.execute("alter table log_relay_away rename to log_relay")
        await owner.close()
        assert (await ingest.client.get("/readyz")).json()["checks"]["committer"] == "ok"
        ingest.service._watcher.cancel()
        await asyncio.sleep(0.1)
        assert "start the process anew" in (await ingest.client.get("/readyz")).json()["checks"]["committer"]


async def test_a_push_is_not_held_up_by_a_change_of_its_feed(make_database: MakeDatabase, tmp_path: Path) -> None:
    async with running(tmp_path, await make_database("ingest")) as ingest:
        await ingest.feed("locked", "canonical", ["zto"])
        async with ingest.database.write() as tx:
            assert await repository.lock_feed(tx, "locked")
            answer = await asyncio.wait_for(ingest.scans("locked", event()), 2)
    assert answer.json()["counts"]["accepted"] == 1
