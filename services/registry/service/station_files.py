"""Stations in and out as a table: a verdict for each row, all good rows in one transaction, and a dry run that records nothing."""

import csv
import io
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import openpyxl
from pydantic import ValidationError

from services.registry import repository, schemas
from services.registry import schemas_files as files
from services.registry.domain import station_file as rules
from services.registry.service import reads
from services.registry.service.stations import create_station
from shared.auth import Principal
from shared.contracts.registry import Station
from shared.db import Database
from shared.problems import Problem
from shared.refusals import fields_of
from shared.tables import Unreadable, cells, must_be
from shared.values import AsOf

Key = tuple[str, str, str]


class _DryRun(Exception):
    """Ends the transaction, and with it whatever was recorded."""


async def take(
    database: Database, principal: Principal, data: bytes, format_: str, *, dry_run: bool, chinese: bool
) -> tuple[list[files.ImportedRow], AsOf]:
    """Raises Problem 422 for a file that is refused whole."""
    try:
        must_be(data, format_)
        table = list(rules.rows(cells(data, format_, _moment)))
    except Unreadable as e:
        raise Problem(422, e.code, f"{e.zh}。", f"{e.en}.") from None
    told: list[files.ImportedRow] = []
    as_of = AsOf()
    try:
        async with database.one_transaction():
            known = await _known(database)
            for row_no, row in table:
                told.append(await _row(database, principal, row_no, row, known, chinese))
            async with database.read() as read:
                as_of = (await reads.pin(read, None, None)).as_of()
            if dry_run:
                raise _DryRun
    except _DryRun:
        return [row.model_copy(update={"station_id": None}) if row.verdict == "accepted" else row for row in told], AsOf()
    return told, as_of


def _moment(at: datetime) -> str:
    return f"{at.isoformat()}+08:00" if at.time() != at.min.time() else at.date().isoformat()


async def _known(database: Database) -> dict[Key, str]:
    """Every station by what makes it the same one."""
    async with database.read() as read:
        newest = await repository.newest(read)
        found = await repository.every(read, Station, newest.revision) if newest else []
    return {_key(s.level, segment.division_code, segment.name): s.station_id for s, _ in found for segment in s.segments}


def _key(level: str, division_code: str, name: str) -> Key:
    return level, division_code, "".join(unicodedata.normalize("NFKC", name).split()).casefold()


async def _row(
    database: Database, principal: Principal, row_no: int, row: dict[str, str], known: dict[Key, str], chinese: bool
) -> files.ImportedRow:
    name = row.get("name", "")[:100]
    if found := rules.formulas(row):
        detail = "是公式，请填写数值本身。" if chinese else "is a formula: write the value itself"
        return _refused(row_no, name, [files.CellFlaw(field=field, code="cell.formula", detail=detail) for field in found])
    try:
        body = schemas.NewStation.model_validate(rules.body(row))
        key = _key(body.level, body.division_code, body.name)
        if key in known:
            return files.ImportedRow(row=row_no, verdict="duplicate", station_id=known[key], name=name, errors=[])
        made = await create_station(database, principal, body)
    except ValidationError as e:
        return _refused(row_no, name, _flaws(fields_of(e.errors()), chinese))
    except Problem as e:
        whole = files.CellFlaw(field="", code=e.code, detail=e.zh if chinese else e.en)
        return _refused(row_no, name, _flaws(e.errors, chinese) or [whole])
    known[key] = made.station_id
    return files.ImportedRow(row=row_no, verdict="accepted", station_id=made.station_id, name=name, errors=[])


def _refused(row_no: int, name: str, flaws: list[files.CellFlaw]) -> files.ImportedRow:
    return files.ImportedRow(row=row_no, verdict="refused", station_id=None, name=name, errors=flaws)


def _flaws(errors: Sequence[Any], chinese: bool) -> list[files.CellFlaw]:
    return [files.CellFlaw(field=rules.field_of(e.pointer), code=e.code, detail=e.zh if chinese else e.en) for e in errors]


async def table(database: Database, principal: Principal, query: files.ExportQuery) -> tuple[list[list[str]], reads.Pin]:
    """The stations as rows of texts, headings first: what `take` reads, and what we compute."""
    items, at = await reads.filtered(database, principal, schemas.StationQuery.model_validate(query.model_dump()))
    return [[*rules.HEADINGS, *rules.COMPUTED], *(_cells(item) for item in items)], at


def _cells(item: schemas.StationItem) -> list[str]:
    alias = item.aliases[0] if item.aliases else None
    told: dict[str, Any] = {
        "name": item.name,
        "level": item.level,
        "division_code": item.division_code,
        "lat": item.location.lat if item.location else None,
        "lng": item.location.lng if item.location else None,
        "operator_id": item.operator_id,
        "brands": ";".join(item.brands),
        "operating_status": item.operating_status,
        "opened_on": item.opened_on,
        "services_per_week": item.services_per_week,
        "staff": item.staff,
        "effective_at": item.model_dump(mode="json")["valid_from"],
        "namespace": alias.namespace if alias else None,
        "site_code": alias.site_code if alias else None,
        "site_name": alias.site_name if alias else None,
        "station_id": item.station_id,
        "township_code": item.township_code,
        "filing_status": item.filing_status,
        "version": item.version,
    }
    return [rules.safe("" if told[field] is None else str(told[field])) for field in (*rules.HEADINGS, *rules.COMPUTED)]


def as_csv(rows: Sequence[Sequence[str]]) -> bytes:
    """With the mark by which Excel knows UTF-8."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def as_xlsx(rows: Sequence[Sequence[str]], title: str) -> bytes:
    """Every cell a text: an id of twelve digits stays one."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(title)
    for row in rows:
        sheet.append(list(row))
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()
