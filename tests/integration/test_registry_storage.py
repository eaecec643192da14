"""What PostgreSQL itself refuses, whoever writes; pages of stations by id; an older registry brought up to date."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from alembic import command

from services.registry.service import reads
from shared.migrations import config
from tests.conftest import MakeDatabase
from tests.registry_api import COMMUNITY, JUNE, OTHER_VILLAGE, TOWN, VILLAGE, Registry, day, running


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


ALIAS = {"namespace": "zto", "valid_from": JUNE}


async def rows(registry: Registry, query: str) -> list[Any]:
    async with registry.database.read() as read:
        return [tuple(row) for row in await read.fetch(query)]


@pytest.mark.parametrize(
    "segments",
    [
        [(1, 5), (4, 6)],
        [(1, None), (4, 6)],
        [(4, 6), (1, 5)],  # whatever their order
        [(5, 5)],  # nothing
        [(6, 5)],
    ],
)
@pytest.mark.parametrize("of", ["station", "filing"])
async def test_periods_of_one_life_do_not_overlap(registry: Registry, of: str, segments: list[tuple[int, int | None]]) -> None:
    station = await registry.station()
    life = [{"valid_from": day(a, 1), "valid_to": day(b, 1) if b else None} for a, b in segments]
    good = [{"valid_from": day(1, 1), "valid_to": day(2, 1)}, {"valid_from": day(2, 1), "valid_to": None}]
    document = {
        "segments": life if of == "station" else good,
        "filings": [{"segments": good}, {"segments": life if of == "filing" else good}],
    }
    insert = "insert into snapshot (kind, id, revision, document) select 'station', $1, max(revision), $2::text::jsonb from revision"
    async with asyncio.timeout(10):
        with pytest.raises(asyncpg.CheckViolationError, match="kept_apart"):
            async with registry.database.write() as tx:
                await tx.execute(insert, f"{station}_9", json.dumps(document))


async def test_a_backup_can_be_restored(registry: Registry) -> None:
    """pg_restore works with an empty search path: the checks find their functions all the same."""
    document = json.dumps({"segments": [{"valid_from": day(1, 1), "valid_to": None}], "filings": []})
    async with registry.database.write() as tx:
        await tx.execute("set local search_path = ''")
        insert = "insert into public.snapshot select 'station', 'stn_restored', max(revision), $1::text::jsonb from public.revision"
        await tx.execute(insert, document)


async def test_one_site_is_one_stations_at_a_time(registry: Registry) -> None:
    first, second = await registry.station(), await registry.station(division_code=OTHER_VILLAGE)
    alias = await registry.call("POST", f"/v1/stations/{first}/aliases", ALIAS | {"site_code": "0359-1"})
    claim = "insert into claim (site, valid, station_id) select site, valid, $1 from claim where station_id = $2"
    with pytest.raises(asyncpg.ExclusionViolationError, match="pk_claim"):
        async with registry.database.write() as tx:
            await tx.execute(claim, second, first)
    ended = f"/v1/stations/{first}/aliases/{alias['alias_id']}"
    await registry.call("DELETE", f"{ended}?effective_at={day(7, 1).replace('+', '%2B')}")
    await registry.call("POST", f"/v1/stations/{second}/aliases", ALIAS | {"site_code": "0359-1", "valid_from": day(7, 1)})
    claims = await rows(registry, "select station_id, lower(valid), upper(valid) is null from claim order by 2")
    assert [(station, open_) for station, _, open_ in claims] == [(first, False), (second, True)]


async def test_what_is_claimed_can_be_let_go_and_not_be_edited(registry: Registry) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with registry.database.write() as tx:
            await tx.execute("update claim set station_id = 'stn_1'")


async def test_pages_follow_ids_through_filters(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "CHUNK", 3)
    places = [VILLAGE, OTHER_VILLAGE, COMMUNITY]
    made = [await registry.station(division_code=places[i % 3], name=f"页{i}", brands=["sto"] if i % 4 else []) for i in range(23)]
    everything = [i["station_id"] for i in (await registry.get("/v1/stations", limit=1000))["items"]]
    assert [s for s in everything if s in made] == made
    county = {"county_code": "140827000000", "brand": "sto"}
    asked: list[dict[str, Any]] = [{}, {"brand": "sto"}, {"q": "页2"}, {"township_code": TOWN}, county]
    for filters in asked:
        whole = [i["station_id"] for i in (await registry.get("/v1/stations", limit=1000, **filters))["items"]]
        paged: list[str] = []
        page = await registry.get("/v1/stations", limit=2, **filters)
        later = await registry.station(name="页2之后", brands=["sto"])  # a page pins its revision
        while True:
            assert page["items"]
            paged += [i["station_id"] for i in page["items"]]
            if page["next_cursor"] is None:
                break
            page = await registry.get("/v1/stations", limit=2, cursor=page["next_cursor"], **filters)
        assert paged == whole, filters
        assert later not in paged
    assert (await registry.get("/v1/stations", county_code="110101000000"))["items"] == []


async def test_a_cursor_of_another_list_is_refused(registry: Registry) -> None:
    divisions = (await registry.get("/v1/divisions", limit=1))["next_cursor"]
    await registry.station(), await registry.station()
    stations = (await registry.get("/v1/stations", limit=1))["next_cursor"]
    assert (await registry.get("/v1/stations", cursor=divisions, expect=422))["errors"][0]["pointer"] == "#query/cursor"
    assert (await registry.get("/v1/divisions", cursor=stations, expect=422))["errors"][0]["pointer"] == "#query/cursor"


async def test_an_older_registry_finds_what_it_has(make_database: MakeDatabase) -> None:
    """Down to the version before and up again: what is derived from the snapshots is as the service had written it."""
    async with running(make_database) as registry:
        operator = await registry.operator()
        station = await registry.station(operator_id=operator)
        await registry.station(division_code=OTHER_VILLAGE)
        await registry.filing(station, operator)
        await registry.call("PATCH", f"/v1/stations/{station}", {"division_code": COMMUNITY, "effective_at": day(8, 1)})
        await registry.call("POST", f"/v1/stations/{station}/aliases", ALIAS | {"site_name": "上王村 便民服务点", "valid_to": day(9, 1)})
        derived = ("select term, id from trace order by 1, 2", "select site, valid, station_id from claim order by 1, 2")
        written = [await rows(registry, query) for query in derived]
        assert ("place|140827000000", station) in written[0]
        assert len(written[1]) == 1
        await asyncio.to_thread(command.downgrade, config("registry", registry.owner_dsn), "20261126_02")
        await asyncio.to_thread(command.upgrade, config("registry", registry.owner_dsn), "head")
        assert [await rows(registry, query) for query in derived] == written
