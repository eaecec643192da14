"""A later edition of the divisions: mergers, new codes and names, dry run first; the past stays what it was."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import openpyxl
import pytest

from tests.conftest import MakeDatabase
from tests.registry_api import OTHER_VILLAGE, TOWN, VILLAGE, Registry, day, running

TABLE = files("services.registry").joinpath("data/yuanqu_divisions.csv").read_text(encoding="utf-8")
FROM_2024 = "2024-01-01T00:00:00+08:00"
CSV, XLSX = "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
NEW_VILLAGE = "140827100299"
OTHER_TOWN = "140827101000"
Rows = list[dict[str, str]]


@pytest.fixture
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


def table(changed: Mapping[str, dict[str, str]] = MappingProxyType({}), *, without: str = "") -> Rows:
    """The shipped edition with changes, by code."""
    rows = [row | changed.get(row["code"], {}) for row in csv.DictReader(io.StringIO(TABLE)) if row["code"] != without]
    known = {row["code"] for row in rows}
    return rows + [{"code": code, **row} for code, row in changed.items() if code not in known]


def written(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["code", "name", "name_en", "level", "kind", "parent"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


async def edition(
    registry: Registry, data: bytes, *, media_type: str = CSV, expect: int = 200, role: str = "coordinator", **query: Any
) -> Any:
    asked: dict[str, Any] = {"edition": 2024, "effective_at": FROM_2024, "source": "国家统计局 2024", "dry_run": "false"} | query
    headers = registry.token(role) | {"Content-Type": media_type}
    answer = await registry.client.post("/v1/division-editions", params=asked, content=data, headers=headers)
    assert answer.status_code == expect, answer.text
    return answer.json()


MERGED = table(
    {
        VILLAGE: {"name": "上王新村委会", "name_en": "Shangwangxin"},
        NEW_VILLAGE: {"name": "合并村委会", "name_en": "Hebing", "level": "village", "kind": "village", "parent": TOWN},
    },
    without=OTHER_VILLAGE,
)


async def test_a_merger_ends_one_and_leaves_the_past_alone(registry: Registry) -> None:
    station = await registry.station(division_code=OTHER_VILLAGE)
    before = await registry.get("/v1/divisions", limit=1000, valid_at=day(7, 1))
    dry = await edition(registry, written(MERGED), dry_run="true")
    assert (dry["dry_run"], dry["counts"]) == (True, {"rows": len(MERGED), "new": 1, "changed": 1, "ended": 1})
    assert {(c["code"], c["change"], tuple(c["stations"])) for c in dry["items"]} == {
        (VILLAGE, "changed", ()), (OTHER_VILLAGE, "ended", (station,)), (NEW_VILLAGE, "new", ()),
    }  # fmt: skip
    assert (await registry.get("/v1/divisions", limit=1))["as_of"]["revision"] == dry["as_of"]["revision"], "a dry run records nothing"
    done = await edition(registry, written(MERGED))
    assert done["as_of"]["revision"] == dry["as_of"]["revision"] + 1, "one position of the log"
    assert done["items"] == dry["items"]

    async def names(at: str) -> dict[str, tuple[str, int]]:
        found = (await registry.get("/v1/divisions", limit=1000, valid_at=at))["items"]
        return {i["code"]: (i["name"], i["edition"]) for i in found}

    now, then = await names("2024-06-01T00:00:00+08:00"), await names(day(12, 31))
    assert (now[VILLAGE], now[NEW_VILLAGE]) == (("上王新村", 2024), ("合并村", 2024))
    assert OTHER_VILLAGE not in now
    assert (then[VILLAGE], then[OTHER_VILLAGE][1], NEW_VILLAGE in then) == (("上王村", 2023), 2023, False)
    assert (await registry.get("/v1/divisions", limit=1000, valid_at=day(7, 1)))["items"] == before["items"]
    told = (await registry.get("/v1/revisions", record_id=OTHER_VILLAGE))["items"][0]
    assert (told["actor"], told["reason"]) == ("test:coordinator", "国家统计局 2024 (edition 2024)")
    moved = {"division_code": NEW_VILLAGE, "effective_at": FROM_2024}
    await registry.call("PATCH", f"/v1/stations/{station}", moved)
    same = await edition(registry, written(MERGED))
    assert same["items"] == [], "sent again after a timeout"
    again = await edition(registry, written(MERGED), effective_at="2024-02-01T00:00:00+08:00")
    assert (again["counts"]["new"], again["items"]) == (0, [])
    assert again["as_of"]["revision"] == done["as_of"]["revision"] + 1, "the station's move; the same table makes no revision"


async def test_a_workbook_is_as_good(registry: Registry) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(list(MERGED[0]))
    for row in MERGED:
        sheet.append(list(row.values()))
    data = io.BytesIO()
    book.save(data)
    told = await edition(registry, data.getvalue(), media_type=XLSX, dry_run="true")
    assert told["counts"] == {"rows": len(MERGED), "new": 1, "changed": 1, "ended": 1}


@pytest.fixture(scope="module")
async def shared(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


VILLAGE_ROW = {"name": "某村委会", "name_en": "Mou", "level": "village", "kind": "village", "parent": TOWN}


@pytest.mark.parametrize(
    ("rows", "column", "code"),
    [
        (table({"110101001001": VILLAGE_ROW}), "code", "division.outside_county"),
        (table({"1408": VILLAGE_ROW}), "code", "division.code"),
        ([*table(), {"code": VILLAGE, **VILLAGE_ROW}], "code", "division.twice"),
        (table({NEW_VILLAGE: VILLAGE_ROW | {"kind": "hamlet"}}), "kind", "division.kind"),
        (table({NEW_VILLAGE: VILLAGE_ROW | {"parent": VILLAGE}}), "parent", "division.parent"),
        (table({NEW_VILLAGE: VILLAGE_ROW | {"parent": "140827999000"}}), "parent", "division.parent"),
        (table({NEW_VILLAGE: VILLAGE_ROW | {"name": "=HYPERLINK(1)"}}), "name", "name.unreadable"),
        (table({NEW_VILLAGE: VILLAGE_ROW | {"name_en": ""}}), "name_en", "name.unreadable"),
        (table(without="140827000000"), "kind", "edition.one_county"),
    ],
)
async def test_a_table_with_a_flaw_changes_nothing(shared: Registry, rows: Rows, column: str, code: str) -> None:
    before = (await shared.get("/v1/divisions", limit=1))["as_of"]["revision"]
    told = await edition(shared, written(rows), expect=422)
    assert (code, column) in {(e["code"], e["pointer"].rpartition("/")[2]) for e in told["errors"]}
    assert (await shared.get("/v1/divisions", limit=1))["as_of"]["revision"] == before


OTHER_COUNTY = [{k: v.replace("140827", "140828") for k, v in row.items()} for row in table()]


@pytest.mark.parametrize(
    ("data", "query", "status", "code"),
    [
        (b"", {}, 422, "file.empty"),
        (b"code,name\n1,2\n", {}, 422, "file.columns_missing"),
        (b"PK\x03\x04nothing", {}, 422, "file.not_what_it_claims"),
        (b"{}", {"media_type": "application/json"}, 415, "body.type"),
        (b"x" * (1 << 20) + b"y", {}, 413, "body.too_large"),
        (written(MERGED), {"effective_at": "2022-01-01T00:00:00+08:00"}, 409, "edition.not_latest"),  # the day of the first edition
        (written(OTHER_COUNTY), {}, 422, "division.outside_county"),
        (written(MERGED), {"effective_at": "2021-06-01T00:00:00+08:00"}, 409, "edition.not_latest"),
        (written(MERGED), {"effective_at": "2031-06-01T00:00:00+08:00"}, 422, "moment.too_far_ahead"),
        (written(MERGED), {"edition": 24}, 422, "greater_than_equal"),
        (written(MERGED), {"role": "auditor"}, 403, ""),
    ],
)
async def test_bad_editions(shared: Registry, data: bytes, query: dict[str, Any], status: int, code: str) -> None:
    told = await edition(shared, data, expect=status, **{"dry_run": "true"} | query)
    assert not code or code in {told.get("code"), *(e["code"] for e in told.get("errors") or [])}, told


async def test_an_older_edition_does_not_overwrite_a_newer(registry: Registry) -> None:
    await edition(registry, written(MERGED))
    for older in (table(), table(without=OTHER_VILLAGE)):
        at = "2023-09-01T00:00:00+08:00"
        told = await edition(registry, written([*older, {"code": NEW_VILLAGE, **VILLAGE_ROW}]), effective_at=at, expect=409)
        assert told["code"] == "edition.not_latest"


async def test_stations_go_along_where_a_village_changes_its_township(registry: Registry) -> None:
    station = await registry.station(division_code=VILLAGE)
    await registry.call("PATCH", f"/v1/stations/{station}", {"name": "新名", "effective_at": "2024-05-01T00:00:00+08:00"})
    later = await registry.station(division_code=OTHER_VILLAGE, effective_at="2024-03-01T00:00:00+08:00")
    moved = table({VILLAGE: {"parent": OTHER_TOWN}}, without=OTHER_VILLAGE)
    done = await edition(registry, written(moved))
    assert {c["code"]: c["stations"] for c in done["items"]} == {VILLAGE: [station], OTHER_VILLAGE: [later]}
    found = {}
    for at in (day(12, 1), "2024-02-01T00:00:00+08:00", "2024-06-01T00:00:00+08:00"):
        found[at] = (await registry.get(f"/v1/stations/{station}", valid_at=at))["township_code"]
    assert list(found.values()) == [TOWN, OTHER_TOWN, OTHER_TOWN]
    new: dict[str, Any] = {"role": "township", "township": OTHER_TOWN}
    assert (await registry.call("GET", f"/v1/stations/{station}", **new))["station_id"] == station
