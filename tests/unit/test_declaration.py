"""What a declaration's file and rows may get wrong: each mistake has its code, and a file that is refused is refused whole."""

import io
import json
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import openpyxl
import pytest

from services.subsidy.domain.declaration import FIELDS, HEADINGS, REASONS, Live, Row, Verdict, judge, read_all, repeated_rows
from services.subsidy.domain.declaration_file import rows_of
from shared.identity import parcel_key
from shared.tables import MAX_UNPACKED_BYTES, Unreadable

TODAY = date(2023, 12, 31)
EIGHT = datetime(2023, 7, 14, 8)  # noqa: DTZ001 - as a cell has it
SOUND = {
    "brand": "中通", "waybill_no": "73100196611386", "declared_on": "2023-07-14", "platform": "淘宝", "order_no": "ORD-1",
    "product": "山地苹果 5 斤", "destination": "浙江省杭州市", "freight": "3.20",
}  # fmt: skip
HEADING = [HEADINGS[field][0] for field in FIELDS]


def csv_of(*rows: dict[str, str], heading: list[str] = HEADING, encoding: str = "utf-8", delimiter: str = ",") -> bytes:
    lines = [delimiter.join(heading), *(delimiter.join(row[field] for field in FIELDS) for row in rows)]
    return "\r\n".join(lines).encode(encoding)


def xlsx_of(*rows: list[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in (HEADING, *rows):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def one(format_: str, data: bytes) -> Row | Verdict:
    (row,) = read_all(rows_of(data, format_), TODAY)
    return row


def expected(row_no: int = 2) -> Row:
    return Row(
        row_no, parcel_key("zto", "73100196611386"), "zto", "73100196611386", date(2023, 7, 14), "淘宝", "ORD-1", "山地苹果 5 斤",
        "浙江省杭州市", 320,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("format_", "data", "row_no"),
    [
        ("csv", csv_of(SOUND), 2),
        ("csv", csv_of(SOUND, encoding="utf-8-sig"), 2),
        ("csv", csv_of(SOUND, encoding="gbk"), 2),
        ("csv", csv_of(SOUND, delimiter="\t"), 2),
        ("csv", csv_of(SOUND, delimiter=";"), 2),
        ("csv", b"\r\n,,,\r\n" + csv_of(SOUND), 4),
        ("csv", csv_of(SOUND, heading=["快递品牌", "快递单号", "日 期", "平台", "订单编号", "商品名称", "收货地", "运费（元）"]), 2),
        ("csv", csv_of(SOUND, heading=["Brand", "waybill_no", "DATE", "platform", "order_no", "product", "destination", "freight"]), 2),
        ("xlsx", xlsx_of(list(SOUND.values())), 2),
        ("xlsx", xlsx_of(["中通快递", 73100196611386, EIGHT, "淘 宝", "ORD-1", "山地苹果 5 斤", "浙江省杭州市", 3.2]), 2),
        ("xlsx", xlsx_of(["zto", 73100196611386, 45121, "淘宝", "ORD-1", "山地苹果 5 斤", "浙江省杭州市", 3.2]), 2),
        ("json", json.dumps({"rows": [SOUND]}).encode(), 1),
        ("json", json.dumps([SOUND | {"waybill_no": 73100196611386, "freight": 3.20}]).encode(), 1),
    ],
)
def test_the_same_row_is_read_from_every_kind_of_file(format_: str, data: bytes, row_no: int) -> None:
    assert one(format_, data) == expected(row_no)


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("brand", "", "field.missing"), ("brand", "某某快递", "brand.unknown"), ("product", "果" * 101, "field.too_long"),
        ("order_no", "7" * 65, "field.too_long"), ("product", "苹果\u202e", "field.control"), ("product", "=HYPERLINK(1)", "cell.formula"),
        ("product", "+cmd|' /C calc'!A0", "cell.formula"), ("product", "@SUM(A1)", "cell.formula"), ("order_no", "-A1", "cell.formula"),
        ("waybill_no", "73", "waybill.invalid"), ("waybill_no", "7310 0196", "waybill.invalid"),
        ("waybill_no", "7.31002E+13", "waybill.rounded"),
        ("waybill_no", "73100196611386.5", "waybill.rounded"), ("declared_on", "2023-02-30", "date.invalid"),
        ("declared_on", "昨天", "date.invalid"), ("declared_on", "2024-01-01", "date.out_of_range"),
        ("declared_on", "1999-01-01", "date.out_of_range"), ("freight", "0", "freight.invalid"), ("freight", "-3", "freight.invalid"),
        ("freight", "3.205", "freight.invalid"), ("freight", "三元", "freight.invalid"), ("freight", "1e3", "freight.invalid"),
        ("freight", "10000.01", "freight.too_large"), ("freight", "99999999999", "freight.invalid"),
        ("product", "苹果 13800138000", "text.personal_data"), ("destination", "杭州市 138 0013 8000", "text.personal_data"),
        ("destination", "浙江省杭州市西湖区文三路 12 号", "destination.address"), ("order_no", "13800138000", "text.personal_data"),
    ],
)  # fmt: skip
def test_a_row_with_a_mistake_says_which(field: str, text: str, code: str) -> None:
    row = one("json", json.dumps({"rows": [SOUND | {field: text}]}).encode())
    assert row == Verdict(1, "refused", code, field, None)
    assert code in REASONS


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2023/7/4", date(2023, 7, 4)),
        ("2023年7月4日", date(2023, 7, 4)),
        ("20230704", date(2023, 7, 4)),
        ("2023-07-04 08:00", date(2023, 7, 4)),
    ],
)
def test_dates_are_read_as_people_write_them(text: str, day: date) -> None:
    row = one("json", json.dumps({"rows": [SOUND | {"declared_on": text}]}).encode())
    assert isinstance(row, Row)
    assert row.declared_on == day


