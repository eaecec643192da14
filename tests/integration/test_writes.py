"""`Idempotency-Key` and `If-Match` on real writes of the three APIs: done once, answered again, refused where something has changed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from shared import writes
from shared.auth import issue
from tests.conftest import MakeDatabase
from tests.ingest_support import Ingest
from tests.ingest_support import running as running_ingest
from tests.integration.subsidy_books import bearer
from tests.registry_api import Registry, day, running, station_body

pytest_plugins = ("tests.integration.subsidy_fixtures",)


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


@pytest.fixture(scope="module")
async def ingest(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running_ingest(tmp_path_factory.mktemp("writes"), await make_database("ingest")) as started:
        yield started


async def post(registry: Registry, key: str, body: Any, role: str = "coordinator", path: str = "/v1/stations") -> httpx.Response:
    return await registry.client.post(path, json=body, headers=registry.token(role) | {"Idempotency-Key": key})


async def count(registry: Registry, table: str) -> int:
    async with registry.database.read() as read:
        found: int = await read.fetchval(f"select count(*) from {table}")
    return found


async def test_asked_again_a_write_is_answered_again_and_not_done_again(registry: Registry) -> None:
    body = station_body(name="一次")
    before = await count(registry, "revision")
    first, again, quoted = [await post(registry, key, body) for key in ("k-1", "k-1", '"k-1"')]
    assert [a.status_code for a in (first, again, quoted)] == [201, 201, 201]
    assert first.content == again.content == quoted.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == quoted.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-content-type-options"] == "nosniff"
    assert await count(registry, "revision") == before + 1
    assert len(await registry.call("GET", "/v1/log/0?from_position=0&limit=1000", role="auditor", expect=200)) > 0
    other = await post(registry, "k-1", body | {"name": "另一个"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency.other_request")
    elsewhere = await post(registry, "k-1", {"name": "企业", "effective_at": day(1, 1)}, path="/v1/operators")
    assert elsewhere.json()["code"] == "idempotency.other_request"
    fewer = issue(registry.private_pem, subject="test:coordinator", roles=["dashboard"], ttl_s=60)
    demoted = await registry.client.post("/v1/stations", json=body, headers={"Authorization": f"Bearer {fewer}", "Idempotency-Key": "k-1"})
    assert demoted.status_code == 403, "who has lost the right is not answered from before"
    somebody = await post(registry, "k-1", body, role="admin")
    assert (somebody.status_code, "idempotency-replayed" in somebody.headers) == (201, False), "another's keys are nobody's business"
    assert somebody.json()["station_id"] != first.json()["station_id"]


async def test_a_refusal_is_not_kept_and_leaves_nothing(registry: Registry) -> None:
    before = await count(registry, "revision")
    refused = [await post(registry, "k-refused", station_body(division_code="140827999999")) for _ in range(2)]
    assert [(a.status_code, "idempotency-replayed" in a.headers) for a in refused] == [(422, False)] * 2
    assert await count(registry, "revision") == before
    assert (await post(registry, "k-refused", station_body(name="改正后"))).status_code == 201
    for wrong in ("", " ", "a b", "x" * 256):
        answer = await post(registry, wrong, station_body())
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency.invalid"), wrong
    nobody = await registry.client.post("/v1/stations", json=station_body(), headers={"Idempotency-Key": "k-1"})
    assert nobody.status_code == 401
    forbidden = await post(registry, "k-forbidden", station_body(), role="dashboard")
    assert forbidden.status_code == 403
    too_large = await registry.client.post(
        "/v1/stations", content=b"x" * 100_000, headers=registry.token("admin") | {"Idempotency-Key": "k-large"}
    )
    assert (too_large.status_code, too_large.json()["code"]) == (413, "body.too_large")


async def test_two_at_once_are_one(registry: Registry) -> None:
    before = await count(registry, "revision")
    answers = await asyncio.gather(*(post(registry, "k-at-once", station_body(name="同时")) for _ in range(6)))
    done = [a for a in answers if a.status_code == 201]
    assert done
    assert {a.json()["station_id"] for a in done} == {done[0].json()["station_id"]}
    late = [a for a in answers if a.status_code != 201]
    assert {(a.status_code, a.json()["code"], a.headers["retry-after"]) for a in late} <= {(409, "idempotency.in_flight", "1")}
    assert await count(registry, "revision") == before + 1


async def test_what_is_lost_before_the_commit_is_done_by_the_next(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    before, kept = await count(registry, "revision"), await count(registry, "kept_answer")
    with monkeypatch.context() as broken:
        broken.setattr(writes, "KEEP", writes.KEEP.replace("$7)", "$7 / 0)"))
        lost = await post(registry, "k-lost", station_body(name="丢失"))
        assert lost.status_code == 500
    assert (await count(registry, "revision"), await count(registry, "kept_answer")) == (before, kept), "one transaction"
    assert (await post(registry, "k-lost", station_body(name="丢失"))).status_code == 201


async def test_a_change_names_what_it_has_read(registry: Registry) -> None:
    path = f"/v1/stations/{await registry.station(name='原名')}"
    token = registry.token("coordinator")
    seen = (await registry.client.get(path, headers=token)).headers["etag"]
    rename = {"name": "新名", "effective_at": day(4, 1)}
    del registry.client.headers["If-Match"]
    try:
        bare = await registry.client.patch(path, json=rename, headers=token)
        assert (bare.status_code, bare.json()["code"]) == (428, "precondition.required")
        for wrong in ("", "abc", "W/", f"{seen} x"):
            answer = await registry.client.patch(path, json=rename, headers=token | {"If-Match": wrong})
            assert (answer.status_code, answer.json()["code"]) == (400, "precondition.invalid"), wrong
        nobody = await registry.client.patch(path, json=rename)
        assert nobody.status_code == 401
        first = await registry.client.patch(path, json=rename, headers=token | {"If-Match": seen})
        assert first.status_code == 200, first.text
        stale = await registry.client.patch(path, json=rename | {"name": "再改"}, headers=token | {"If-Match": seen})
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition.stale")
        now = (await registry.client.get(path, headers=token)).headers["etag"]
        assert stale.headers["etag"] == now != seen
        for written in ("{}", '"other", {}', "*"):
            tag = written.format(now)
            change = {"name": f"改 {len(tag)}", "effective_at": day(5, 1)}
            answer = await registry.client.patch(path, json=change, headers=token | {"If-Match": tag})
            assert answer.status_code == 200, (tag, answer.text)
            now = (await registry.client.get(path, headers=token)).headers["etag"].removeprefix("W/")
        missing = await registry.client.patch("/v1/stations/stn_999999", json=rename, headers=token | {"If-Match": seen})
        assert missing.status_code == 404
    finally:
        registry.client.headers["If-Match"] = "*"


async def test_of_two_who_have_read_the_same_one_is_told(registry: Registry) -> None:
    path = f"/v1/stations/{await registry.station(name='争用')}"
    headers = registry.token("coordinator")
    headers["If-Match"] = (await registry.client.get(path, headers=headers)).headers["etag"]
    answers = await asyncio.gather(
        *(registry.client.patch(path, json={"name": f"第{n}", "effective_at": day(4, 1)}, headers=headers) for n in range(4))
    )
    assert sorted(a.status_code for a in answers) == [200, 412, 412, 412]


async def test_a_secret_is_kept_sealed(ingest: Ingest) -> None:
    body = {"feed": "once", "format": "zto", "brands": ["zto"]}
    headers = ingest.bearer("admin") | {"Idempotency-Key": "feed-1"}
    first, again = [await ingest.client.post("/v1/feeds", json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    async with ingest.database.read() as read:
        row = await read.fetchrow("select * from kept_answer where key = 'feed-1'")
    assert row is not None
    assert all(first.json()["secret"].encode() not in bytes(value) for value in row.values() if isinstance(value, bytes))
    rotated = [
        await ingest.client.post("/v1/feeds/once/secret", headers=ingest.bearer("admin") | {"Idempotency-Key": "rotate-1"})
        for _ in range(2)
    ]
    assert rotated[0].json() == rotated[1].json()
    seen = (await ingest.client.get("/v1/feeds/once", headers=ingest.bearer("admin"))).headers["etag"]
    for tag, status in ((seen, 200), (seen, 412)):
        answer = await ingest.client.patch("/v1/feeds/once", json={"mode": "live"}, headers=ingest.bearer("admin") | {"If-Match": tag})
        assert answer.status_code == status, answer.text


async def test_after_thirty_days_a_key_is_forgotten_and_an_answer_is_never_changed(registry: Registry) -> None:
    body = {"name": "旧键", "effective_at": day(1, 1)}
    await post(registry, "k-old", body, path="/v1/operators")
    owner = await asyncpg.connect(registry.owner_dsn)
    await owner.execute("update kept_answer set at = at - interval '31 days' where key = 'k-old'")
    await owner.close()
    await post(registry, "k-new", body | {"name": "新键"}, path="/v1/operators")
    assert await count(registry, "kept_answer where key = 'k-old'") == 0
    async with registry.database.write() as tx:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await tx.execute("update kept_answer set status = 200")


async def test_a_budget_is_set_once(subsidy_dsns: Any, keys: tuple[str, str], client: httpx.AsyncClient) -> None:
    body = {"county_code": "140827000000", "scheme": "downlink", "year": 2023, "source": "county", "amount_fen": 100, "document": "首批"}
    headers = bearer(keys[0], "finance") | {"Idempotency-Key": "budget-1"}
    first, again = [await client.post("/v1/budgets", json=body, headers=headers) for _ in range(2)]
    assert first.is_success, first.text
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


async def test_what_joins_is_the_tasks_own_and_what_waits_for_the_commit_waits(registry: Registry) -> None:
    database, told = registry.database, list[str]()
    async with database.one_transaction() as tx:
        await tx.execute("create temporary table mine (n int) on commit drop")
        database.when_committed(lambda: told.append("committed"))
        async with database.write() as inner, database.read() as read:
            assert inner is read is tx
            await inner.execute("insert into mine values (1)")
        with contextlib.suppress(ZeroDivisionError):
            async with database.write() as inner:
                await inner.execute("insert into mine values (2)")
                raise ZeroDivisionError
        async with database.one_transaction() as again:
            assert await again.fetchval("select sum(n) from mine") == 1, "what a part rolls back is its own"

        async def beside() -> bool:
            async with database.read() as other:
                return await other.fetchval("select to_regclass('mine')") is None

        assert await asyncio.create_task(beside()), "another task has its own"
        assert told == []
    assert told == ["committed"]
    with contextlib.suppress(ZeroDivisionError):
        async with database.one_transaction():
            database.when_committed(lambda: told.append("rolled back"))
            raise ZeroDivisionError
    database.when_committed(lambda: told.append("at once"))
    assert told == ["committed", "at once"]
