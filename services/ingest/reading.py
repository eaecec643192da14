"""What others may read of ingest: rows to answers."""

from datetime import date, datetime
from typing import Any, NamedTuple

import asyncpg

from services.ingest import repository, schemas
from services.ingest import schemas_again as bodies
from services.ingest.domain import receipts
from services.ingest.domain.verdicts import VERDICTS
from shared import log
from shared.contracts.scan import TOPIC
from shared.db import Read
from shared.http import bad_cursor, decode_cursor, encode_cursor
from shared.problems import invalid, not_found
from shared.values import AsOf, check_range

Tenant = tuple[str | None, str | None]  # (feed, brand): null, no limit


def _counts(row: asyncpg.Record) -> schemas.Counts:
    return schemas.Counts(received=row["received"], **{verdict: row[verdict] for verdict in VERDICTS})


async def receipt(read: Read, receipt_id: str, tenant: Tenant) -> dict[str, Any]:
    row = await repository.receipt(read, receipt_id, *tenant)
    if row is None:
        raise not_found("该回执", "receipt")
    return {
        "receipt_id": row["receipt_id"],
        "feed": row["feed"],
        "received_at": row["received_at"],
        "counts": _counts(row).model_dump(),
        "items": receipts.read(receipts.Kept(row["verdicts"], row["event_ids"], row["flaws"])),
    }


async def _known_feeds(read: Read, feeds: list[str] | None, tenant: Tenant) -> None:
    """422 for a misspelt feed, whose empty list would say that nothing went wrong. Not to a tenant: it would learn who else sends."""
    if not feeds or tenant != (None, None):
        return
    if unknown := await repository.unknown_feeds(read, feeds):
        name = unknown[0][:64]
        raise invalid(
            "#query/feed", "feed.unknown", f"没有来源 {name}，见 GET /v1/feeds。", f"There is no feed {name}: GET /v1/feeds lists them."
        )


async def completeness(
    read: Read,
    days: tuple[date | None, date | None],
    feeds: list[str] | None,
    tenant: Tenant,
    cursor: str | None,
    limit: int,
) -> schemas.Completeness:
    check_range(*days)
    await _known_feeds(read, feeds, tenant)
    rows = await repository.completeness(read, days, feeds, tenant, _after_day(cursor), limit + 1)
    items = [_day(row) for row in rows[:limit]]
    last = items[-1] if len(rows) > limit else None
    return schemas.Completeness(
        items=items,
        unpublished_events=await log.unpublished(read, TOPIC),
        next_cursor=encode_cursor({"after": [last.received_date.isoformat(), last.feed, last.mode]}) if last else None,
        as_of=AsOf(known_at=await repository.now(read)),
    )


def _day(row: asyncpg.Record) -> schemas.Day:
    return schemas.Day(
        feed=row["feed"],
        mode=row["mode"],
        received_date=row["received_date"],
        pushes=schemas.PushCounts(
            received=row["pushes"], unauthenticated=row["unauthenticated"], unparseable=row["unparseable"], paused=row["paused"]
        ),
        events=_counts(row),
        redriven=row["redriven"],
        remapped=row["remapped"],
        declared_events=row["declared"],
        balanced=row["balanced"],
    )


def _after_day(cursor: str | None) -> tuple[date, str, str] | None:
    if cursor is None:
        return None
    match decode_cursor(cursor):
        case {"after": [str(day), str(feed), str(mode)]} if "\x00" not in feed + mode:
            try:
                return date.fromisoformat(day), feed, mode
            except ValueError:
                pass
    raise bad_cursor()


class Quarantined(NamedTuple):
    """Which quarantined items; None: any."""

    feeds: list[str] | None
    codes: list[str] | None
    status: str | None
    received: tuple[datetime | None, datetime | None]
    tenant: Tenant


async def quarantine(read: Read, of: Quarantined, cursor: str | None, limit: int) -> bodies.Quarantine:
    check_range(*of.received)
    await _known_feeds(read, of.feeds, of.tenant)
    rows = await repository.quarantined(read, of.feeds, of.codes, of.received, of.tenant, _before(cursor), of.status, limit + 1)
    items = [bodies.Quarantined(**{**row, "quarantine_id": f"qua_{row['quarantine_id']}"}) for row in map(dict, rows[:limit])]
    more = encode_cursor({"before": rows[limit - 1]["quarantine_id"]}) if len(rows) > limit else None
    return bodies.Quarantine(items=items, next_cursor=more, as_of=AsOf(known_at=await repository.now(read)))


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    before = decode_cursor(cursor).get("before")
    if not isinstance(before, int) or not 0 <= before < 2**63:
        raise bad_cursor()
    return before
