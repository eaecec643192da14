"""Stations in and out as a table: a verdict for each row, a dry run that records nothing, cells that a spreadsheet does not run."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openpyxl
import pytest

from services.registry.domain import station_file
from tests.conftest import MakeDatabase
from tests.registry_api import OTHER_VILLAGE, TOWN, VILLAGE, Registry, day, running

CSV, XLSX = "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HEAD = ["名称", "级别", "区划代码", "纬度", "经度", "品牌", "运营状态", "生效时间", "编码体系", "网点名称"]
GOOD = ["上王村便民服务点", "村级", VILLAGE, "35.29", "111.67", "zto、yto", "营业", "2023-03-01", "zto", "上王村便民服务点"]


@pytest.fixture
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


@pytest.fixture(scope="module")
async def untouched(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    """For files of which nothing is taken."""
    async with running(make_database) as started:
        yield started


def csv_of(*rows: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def xlsx_of(*rows: list[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def changed(**cells: str) -> list[str]:
    """GOOD with other cells, by heading."""
    return [cells.get(heading, cell) for heading, cell in zip(HEAD, GOOD, strict=True)]


async def put(
    registry: Registry, data: bytes, content_type: str = CSV, *, dry_run: bool = False, language: str = "zh", key: str | None = None
) -> httpx.Response:
    headers = {"Content-Type": content_type, "Accept-Language": language} | ({"Idempotency-Key": key} if key else {})
    return await registry.client.post(
        f"/v1/station-imports?dry_run={str(dry_run).lower()}", content=data, headers=registry.token("coordinator") | headers
    )


async def revision(registry: Registry) -> int:
    found: int = (await registry.get("/v1/stations"))["as_of"]["revision"]
    return found


async def test_every_row_has_its_verdict_and_a_dry_run_records_nothing(registry: Registry) -> None:
    table = csv_of(
        HEAD,
        GOOD,
        changed(名称="下王村便民服务点", 区划代码=OTHER_VILLAGE, 网点名称="下王村便民服务点"),
        changed(名称=" 上王村 便民服务点"),
        changed(名称="无此区划", 区划代码="140827999999", 网点名称="无此区划"),
        changed(名称="反了", 纬度="111.67", 经度="35.29", 网点名称="反了"),
        changed(名称="别国", 纬度="48.85", 经度="2.35", 网点名称="别国"),
        changed(名称="=1+1", 网点名称="公式"),
        changed(名称="抢名", 区划代码=OTHER_VILLAGE),
        changed(名称="坏日期", 生效时间="明天", 网点名称="坏日期"),
        changed(名称="没有的品牌", 品牌="abc", 网点名称="没有的品牌"),
        ["", "", "", "", "", "", "", "", "", ""],
    )
    before = await revision(registry)
    dry = (await put(registry, table, dry_run=True)).json()
    assert await revision(registry) == before
    assert dry["counts"] == {"rows": 10, "accepted": 2, "duplicate": 1, "refused": 7}
    told = [(i["row"], i["verdict"], [(e["field"], e["code"]) for e in i["errors"]]) for i in dry["items"]]
    assert told == [
        (2, "accepted", []),
        (3, "accepted", []),
        (4, "duplicate", []),
        (5, "refused", [("division_code", "division.unknown")]),
        (6, "refused", [("lat", "location.swapped")]),
        (7, "refused", [("lat", "location.outside_china")]),
        (8, "refused", [("name", "cell.formula")]),
        (9, "refused", [("", "alias.claimed")]),
        (10, "refused", [("effective_at", "datetime_from_date_parsing")]),
        (11, "refused", [("brands", "brand.unknown")]),
    ]
    assert [i["station_id"] for i in dry["items"][:2]] == [None, None]

    done = (await put(registry, table)).json()
    assert [(i["row"], i["verdict"]) for i in done["items"]] == [(i["row"], i["verdict"]) for i in dry["items"]]
    assert await revision(registry) == before + 2
    listed = {s["name"]: s for s in (await registry.get("/v1/stations"))["items"]}
    assert set(listed) == {"上王村便民服务点", "下王村便民服务点"}
    made = listed["上王村便民服务点"]
    assert (made["level"], made["brands"], made["operating_status"], made["location"]["lat"]) == ("village", ["zto", "yto"], "open", 35.29)
    assert (made["valid_from"], made["aliases"][0]["site_name"]) == ("2023-03-01T00:00:00+08:00", "上王村便民服务点")
    again = (await put(registry, table)).json()
    assert again["counts"] == {"rows": 10, "accepted": 0, "duplicate": 3, "refused": 7}
    assert again["items"][0]["station_id"] == made["station_id"]
    english = (await put(registry, table, dry_run=True, language="en")).json()
    assert english["items"][4]["errors"][0]["detail"] == "lat and lng are the wrong way round"


async def test_a_workbook_is_a_table_too_and_an_export_comes_back_as_it_went(registry: Registry) -> None:
    heads = ["name", "level", "division_code", "effective_at", "brands"]
    rows = [
        ["县城服务站", "township", int(TOWN), "2023-04-01T08:00:00+08:00", "zto"],
        ["-2村", "village", int(VILLAGE), "2023年4月1日", ""],
    ]
    done = (await put(registry, xlsx_of(heads, *rows), XLSX)).json()
    assert done["counts"]["accepted"] == 2, done
    exported = await registry.client.get("/v1/stations.csv", headers=registry.token("auditor"))
    assert exported.headers["content-type"].startswith(CSV)
    assert 'filename="stations-' in exported.headers["content-disposition"]
    table = list(csv.DictReader(io.StringIO(exported.content.decode("utf-8-sig"))))
    assert [(r["name"], r["division_code"], r["filing_status"]) for r in table] == [
        ("县城服务站", TOWN, "none"),
        ("'-2村", VILLAGE, "none"),
    ], "what a spreadsheet would run is shown instead"
    workbook = await registry.client.get("/v1/stations.xlsx", headers=registry.token("auditor"))
    sheet = openpyxl.load_workbook(io.BytesIO(workbook.content)).active
    assert sheet is not None
    assert [[str(c or "") for c in row] for row in sheet.iter_rows(values_only=True, min_row=2)] == [list(r.values()) for r in table]
    filtered = await registry.client.get("/v1/stations.csv?level=village", headers=registry.token("auditor"))
    assert len(filtered.text.splitlines()) == 2
    back = (await put(registry, workbook.content, XLSX)).json()
    assert (back["counts"]["duplicate"], back["items"][0]["verdict"]) == (1, "duplicate")


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"", CSV, 422, "file.empty"),
        (csv_of([*HEAD, "备注"], [*GOOD, "x"]), CSV, 422, "file.heading_unknown"),
        (csv_of([*HEAD, "名称"], [*GOOD, "x"]), CSV, 422, "file.heading_twice"),
        (csv_of(["名称", "级别"], ["a", "村"]), CSV, 422, "file.columns_missing"),
        (csv_of(HEAD, GOOD), XLSX, 422, "file.not_what_it_claims"),
        (xlsx_of(["name"]), CSV, 422, "file.not_what_it_claims"),
        (b"\xd0\xcf\x11\xe0old", XLSX, 422, "file.old_excel"),
        (csv_of(HEAD, *([GOOD] * (station_file.MAX_ROWS + 1))), CSV, 422, "file.too_many_rows"),
        (b"x" * (station_file.MAX_BYTES + 1), CSV, 413, "body.too_large"),
        (b"{}", "application/json", 415, "body.type"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_whole(
    untouched: Registry, data: bytes, content_type: str, status: int, code: str
) -> None:
    answer = await put(untouched, data, content_type)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_an_import_is_done_once_under_its_key_and_an_operator_imports_its_own(registry: Registry) -> None:
    mine, theirs = await registry.operator(), await registry.operator()
    first, again = [await put(registry, csv_of(HEAD, GOOD), key="import-1") for _ in range(2)]
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    heads = ["name", "level", "division_code", "effective_at", "operator_id"]
    table = csv_of(heads, ["我的", "村", VILLAGE, "2023-03-01", mine], ["别人的", "村", VILLAGE, "2023-03-01", theirs])
    answer = await registry.client.post(
        "/v1/station-imports?dry_run=false",
        content=table,
        headers=registry.token("operator", operator=mine) | {"Content-Type": CSV},
    )
    assert [(i["verdict"], [e["code"] for e in i["errors"]]) for i in answer.json()["items"]] == [
        ("accepted", []),
        ("refused", ["station.operator_not_yours"]),
    ]


async def test_one_by_one_a_place_is_checked_too(registry: Registry) -> None:
    for location, code in (({"lat": 111.67, "lng": 35.29}, "location.swapped"), ({"lat": 0, "lng": 0}, "location.outside_china")):
        body = {"name": "x", "level": "village", "division_code": VILLAGE, "effective_at": day(3, 1), "location": location}
        told = await registry.call("POST", "/v1/stations", body, expect=422)
        assert [e["code"] for e in told["errors"]] == [code]
