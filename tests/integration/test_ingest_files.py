"""Files that outlets export: mapped, stored in batches, a verdict for each row, harmless to send again, in parts and after a kill."""

import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openpyxl
import pytest

from deploy import ingest_file
from deploy.client import Refused
from deploy.embedded.installation import Dsns
from shared.contracts.scan import decode_scan
from tests.ingest_support import Ingest, event, running

MakeDatabase = Callable[[str], Awaitable[Dsns]]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
COLUMNS: dict[str, Any] = {
    "headings": {"brand": "快递公司", "waybill_no": "运单号", "scanned_at": "扫描时间", "action": "类型", "site_name": "网点"},
    "fixed": {"destination": "140827100200"},
    "values": {"brand": {"中通": "zto", "圆通": "yto"}, "action": {"入库": "station_inbound", "取件": "station_pickup"}},
}
HEAD = "序号,快递公司,运单号,扫描时间,类型,网点,收件人\n"


@pytest.fixture(scope="module")
async def ingest(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with running(tmp_path_factory.mktemp("files"), await make_database("ingest")) as started:
        await started.feed("outlet", "canonical", ["zto", "yto"])
        await started.feed("lines-only", "canonical", ["zto"])
        saved = await started.client.put("/v1/feeds/outlet/columns", json=COLUMNS, headers=started.bearer("admin"))
        assert saved.status_code == 200, saved.text
        yield started


def row(n: int, **told: str) -> str:
    cells = {"brand": "中通", "waybill": f"7310019661{n:04d}", "at": "2023/7/14 9:12", "action": "入库", "site": "上王村便民服务点"} | told
    return f"{n},{cells['brand']},{cells['waybill']},{cells['at']},{cells['action']},{cells['site']},张三 13812345678\n"


async def upload(ingest: Ingest, data: bytes | str, kind: str = "text/csv", feed: str = "outlet") -> httpx.Response:
    content = data.encode() if isinstance(data, str) else data
    return await ingest.client.post("/v1/files", content=content, headers=ingest.bearer("brand", ("feed", feed)) | {"content-type": kind})


async def test_a_csv_is_read_by_its_columns_and_a_bad_row_stands_alone(ingest: Ingest) -> None:
    bad = [row(3, at="昨天"), row(4, brand="邮政"), row(5, waybill="?"), row(6, site="=HYPERLINK(1)"), row(7, action="上天")]
    text = HEAD + row(1) + row(2, brand="圆通", action="取件", at="2023-07-14 18:05:09") + "".join(bad) + "\n" + row(8)
    told = (await upload(ingest, "\ufeff" + text)).json()
    assert told["counts"] == {"received": 8, "accepted": 3, "duplicate": 0, "conflict": 0, "quarantined": 0, "rejected": 5}
    assert [(e["row"], e["code"], e["heading"]) for e in told["errors"]] == [
        (4, "time.unreadable", "扫描时间"), (5, "brand.not_in_feed", "快递公司"), (6, "field.invalid", "运单号"),
        (7, "cell.formula", "网点"), (8, "field.invalid", "类型"),
    ]  # fmt: skip
    first, second, _ = sorted((decode_scan(v) for v in await ingest.log()), key=lambda e: e.waybill_no[-4:])
    assert (first.brand, first.action, first.raw_action) == ("zto", "station_inbound", "入库")
    assert first.scanned_at.isoformat() == "2023-07-14T09:12:00+08:00"
    assert (second.brand, second.action, second.destination) == ("yto", "station_pickup", "140827100200")
    assert second.scanned_at.isoformat() == "2023-07-14T18:05:09+08:00"
    again = (await upload(ingest, text)).json()
    assert (again["counts"]["duplicate"], again["counts"]["accepted"]) == (3, 0), "the same file again changes nothing"
    receipt = await ingest.client.get(f"/v1/receipts/{again['receipts'][0]}", headers=ingest.bearer("auditor"))
    assert receipt.json()["counts"] == again["counts"]
    assert "13812345678" not in str(await ingest.log())


async def test_a_workbook_says_what_the_csv_says(ingest: Ingest) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(HEAD.strip().split(","))
    sheet.append([1, "中通", "73100196620001", datetime(2023, 7, 14, 9, 12, 3), "入库", "上王村便民服务点", "张三"])  # noqa: DTZ001
    sheet.append([2, "中通", "73100196620002", "2023-07-14 09:12:03", "入库", "=1+1", "张三"])
    file = io.BytesIO()
    book.save(file)
    told = (await upload(ingest, file.getvalue(), XLSX)).json()
    assert (told["counts"]["accepted"], [(e["row"], e["code"]) for e in told["errors"]]) == (1, [(3, "cell.formula")])


async def test_lines_need_no_columns_and_a_long_file_has_a_receipt_of_every_500_rows(ingest: Ingest) -> None:
    lines = "\n".join(json.dumps(event(event_ref=f"l{n}", waybill_no=f"7310019663{n:04d}")) for n in range(1200)).encode()
    told = (await upload(ingest, lines, "application/x-ndjson", "lines-only")).json()
    assert (told["counts"]["accepted"], len(told["receipts"])) == (1200, 3)


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        ("", "text/csv", 422, "file.empty"),
        (HEAD, "application/pdf", 415, "file.type_unknown"),
        (HEAD, XLSX, 422, "file.not_what_it_claims"),
        (b"PK\x03\x04 no workbook", XLSX, 422, "file.xlsx"),
        (b"PK\x03\x04", "text/csv", 422, "file.not_what_it_claims"),
        ("a,b\n1,2\n", "text/csv", 422, "file.columns_missing"),
        (HEAD.replace("序号", "运单号") + row(1), "text/csv", 422, "file.heading_twice"),
        (b"\xff\xfe\x00", "text/csv", 422, "file.not_what_it_claims"),
        (b"x" * (5 << 20), "text/csv", 413, "body.too_large"),
    ],
)
async def test_a_file_that_is_not_what_it_claims_is_refused_whole(ingest: Ingest, data: Any, kind: str, status: int, code: str) -> None:
    refused = await upload(ingest, data, kind)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


