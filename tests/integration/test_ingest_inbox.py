"""The encrypted inbox: what a person's data must never leave, how its keys change over, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.embedded.installation import Dsns
from services.ingest import retention
from services.ingest.brands import NATIVE, zto
from services.ingest.brands.base import Wire
from shared import keyring
from shared.calendar import SHANGHAI
from tests.ingest_support import Ingest, event, running

MakeDatabase = Callable[[str], Awaitable[Dsns]]
CANARIES = ("赵钱孙李", "13900139000", "140827199001011234", "幸福路77号")
PERSON = " ".join(CANARIES)
TABLES = "select table_name from information_schema.tables where table_schema = 'public'"


@pytest.fixture(scope="module")
async def ingest(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running(tmp_path_factory.mktemp("inbox"), await make_database("ingest")) as started:
        yield started


def everywhere(sample: Any, told: str) -> Any:
    """The sample with the canaries in every text that no format keeps, and beside it."""
    if isinstance(sample, dict):
        free = {"desc", "context", "remark", "memo", "description", "operationRemark", "operate_desc", "opDesc", "AcceptStation"}
        return {k: told if k in free else everywhere(v, told) for k, v in sample.items()} | {"consignee": told, "phone": told}
    if isinstance(sample, list):
        return [everywhere(value, told) for value in sample]
    return sample


@pytest.mark.parametrize("format_", NATIVE)
async def test_no_canary_leaves_the_inbox(ingest: Ingest, format_: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not in a table, a message of the log, an answer, a problem or a line of ours, whichever way a push ends."""
    module = NATIVE[format_]
    secret = await ingest.feed(f"canary-{format_}", format_, list(module.BRANDS[:1]))
    told: list[str] = []
    payload = everywhere(module.SAMPLE, PERSON)
    for wire in (
        module.sign(payload, secret.encode()),
        module.sign(payload, secret[::-1].encode()),
        Wire(PERSON.encode(), "application/json"),
        Wire(f"data={PERSON}".encode(), "application/x-www-form-urlencoded"),
    ):
        headers = {**wire.headers, "content-type": wire.content_type}
        answer = await ingest.client.post(wire.path(f"canary-{format_}"), content=wire.body, headers=headers)
        told.append(answer.text)
        looked = await ingest.client.get(f"/v1/receipts/{answer.headers['receipt-id']}", headers=ingest.bearer("auditor"))
        told.append(looked.text)
    for path in ("quarantine", "completeness"):
        told.append((await ingest.client.get(f"/v1/{path}?feed=canary-{format_}", headers=ingest.bearer("auditor"))).text)
    told += [value.decode() for value in await ingest.log()]
    told.append(capsys.readouterr().out)
    found = [canary for canary in CANARIES for text in told if canary in text]
    assert found == []
    async with ingest.database.read() as read:
        for (table,) in await read.fetch(TABLES):
            values = [value for row in await read.fetch(f'select * from "{table}"') for value in row]
            rows = " ".join(value.hex() if isinstance(value, bytes) else str(value) for value in values)
            assert [canary for canary in CANARIES if canary in rows or canary.encode().hex() in rows] == [], table


async def test_no_canary_of_a_scan_leaves_either(ingest: Ingest) -> None:
    await ingest.feed("canary-own", "canonical", ["zto"])
    named = {"site_name": PERSON, "goods": PERSON, "site_code": CANARIES[1], "order_no": CANARIES[1], PERSON: "1", "brand": PERSON}
    changes: list[dict[str, Any]] = [{name: told} for name, told in named.items()]
    answer = await ingest.scans("canary-own", *(event(**change) for change in changes))
    assert {i["verdict"] for i in answer.json()["items"]} == {"rejected"}
    assert [canary for canary in CANARIES if canary in answer.text] == []


async def test_a_rotated_keyring_opens_what_the_old_key_closed(make_database: MakeDatabase, tmp_path: Path) -> None:
    dsns = await make_database("ingest")
    async with running(tmp_path, dsns) as before:
        secret = await before.feed("turned", "zto", ["zto"])
        await before.push("turned", "zto", zto.SAMPLE | {"actionTime": "never"}, secret)
        path = Path(before.settings.keyring)
        old = keyring.Keyring.load(path)
        name = keyring.rotate(path)
        renewed = keyring.Keyring.load(path)
        assert (renewed.current, set(renewed.keys)) == (name, {*old.keys, name})
        assert path.stat().st_mode & 0o777 == 0o600
        service = before.service
        service.keyring = service.feeds._keyring = renewed  # as after a new start
        assert (await before.push("turned", "zto", zto.SAMPLE, secret)).json()["status"] is True, "the secret was closed with the old key"
        async with before.database.read() as read:
            keys = [row[0] for row in await read.fetch("select key_id from push order by receipt_id")]
        assert keys == [old.current, name]
        shown = await before.client.get("/v1/quarantine/qua_1", headers=before.bearer("auditor"))
        assert shown.json()["document"]["actionTime"] == "never", "and so was the body"


async def test_bodies_end_and_what_they_hashed_to_stays(ingest: Ingest) -> None:
    secret = await ingest.feed("ending", "zto", ["zto"])
    receipts = [await ingest.receipt(await ingest.push("ending", "zto", zto.SAMPLE | {"billCode": "?"}, secret)) for _ in range(3)]
    today = datetime.now(SHANGHAI).date()
    days = [today - timedelta(days=n) for n in (100, 50, 0)]
    owner = await asyncpg.connect(ingest.dsns.owner)
    for receipt, day in zip(receipts, days, strict=True):
        await owner.execute("update push set received_date = $2 where receipt_id = $1", receipt["receipt_id"], day)
    await owner.execute("update push set received_date = $1 where feed <> 'ending'", today)

    assert await retention.drop_next(ingest.database, 60) == days[0]
    assert await retention.drop_next(ingest.database, 60) is None, "fifty days are not sixty"
    stop = asyncio.Event()
    task = asyncio.create_task(retention.run(ingest.database, 40, stop))
    while await owner.fetchval("select count(*) from body_dropped") < 2:
        await asyncio.sleep(0.02)
    stop.set()
    await task
    kept = await owner.fetch(
        "select received_date, octet_length(body) > 0, octet_length(payload_sha256) from push where feed = 'ending' order by 1"
    )
    assert [tuple(row) for row in kept] == [(days[0], False, 32), (days[1], False, 32), (days[2], True, 32)]
    for receipt in receipts:
        looked = await ingest.client.get(f"/v1/receipts/{receipt['receipt_id']}", headers=ingest.bearer("auditor"))
        assert looked.json() == receipt
    items = (await ingest.client.get("/v1/quarantine?feed=ending", headers=ingest.bearer("auditor"))).json()["items"]
    answers = [await ingest.client.get(f"/v1/quarantine/{i['quarantine_id']}", headers=ingest.bearer("auditor")) for i in items]
    assert sorted(a.status_code for a in answers) == [200, 410, 410]
    gone = {"quarantine_ids": [items[-1]["quarantine_id"]], "reason": "r"}
    assert (await ingest.client.post("/v1/quarantine/redrive", json=gone, headers=ingest.bearer("admin"))).status_code == 410

    app = await asyncpg.connect(ingest.dsns.app)
    with pytest.raises(asyncpg.RaiseError, match="not 30 days old"):
        await app.execute("select drop_bodies($1)", today - timedelta(days=30))
    for forbidden in (
        "update push set body = ''",
        "delete from push",
        "update quarantine_outcome set reason = 'x'",
        "delete from body_read",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(forbidden)
    await app.close()
    await owner.close()
