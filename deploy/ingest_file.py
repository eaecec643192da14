"""`tongcun ingest-file FILE --feed NAME`: an outlet's export, sent in parts, with a verdict for each row.

What was sent is remembered beside the file until all of it is: started again after whatever stopped it, it goes on. Rows that were rejected
are written to a file of their own, with the reason, to be mended and sent again.
"""

import csv
import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from rich.progress import Progress

from deploy.client import Api, Json, Refused
from deploy.platform import Access
from shared.tables import Unreadable, cells, clock, decoded, must_be

PART_ROWS = 2_000
SHOWN = 20  # reasons on the terminal
MAX_FILE_BYTES = 256 << 20
FORMATS = {".csv": "csv", ".xlsx": "xlsx", ".ndjson": "ndjson", ".jsonl": "ndjson"}
TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


async def send(at: Access, http: httpx.AsyncClient, file: Path, feed: str) -> str:
    """-> what became of it, for a person. Raises Refused."""
    data, format_ = _read(file)
    digest, notes = hashlib.sha256(data).hexdigest(), file.with_name(file.name + ".tongcun")
    try:
        must_be(data, format_)
        head, rows = _rows(data, format_)
    except Unreadable as e:
        raise Refused(f"{file}: {e.zh} / {e.en}") from None
    api = Api(http, at.urls["ingest"], at.token("brand", subject="ingest-file", claim=("feed", feed)))
    sent, counts, errors = _continued(notes, digest, feed)
    with Progress() as bar:
        task = bar.add_task(file.name, total=len(rows), completed=sent)
        while sent < len(rows):
            part = rows[sent : sent + PART_ROWS]
            told = await _part(api, head, part, format_)
            counts.update(told["counts"])
            first = 1 if format_ == "ndjson" else 2  # the part's own row 1 are its headings
            errors += [e | {"row": part[e["row"] - first][0]} for e in told["errors"]]
            sent += len(part)
            notes.write_text(
                json.dumps({"sha256": digest, "feed": feed, "sent": sent, "counts": counts, "errors": errors}), encoding="utf-8"
            )
            bar.update(task, completed=sent)
    notes.unlink(missing_ok=True)
    lines = [f"{file}: " + "  ".join(f"{name} {counts[name]}" for name in ("received", "accepted", "duplicate", "conflict", "rejected"))]
    if errors:
        lines.append(f"被拒的行写在 · rejected rows: {_write(file, head, rows, errors)}")
        lines += [f"  第 {e['row']} 行 row: {e['code']} {e['heading'] or e['field'] or ''}".rstrip() for e in errors[:SHOWN]]
    return "\n".join(lines)


def _read(file: Path) -> tuple[bytes, str]:
    format_ = FORMATS.get(file.suffix.lower())
    if format_ is None:
        raise Refused(f"{file}: 应为 CSV、XLSX 或 NDJSON · must be one of {' '.join(FORMATS)}")
    if file.stat().st_size > MAX_FILE_BYTES:
        raise Refused(f"{file}: 超过 {MAX_FILE_BYTES} 字节，请拆分 · larger than {MAX_FILE_BYTES} bytes: split it")
    return file.read_bytes(), format_


def _rows(data: bytes, format_: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """(headings, rows with their numbers); of a file of lines, each line is a row of one cell."""
    if format_ == "ndjson":
        return [], [(n, [line]) for n, line in enumerate(decoded(data).split("\n"), 1) if line.strip()]
    found: Iterator[tuple[int, list[str]]] = cells(data, format_, clock)
    first = list(itertools.islice(found, 1))
    return (first[0][1] if first else []), list(found)


def _continued(notes: Path, digest: str, feed: str) -> tuple[int, Counter[str], list[Json]]:
    try:
        kept = json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0, Counter(), []
    if (kept["sha256"], kept["feed"]) != (digest, feed):  # the file was changed: from the beginning, nothing counts twice
        return 0, Counter(), []
    return kept["sent"], Counter(kept["counts"]), kept["errors"]


async def _part(api: Api, head: Sequence[str], part: Sequence[tuple[int, list[str]]], format_: str) -> Json:
    if format_ == "ndjson":
        content, kind = "\n".join(row[0] for _, row in part), TYPES["ndjson"]
    else:
        content, kind = _as_csv([head, *(row for _, row in part)]), TYPES["csv"]
    return await api.call("POST", "/v1/files", content=content.encode(), content_type=kind)


def _as_csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _write(file: Path, head: Sequence[str], rows: Sequence[tuple[int, list[str]]], errors: Sequence[Json]) -> Path:
    """The rows as they were, with why in front: mended, the file can be sent as it is, for columns that nobody has named are not read.

    Of a file of lines, the lines alone, to be mended and sent; why each of the first was rejected is told on the terminal.
    """
    by_row = dict(rows)
    if not head:
        target = file.with_name(f"{file.stem}.rejected.ndjson")
        target.write_text("".join(f"{by_row[e['row']][0]}\n" for e in errors), encoding="utf-8")
        return target
    told = [[str(e["row"]), e["code"], e["heading"] or e["field"] or "", *by_row[e["row"]]] for e in errors]
    target = file.with_name(f"{file.stem}.rejected.csv")
    target.write_text("\ufeff" + _as_csv([["行 row", "原因 code", "列 column", *head], *told]), encoding="utf-8")
    return target