async def test_columns_are_saved_shown_and_checked(ingest: Ingest) -> None:
    shown = (await ingest.client.get("/v1/feeds/outlet/columns", headers=ingest.bearer("admin"))).json()
    assert {k: shown[k] for k in COLUMNS} == COLUMNS
    assert (await ingest.client.get("/v1/feeds/lines-only/columns", headers=ingest.bearer("admin"))).json()["code"] == "feed.no_columns"
    assert (await upload(ingest, HEAD + row(1), feed="lines-only")).json()["code"] == "feed.no_columns"
    headings = COLUMNS["headings"]
    wrongs: list[dict[str, Any]] = [
        {"headings": {}},
        {"headings": {"brand": "品牌"}},
        {"headings": headings | {"colour": "颜色"}},
        {"headings": headings, "fixed": {"brand": ""}},
    ]
    for wrong in wrongs:
        refused = await ingest.client.put("/v1/feeds/outlet/columns", json=wrong, headers=ingest.bearer("admin"))
        assert refused.status_code == 422


async def test_the_command_goes_on_where_it_was_stopped_and_writes_down_what_was_rejected(
    ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five parts; the third is interrupted. Nothing counts twice."""
    monkeypatch.setattr(ingest_file, "PART_ROWS", 10)
    file = tmp_path / "七月.csv"
    bad = {17: {"at": "昨天"}, 44: {"action": "上天"}}
    file.write_text(HEAD + "".join(row(4000 + n, **bad.get(n, {})) for n in range(50)), encoding="gb18030")
    at: Any = SimpleNamespace(
        urls={"ingest": str(ingest.client.base_url)},
        token=lambda role, **more: ingest.bearer(role, more["claim"])["authorization"].removeprefix("Bearer "),
    )
    before, parts = len(await ingest.log()), 0

    async def cut(request: httpx.Request) -> None:
        nonlocal parts
        parts += 1
        if parts == 3:
            raise httpx.ConnectError("gone", request=request)

    ingest.client.event_hooks["request"].append(cut)
    with pytest.raises(Refused):
        await ingest_file.send(at, ingest.client, file, "outlet")
    assert len(await ingest.log()) == before + 19
    told = await ingest_file.send(at, ingest.client, file, "outlet")
    ingest.client.event_hooks["request"].remove(cut)
    assert "received 50  accepted 48  duplicate 0  conflict 0  rejected 2" in told
    assert (parts, len(await ingest.log())) == (6, before + 48)
    with (tmp_path / "七月.rejected.csv").open(encoding="utf-8-sig", newline="") as written:
        rejected = list(csv.reader(written))
    assert [line[:3] for line in rejected[1:]] == [["19", "time.unreadable", "扫描时间"], ["46", "field.invalid", "类型"]]
    assert (rejected[0][3:], rejected[1][5]) == (HEAD.strip().split(","), "73100196614017")

    mended = (tmp_path / "七月.rejected.csv").read_text(encoding="utf-8").replace("昨天", "2023-07-14 10:00").replace("上天", "取件")
    (tmp_path / "mended.csv").write_text(mended, encoding="utf-8")
    assert "accepted 2" in await ingest_file.send(at, ingest.client, tmp_path / "mended.csv", "outlet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mended.csv", "七月.csv", "七月.rejected.csv"]


async def test_rejected_lines_are_written_as_lines(ingest: Ingest, tmp_path: Path) -> None:
    at: Any = SimpleNamespace(
        urls={"ingest": str(ingest.client.base_url)},
        token=lambda role, **more: ingest.bearer(role, more["claim"])["authorization"].removeprefix("Bearer "),
    )
    lines = [json.dumps(event(event_ref=f"r{n}", scanned_at="never" if n == 1 else "2023-07-14T09:12:03+08:00")) for n in range(3)]
    (tmp_path / "a.ndjson").write_text("\n".join(lines), encoding="utf-8")
    assert "accepted 2  duplicate 0  conflict 0  rejected 1" in await ingest_file.send(
        at, ingest.client, tmp_path / "a.ndjson", "lines-only"
    )
    assert (tmp_path / "a.rejected.ndjson").read_text(encoding="utf-8") == lines[1] + "\n"
