"""Feeds as they are doing: whose pushes cannot be read, and who has fallen silent."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import asyncpg
import structlog

from services.ingest import schemas
from services.ingest.committer import NOT_FOUND_OUT, Later
from services.ingest.domain.health import LastHour, status_of
from services.ingest.domain.shares import Share
from services.ingest.repository import watching as sql
from shared import telemetry
from shared.db import Database, Read
from shared.problems import not_found
from shared.values import AsOf

logger = structlog.get_logger(__name__)

LOOK_EVERY_S = 30.0


class Watch:
    """One process's. Alarms are a line of the log and a gauge each."""

    def __init__(self, reader: Database) -> None:
        self._reader = reader
        self._shares: dict[str, Share] = {}
        self._silent: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        if self._task:
            self._task.cancel()

    def refuse_mistaken(self, feed: str) -> None:
        """Raises Later while most of what the feed sends cannot be read: a bad release must not put everything aside."""
        share = self._shares.get(feed)
        if share and share.refuses(time.monotonic()):
            raise Later("feed.mostly_unreadable")

    def was_read(self, feed: str, unreadable: int, items: int) -> None:
        """After each push of a sender's own format."""
        share = self._shares.get(feed)
        if share is None:
            if not unreadable:
                return  # nothing to remember of a feed that never errs
            share = self._shares[feed] = Share()
        if share.told(unreadable, items, time.monotonic()):
            telemetry.INGEST_FEED_HELD.labels(feed).set(share.tripped)
            say = logger.error if share.tripped else logger.info
            say("feed.mostly_unreadable" if share.tripped else "feed.readable_again", feed=feed)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                async with self._reader.read() as read:
                    rows = await sql.health(read, None)
            except NOT_FOUND_OUT:
                continue  # the next look may succeed
            for row in rows:
                self._tell_silence(row)

    def _tell_silence(self, row: asyncpg.Record) -> None:
        feed, silent = row["feed"], _status(row)[0] == "silent"
        telemetry.INGEST_FEED_SILENT.labels(feed).set(silent)
        if silent != (feed in self._silent):
            logger.warning("feed.silent" if silent else "feed.heard_again", feed=feed, last_push_at=row["last_push_at"])
            self._silent ^= {feed}


def _status(row: Mapping[str, Any] | asyncpg.Record) -> tuple[str, list[str]]:
    hour = LastHour(row["pushes"], row["refused"], row["events"], row["rejected"], row["skew"])
    return status_of(row["mode"], row["last_push_at"], row["silence_after_s"], hour, row["now"])


async def health(read: Read, name: str) -> schemas.FeedHealth:
    rows = await sql.health(read, name)
    if not rows:
        raise not_found("该来源", "feed", "feed.unknown")
    (row,) = rows
    status, reasons = _status(row)
    return schemas.FeedHealth(
        feed=row["feed"],
        format=row["format"],
        brands=row["brands"],
        mode=row["mode"],
        status=status,
        reason_codes=reasons,
        last_push_at=row["last_push_at"],
        last_event_at=row["last_event_at"],
        silence_after_s=row["silence_after_s"],
        events_last_hour=row["events"],
        rejected_last_hour=row["rejected"],
        refused_last_hour=row["refused"],
        clock_skew_ms=None if row["skew"] is None else round(row["skew"].total_seconds() * 1000),
        as_of=AsOf(known_at=row["now"]),
    )
