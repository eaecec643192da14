"""Files that outlets export: read by the columns of their feed and stored as batches of the canonical API, with a verdict for each row."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from services.ingest import schemas
from services.ingest.domain import outlet
from services.ingest.domain.items import MAX_ITEMS
from services.ingest.domain.verdicts import VERDICTS
from services.ingest.service import Ingest
from shared.problems import Problem
from shared.tables import Unreadable, cells, clock, decoded, must_be, refuse

MAX_ROWS = 20_000  # of one upload: `tongcun ingest-file` sends a longer file in parts
FORMATS = {
    "text/csv": "csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/x-ndjson": "ndjson",
}
NDJSON = "application/x-ndjson"


async def store(ingest: Ingest, feed: str, columns: outlet.Columns | None, data: bytes, format_: str, client: str) -> schemas.FileReceipt:
    """Raises Problem; then what came before the row at fault may be stored, and sending the file again changes nothing of it."""
    try:
        rows = list(_events(data, format_, columns))
    except Unreadable as e:
        raise Problem(422, e.code, f"{e.zh}。", f"{e.en[:1].upper()}{e.en[1:]}.") from None
    counts, receipts, errors = dict.fromkeys(("received", *VERDICTS), 0), [], []
    for start in range(0, len(rows), MAX_ITEMS):
        part = rows[start : start + MAX_ITEMS]
        receipt = await ingest.scans(feed, b"\n".join(line for _, line in part), NDJSON, "", client)
        receipts.append(receipt.receipt_id)
        for name in counts:
            counts[name] += getattr(receipt.counts, name)
        errors += [_error(part[item.index], item.code, item.pointer, columns) for item in receipt.items if item.verdict == "rejected"]
    return schemas.FileReceipt(
        feed=feed, file_sha256=hashlib.sha256(data).hexdigest(), counts=schemas.Counts(**counts), receipts=receipts, errors=errors
    )


def _events(data: bytes, format_: str, columns: outlet.Columns | None) -> Iterator[tuple[int, bytes]]:
    """(row number, the event as a line)"""
    must_be(data, format_)
    if format_ == "ndjson":
        lines = [(n, line) for n, line in enumerate(decoded(data).encode().split(b"\n"), 1) if line.strip()]
        _must_be_few(len(lines))
        yield from lines
        return
    if columns is None:
        refuse("feed.no_columns", "该来源还没有保存列的对应关系", "which column is which was never saved: PUT /v1/feeds/{feed}/columns")
    for count, (row_no, event) in enumerate(outlet.events(cells(data, format_, clock), columns), 1):
        _must_be_few(count)
        yield row_no, msgspec.json.encode(event)


def _must_be_few(count: int) -> None:
    if count > MAX_ROWS:
        refuse("file.too_many_rows", f"超过 {MAX_ROWS} 行，请分批上传", f"more than {MAX_ROWS} rows: send it in parts")


def _error(row: tuple[int, bytes], code: str | None, pointer: str | None, columns: outlet.Columns | None) -> schemas.FileError:
    row_no, line = row
    field = (pointer or "").rpartition("/")[2]
    told: Any = None
    if code == "field.unknown" and outlet.FORMULA.encode() in line:
        told = msgspec.json.decode(line).get(outlet.FORMULA)
    heading = told or (columns.headings.get(field) if columns else None)
    return schemas.FileError(
        row=row_no, code=outlet.FORMULA if told else code or "", field=None if told else field or None, heading=heading
    )


def columns_of(saved: Any) -> outlet.Columns | None:
    return None if saved is None else outlet.Columns(saved["headings"], saved["fixed"], saved["values"])