@pytest.mark.parametrize(("text", "fen"), [("3", 300), ("0.85元", 85), ("¥ 1,200.5", 120_050), ("3.200", 320), ("0.01", 1)])
def test_freight_is_read_to_the_fen(text: str, fen: int) -> None:
    row = one("json", json.dumps({"rows": [SOUND | {"freight": text}]}).encode())
    assert isinstance(row, Row)
    assert row.freight_fen == fen


def test_a_formula_in_a_workbook_is_seen_as_such() -> None:
    cells = list(SOUND.values())
    row = one("xlsx", xlsx_of([*cells[:7], "=1+2.2"]))
    assert row == Verdict(2, "refused", "cell.formula", "freight", None)


def test_a_number_that_excel_has_rounded_is_no_waybill() -> None:
    cells: list[Any] = list(SOUND.values())
    row = one("xlsx", xlsx_of([cells[0], 7310019661138612345, *cells[2:]]))
    assert row == Verdict(2, "refused", "waybill.rounded", "waybill_no", None)


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(MAX_UNPACKED_BYTES + 1))
    return out.getvalue()


def with_entities() -> bytes:
    """A workbook whose sheet defines entities that grow."""
    made, out = io.BytesIO(xlsx_of(list(SOUND.values()))), io.BytesIO()
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name.endswith("sheet1.xml"):
                text = (
                    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]>' + text.partition(b"?>")[2] or text
                )
            new.writestr(name, text)
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "format_", "code"),
    [
        (lambda: b"", "csv", "file.empty"),
        (lambda: b"\n\n", "csv", "file.empty"),
        (lambda: csv_of(), "csv", "file.no_rows"),
        (lambda: xlsx_of(list(SOUND.values())), "csv", "file.not_what_it_claims"),
        (lambda: csv_of(SOUND), "xlsx", "file.not_what_it_claims"),
        (lambda: b'{"rows": []}', "csv", "file.not_what_it_claims"),
        (lambda: csv_of(SOUND), "json", "file.not_what_it_claims"),
        (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xlsx", "file.old_excel"),
        (lambda: b"PK\x03\x04 not a zip", "xlsx", "file.xlsx"),
        (lambda: bomb(), "xlsx", "file.unpacks_too_large"),
        (lambda: with_entities(), "xlsx", "file.xlsx"),
        (lambda: "表头".encode("utf-16"), "csv", "file.encoding"),
        (lambda: b"\xff\xff\xff\xff", "csv", "file.encoding"),
        (lambda: csv_of(SOUND, heading=[*HEADING[:-1], "备注"]), "csv", "file.columns_missing"),
        (lambda: csv_of(SOUND, heading=[*HEADING[:-1], "实际运费"]) + b"", "csv", None),
        (lambda: csv_of(SOUND, heading=[*HEADING[:-2], "运费", "实际运费"]), "csv", "file.heading_twice"),
        (lambda: (",".join(HEADING) + '\n"中通,1').encode(), "csv", "file.csv"),
        (lambda: (",".join(HEADING) + "\n" + "," * 70 + "x").encode(), "csv", "file.too_many_columns"),
        (lambda: b'{"rows": ', "json", "file.json"),
        (lambda: b"[" * 100_000, "json", "file.json"),
        (lambda: b'{"rows": 7}', "json", "file.json_shape"),
        (lambda: b'{"rows": [7]}', "json", "file.json_shape"),
        (lambda: json.dumps({"rows": [SOUND | {"product": ["苹果"]}]}).encode(), "json", "file.json_shape"),
        (lambda: b'{"rows": [' + b"{}," * 100_000 + b"{}]}", "json", "file.too_many_rows"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused_whole(make: Callable[[], bytes], format_: str, code: str | None) -> None:
    if code is None:
        assert rows_of(make(), format_)
        return
    with pytest.raises(Unreadable) as refused:
        rows_of(make(), format_)
    assert refused.value.code == code
    assert refused.value.zh
    assert refused.value.en


def row(n: int, waybill: str, order: str) -> Row:
    return expected(n)._replace(parcel_key=parcel_key("zto", waybill), waybill_no=waybill, order_no=order)


def test_one_parcel_has_one_row_and_one_order_one_parcel() -> None:
    rows: list[Row | Verdict] = [row(2, "A", "1"), row(3, "A", "1"), row(4, "B", "1"), row(5, "C", "3"), row(6, "D", "4"), row(7, "E", "9")]
    live = [Live(parcel_key("zto", "C"), "淘宝", "3", "mch_1"), Live(parcel_key("zto", "D"), "淘宝", "4", "mch_2"),
            Live(parcel_key("zto", "X"), "淘宝", "9", "mch_2")]  # fmt: skip
    found = judge(rows, live, "mch_1", repeated_rows(rows))
    assert [(v.row_no, v.verdict, v.reason_code) for v in found] == [
        (2, "accepted", None), (3, "duplicate", "waybill.repeated"), (4, "refused", "order.used"), (5, "duplicate", "waybill.declared"),
        (6, "refused", "waybill.declared_by_another"), (7, "refused", "order.used"),
    ]  # fmt: skip
