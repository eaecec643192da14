"""The registry over real PostgreSQL: what a client writes is what it reads, as of then."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from alembic import command

from services.registry.health import check_installation
from services.registry.migrate import install
from shared.contracts.registry import Station, decode_change
from shared.log.chain import extend
from shared.migrations import config
from tests.conftest import MakeDatabase
from tests.registry_api import COMMUNITY, JUNE, OTHER_VILLAGE, TOWN, VILLAGE, Registry, day, filing_body, running, station_body


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


def alias(name: str, valid_from: str = day(3, 1), **fields: object) -> dict[str, object]:
    return {"namespace": "zto", "site_name": name, "valid_from": valid_from, **fields}


async def test_models_and_migrations_agree(registry: Registry) -> None:
    await asyncio.to_thread(command.check, config("registry", registry.owner_dsn))


async def test_migrating_twice_changes_nothing(registry: Registry) -> None:
    before = await registry.get("/v1/divisions", limit=1, valid_at=JUNE)
    await install(registry.owner_dsn)
    assert await registry.get("/v1/divisions", limit=1, valid_at=JUNE) == before
    await check_installation(registry.database)


@pytest.mark.parametrize(("table", "column"), [("revision", "actor"), ("snapshot", "document"), ("trace", "term"), ("log", "value")])
async def test_the_application_cannot_change_history(registry: Registry, table: str, column: str) -> None:
    for statement in (f"delete from {table}", f"update {table} set {column} = {column}", f"truncate {table}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with registry.database.write() as tx:
                await tx.execute(statement)


async def test_divisions_are_revision_zero_with_their_kinds(registry: Registry) -> None:
    villages = await registry.get("/v1/divisions", kind="village", limit=1000)
    assert len(villages["items"]) == 71
    assert villages["items"][0]["name"] == "上王村"
    assert all(item["rural"] for item in villages["items"])
    [community] = (await registry.get("/v1/divisions", q="胡家峪"))["items"]
    assert (community["name"], community["kind"], community["rural"]) == ("胡家峪社区", "community", False)
    assert [i["code"] for i in (await registry.get("/v1/divisions", parent_code=TOWN, q="shangwang"))["items"]] == [VILLAGE]
    assert (await registry.get("/v1/divisions", valid_at="2021-12-31T23:59:59+08:00"))["items"] == []


async def test_a_back_dated_change_holds_until_the_next_recorded_one(registry: Registry) -> None:
    station = await registry.station(operating_status="planned", effective_at=day(3, 1))
    await registry.call("PATCH", f"/v1/stations/{station}", {"operating_status": "closed", "effective_at": day(8, 1)})
    await registry.call("PATCH", f"/v1/stations/{station}", {"operating_status": "open", "effective_at": day(5, 1)})
    seen = {m: (await registry.get(f"/v1/stations/{station}", valid_at=day(m, 2)))["operating_status"] for m in (3, 4, 5, 7, 8, 9)}
    assert seen == {3: "planned", 4: "planned", 5: "open", 7: "open", 8: "closed", 9: "closed"}
    before = await registry.call("PATCH", f"/v1/stations/{station}", {"name": "早", "effective_at": day(2, 1)}, expect=409)
    assert before["code"] == "station.not_registered_then"


async def test_what_was_believed_stays_readable(registry: Registry) -> None:
    station = await registry.station(name="原名")
    then = (await registry.get(f"/v1/stations/{station}", valid_at=JUNE))["as_of"]["known_at"]
    await registry.call("PATCH", f"/v1/stations/{station}", {"name": "新名", "effective_at": day(4, 1)})
    assert (await registry.get(f"/v1/stations/{station}", valid_at=JUNE))["name"] == "新名"
    old = await registry.get(f"/v1/stations/{station}", valid_at=JUNE, known_at=then)
    assert (old["name"], old["version"], old["as_of"]["known_at"]) == ("原名", 1, then)


async def test_known_at_resolves_down_to_a_stored_revision(registry: Registry) -> None:
    station = await registry.station()
    stored = (await registry.get(f"/v1/stations/{station}"))["as_of"]
    later = await registry.get(f"/v1/stations/{station}", known_at="2099-01-01T00:00:00+08:00")
    assert later["as_of"] | {"valid_at": None} == stored | {"valid_at": None}
    nothing = await registry.get("/v1/stations", known_at="2001-01-01T00:00:00+08:00")
    assert nothing["items"] == []
    assert nothing["as_of"]["revision"] is None


async def test_filters_and_pages(registry: Registry) -> None:
    operator = await registry.operator()
    for i in range(5):
        await registry.station(name=f"分页{i}", brands=["sto"], operator_id=operator)
    first = await registry.get("/v1/stations", q="分页", limit=2, valid_at=JUNE)
    await registry.station(name="分页后来", brands=["sto"])
    names, cursor = [i["name"] for i in first["items"]], first["next_cursor"]
    while cursor:
        page = await registry.get("/v1/stations", q="分页", limit=2, cursor=cursor)
        assert page["as_of"] == first["as_of"]
        names, cursor = names + [i["name"] for i in page["items"]], page["next_cursor"]
    assert names == [f"分页{i}" for i in range(5)]
    expected: list[tuple[dict[str, Any], int]] = [
        ({"level": "village", "q": "分页"}, 6),
        ({"level": "county_hub,township", "q": "分页"}, 0),
        ({"brand": "sto,yto"}, 6),
        ({"brand": "jd"}, 0),
        ({"township_code": TOWN, "brand": "sto"}, 6),
        ({"township_code": "140827101000", "brand": "sto"}, 0),
        ({"operating_status": "open", "q": "分页"}, 6),
        ({"operating_status": "closed", "q": "分页"}, 0),
        ({"filing_status": "none", "q": "分页"}, 6),
        ({"filing_status": "filed,submitted", "q": "分页"}, 0),
    ]
    for filters, count in expected:
        assert len((await registry.get("/v1/stations", valid_at=JUNE, **filters))["items"]) == count, filters


async def test_an_unchanged_answer_is_304(registry: Registry) -> None:
    station, headers = await registry.station(), registry.token("auditor")
    first = await registry.client.get(f"/v1/stations/{station}", headers=headers)
    again = await registry.client.get(f"/v1/stations/{station}", headers=headers | {"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_levels_stand_where_they_can(registry: Registry) -> None:
    township = await registry.call("POST", "/v1/stations", station_body(level="township", division_code=TOWN))
    assert township["township_code"] == TOWN
    hub = await registry.call("POST", "/v1/stations", station_body(level="county_hub", division_code="140827000000"))
    assert (hub["township_code"], hub["county_code"]) == (None, "140827000000")
    assert (await registry.call("POST", "/v1/stations", station_body(division_code=COMMUNITY)))["township_code"] == "140827104000"
    for wrong in ({"division_code": TOWN}, {"division_code": "140827100999"}, {"effective_at": "2021-06-01T00:00:00+08:00"}):
        refused = await registry.call("POST", "/v1/stations", station_body(**wrong), expect=422)
        assert refused["errors"][0]["pointer"] == "/division_code"


async def test_an_alias_is_claimed_by_one_station_at_a_time(registry: Registry) -> None:
    one = await registry.call("POST", "/v1/stations", station_body(aliases=[{"namespace": "zto", "site_name": "王村 驿站"}]))
    other = await registry.station(division_code=OTHER_VILLAGE)
    path = f"/v1/stations/{other}/aliases"
    refused = await registry.call("POST", path, alias("王村驿", day(5, 1)), expect=409)
    assert refused["code"] == "alias.claimed"
    assert one["station_id"] in refused["detail"]
    await registry.call("POST", path, alias("王村驿站", day(5, 1), namespace="yto"))
    first = one["aliases"][0]["alias_id"]
    ended = await registry.call("DELETE", f"/v1/stations/{one['station_id']}/aliases/{first}?effective_at={day(6, 1)}")
    assert ended["valid_to"] == day(6, 1)
    await registry.call("POST", path, alias("王村驿站", day(6, 1)))
    assert (await registry.call("POST", path, alias("王村驿站", day(7, 1)), expect=409))["code"] == "alias.exists"
    gone = await registry.call("DELETE", f"/v1/stations/{one['station_id']}/aliases/{first}?effective_at={day(7, 1)}", expect=409)
    assert gone["code"] == "alias.ended"


async def test_an_alias_that_ends_before_it_began_has_never_held(registry: Registry) -> None:
    one, other = await registry.station(), await registry.station()
    made = await registry.call("POST", f"/v1/stations/{one}/aliases", alias("从未", day(6, 1)))
    await registry.call("DELETE", f"/v1/stations/{one}/aliases/{made['alias_id']}?effective_at={day(5, 1)}")
    await registry.call("POST", f"/v1/stations/{other}/aliases", alias("从未", day(6, 1)))
    assert (await registry.get(f"/v1/stations/{one}", valid_at=day(7, 1)))["aliases"] == []
    missing = await registry.call("DELETE", f"/v1/stations/{one}/aliases/{made['alias_id']}?effective_at={day(5, 1)}", expect=404)
    assert missing["code"] == "alias.not_found"


async def test_a_filing_from_draft_to_a_correction(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    filing = await registry.filing(station, operator)
    await registry.move(filing, "submitted", day(6, 8))
    await registry.move(filing, "filed", day(6, 12), receipt_no="R-1")
    lapsed = await registry.move(filing, "lapsed", day(7, 10), note="执照被吊销")
    assert (lapsed["submitted_at"], lapsed["decided_at"], lapsed["receipt_no"]) == (day(6, 8), day(6, 12), "R-1")
    believed = lapsed["as_of"]["known_at"]
    correction = {"valid_from": day(7, 10), "valid_to": None, "status": "filed", "reason": "许可证未注销，登记有误"}
    await registry.call("POST", f"/v1/filings/{filing}/corrections", correction, role="postal")
    now = await registry.get("/v1/standing", station_id=station, brand="zto", valid_at=day(7, 20))
    then = await registry.get("/v1/standing", station_id=station, brand="zto", valid_at=day(7, 20), known_at=believed)
    assert (now["filed"], then["filed"]) == (True, False)
    rows = (await registry.get(f"/v1/stations/{station}/filings", history="true"))["items"]
    assert [(r["status"], r["valid_from"], r["valid_to"], r["superseded_at"] is None) for r in rows] == [
        ("draft", day(6, 1), None, False),
        ("draft", day(6, 1), day(6, 8), True),
        ("submitted", day(6, 8), None, False),
        ("submitted", day(6, 8), day(6, 12), True),
        ("filed", day(6, 12), None, False),
        ("filed", day(6, 12), day(7, 10), True),
        ("lapsed", day(7, 10), None, False),
        ("filed", day(7, 10), None, True),
    ]
    assert [(r["actor"], r["reason"]) for r in rows[-2:]] == [("test:coordinator", "执照被吊销"), ("test:postal", correction["reason"])]
    assert all(a["superseded_at"] == b["recorded_at"] for a, b in zip(rows[:6:2], rows[1:6:2], strict=True))
    current = (await registry.get(f"/v1/stations/{station}/filings", valid_at=day(7, 1)))["items"]
    assert [(r["status"], r["valid_to"]) for r in current] == [("filed", day(7, 10))]


async def test_a_name_is_one_operators_at_a_time(registry: Registry) -> None:
    first = await registry.operator("垣曲 甲物流ＡＢ", effective_at=day(5, 1))
    for effective_at in (day(5, 1), day(1, 1), day(8, 1)):
        again = {"name": "垣曲甲物流ab", "effective_at": effective_at}
        refused = await registry.call("POST", "/v1/operators", again, expect=409)
        assert refused["code"] == "operator.name_taken"
        assert first in refused["detail"]
    found = (await registry.get("/v1/operators", q="甲物流", valid_at=day(9, 1)))["items"]
    assert [i["operator_id"] for i in found] == [first]


async def test_of_an_operator_sent_twice_at_once_one_is_registered(registry: Registry) -> None:
    body, headers = {"name": "同时两次", "effective_at": JUNE}, registry.token("coordinator")
    answers = await asyncio.gather(*(registry.client.post("/v1/operators", json=body, headers=headers) for _ in range(4)))
    assert sorted(a.status_code for a in answers) == [201, 409, 409, 409]


async def test_what_says_the_same_again_makes_no_revision(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    filing = await registry.filing(station, operator, status="submitted")
    correction = {"valid_from": day(6, 5), "status": "filed", "receipt_no": "R-same", "reason": "漏记"}
    for method, path, body in (
        ("PATCH", f"/v1/stations/{station}", {"name": "改名", "effective_at": day(7, 1)}),
        ("POST", f"/v1/filings/{filing}/corrections", correction),
    ):
        first = await registry.call(method, path, body)
        await registry.station()  # somebody writes something else meanwhile
        head = (await registry.get("/v1/log/0", limit=1))["head"]
        again = await registry.call(method, path, body)
        assert (await registry.get("/v1/log/0", limit=1))["head"] == head
        assert again["as_of"]["revision"] == head - 1
        assert again | {"as_of": None} == first | {"as_of": None}


async def test_a_filing_is_not_older_than_its_outlet(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    early = filing_body(filer_id=operator, opened_on="2023-06-02", effective_at="2023-06-01T23:59:59+08:00")
    refused = await registry.call("POST", f"/v1/stations/{station}/filings", early, expect=422)
    assert [(e["pointer"], e["code"]) for e in refused["errors"]] == [("/effective_at", "filing.before_opening")]
    filing = await registry.filing(station, operator, opened_on="2023-06-02", effective_at=day(6, 2))
    correction = {"valid_from": day(6, 1), "status": "submitted", "reason": "误记"}
    refused = await registry.call("POST", f"/v1/filings/{filing}/corrections", correction, expect=422)
    assert [(e["pointer"], e["code"]) for e in refused["errors"]] == [("/valid_from", "filing.before_opening")]
    await registry.call("POST", f"/v1/filings/{filing}/corrections", correction | {"valid_from": day(6, 2)})


async def test_a_change_is_recorded_at_most_a_year_before_it_holds(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    filing = await registry.filing(station, operator)
    far, near = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (367, 364))
    for method, path, body, field in (
        ("POST", f"/v1/stations/{station}/filings", filing_body(filer_id=operator), "effective_at"),
        ("POST", f"/v1/filings/{filing}/corrections", {"status": "draft", "reason": "误记"}, "valid_from"),
        ("POST", f"/v1/filings/{filing}/transitions", {"to": "submitted"}, "effective_at"),
        ("PATCH", f"/v1/stations/{station}", {"operating_status": "closed"}, "effective_at"),
    ):
        refused = await registry.call(method, path, body | {field: far}, expect=422)
        assert [(e["pointer"], e["code"]) for e in refused["errors"]] == [(f"/{field}", "moment.too_far_ahead")]
        await registry.call(method, path, body | {field: near})


async def test_a_wrong_transition_says_what_is_allowed(registry: Registry) -> None:
    operator = await registry.operator()
    filing = await registry.filing(await registry.station(), operator, status="submitted")
    path = f"/v1/filings/{filing}/transitions"
    refused = await registry.call("POST", path, {"to": "lapsed", "effective_at": day(6, 9)}, expect=409)
    assert refused["code"] == "filing.transition_not_allowed"
    assert "correction_requested, filed" in refused["detail"]
    early = await registry.call("POST", path, {"to": "filed", "effective_at": day(5, 1), "receipt_no": "R-x"}, expect=409)
    assert early["code"] == "filing.not_open_then"


async def test_a_receipt_is_required_and_unique_per_authority(registry: Registry) -> None:
    operator = await registry.operator()
    one, other = await registry.station(), await registry.station()
    body = filing_body(filer_id=operator, status="filed")
    missing = await registry.call("POST", f"/v1/stations/{one}/filings", body, expect=422)
    assert missing["errors"][0]["pointer"] == "/receipt_no"
    early = await registry.call("POST", f"/v1/stations/{one}/filings", filing_body(filer_id=operator, receipt_no="R-7"), expect=422)
    assert early["errors"][0]["code"] == "filing.receipt_not_yet"
    await registry.filing(one, operator, status="filed", receipt_no="R-7")
    taken = await registry.call("POST", f"/v1/stations/{other}/filings", body | {"receipt_no": "R-7"}, expect=409)
    assert taken["code"] == "filing.receipt_taken"
    await registry.filing(other, operator, status="filed", receipt_no="R-7", authority="晋城市邮政管理局")


async def test_a_filing_covers_its_brands_only(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator, brands=["zto", "yto"])
    await registry.filing(station, operator, status="filed", receipt_no="R-z")
    zto = await registry.get("/v1/standing", station_id=station, brand="zto", valid_at=day(6, 2))
    yto = await registry.get("/v1/standing", station_id=station, brand="yto", valid_at=day(6, 2))
    assert (zto["filed"], yto["filed"], yto["filing_id"]) == (True, False, None)


async def test_each_write_is_one_position_with_whole_snapshots(registry: Registry) -> None:
    head = (await registry.get("/v1/log/0", from_position=0, limit=1))["head"]
    station = await registry.station(name="日志")
    await registry.call("PATCH", f"/v1/stations/{station}", {"name": "日志二", "effective_at": day(4, 1)})
    await registry.call("POST", f"/v1/stations/{station}/aliases", alias("别名一处", namespace=" "), expect=422)
    page = await registry.get("/v1/log/0", from_position=head)
    assert (page["head"], page["next_position"], [i["position"] for i in page["items"]]) == (head + 2, head + 2, [head, head + 1])
    second = decode_change(page["items"][1]["value"].encode())
    assert second.actor == "test:coordinator"
    [record] = second.records
    assert isinstance(record, Station)
    assert [s.name for s in record.segments] == ["日志", "日志二"]
    before, after = page["items"]
    assert extend(bytes.fromhex(before["chain"]), after["value"].encode()).hex() == after["chain"]


async def test_consumers_report_and_are_removed(registry: Registry) -> None:
    page = await registry.get("/v1/log/0", limit=1)
    place = {"partition": 0, "next_position": 1, "chain": page["items"][0]["chain"], "asks": 0}
    heads = await registry.call("PUT", "/v1/log/consumers/subsidy", {"positions": [place]}, role="service")
    assert heads["heads"][0] >= page["head"]
    [seen] = (await registry.get("/v1/log/consumers"))["items"]
    assert (seen["consumer"], seen["lag"]) == ("subsidy", heads["heads"][0] - 1)
    assert (await registry.call("PUT", "/v1/log/consumers/subsidy", {"positions": []}, role="service", expect=422))[
        "code"
    ] == "request.invalid"
    await registry.call("DELETE", "/v1/log/consumers/subsidy", role="admin", expect=204)
    await registry.call("DELETE", "/v1/log/consumers/subsidy", role="admin", expect=404)


async def test_concurrent_edits_of_one_station_miss_nothing(registry: Registry) -> None:
    station = await registry.station()
    await asyncio.gather(*(registry.call("POST", f"/v1/stations/{station}/aliases", alias(f"并发{i}")) for i in range(12)))
    found = await registry.get(f"/v1/stations/{station}", valid_at=JUNE)
    assert sorted(a["site_name"] for a in found["aliases"]) == sorted(f"并发{i}" for i in range(12))
    assert found["version"] == 13


async def test_of_two_claims_at_once_one_is_refused(registry: Registry) -> None:
    operator, stations = await registry.operator(), [await registry.station() for _ in range(4)]
    filed = filing_body(filer_id=operator, status="filed", receipt_no="R-once")
    for path, body in (("aliases", alias("抢名")), ("filings", filed)):
        calls = [registry.client.post(f"/v1/stations/{station}/{path}", json=body, headers=registry.token("admin")) for station in stations]
        assert sorted(answer.status_code for answer in await asyncio.gather(*calls)) == [201, 409, 409, 409]


async def test_a_closed_log_takes_nothing_until_an_operator_has_recovered_it(make_database: MakeDatabase) -> None:
    async with running(make_database) as registry:
        ahead = {"partition": 0, "next_position": 5, "chain": "00" * 32, "asks": 0}
        report = await registry.call("PUT", "/v1/log/consumers/subsidy", {"positions": [ahead]}, role="service")
        assert report["parted"] == [0]
        headers = registry.token("admin")
        late = {"name": "迟", "effective_at": JUNE}
        answer = await registry.client.post("/v1/operators", json=late, headers=headers)
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "log.closed", "5")
        assert (await registry.get("/v1/operators"))["items"] == []
        await registry.call("POST", "/v1/log/0/reopen", role="admin")
        await registry.call("POST", "/v1/log/0/reopen", role="admin", expect=404)
        await registry.call("POST", "/v1/operators", late)


async def test_recorded_at_rises_even_when_the_clock_has_stepped_back(make_database: MakeDatabase) -> None:
    async with running(make_database) as registry:
        owner = await asyncpg.connect(registry.owner_dsn)
        ahead = await owner.fetchval("update revision set recorded_at = recorded_at + interval '1 hour' returning recorded_at")
        await owner.close()
        answer = await registry.call("POST", "/v1/operators", {"name": "钟", "effective_at": JUNE})
        assert datetime.fromisoformat(answer["recorded_at"]) == ahead + timedelta(microseconds=1)
