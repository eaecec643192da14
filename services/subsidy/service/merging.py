"""Yesterday's cells of the totals lose their partition: readers then add up as many cells as a county has, however many workers wrote them.

A change of a parcel enters the cells of the day on which it is posted, so those of earlier days change no more. Which row a sum stands in
is nobody's business: moving it from the partitions' rows to one row changes no total, at any time, while workers write.
"""

import asyncio
from datetime import date

import asyncpg
import structlog

from services.subsidy.repository import merging as sql
from shared.calendar import shanghai_day
from shared.db import LOST, Database
from shared.log import pause

log = structlog.get_logger(__name__)

EVERY_S = 600.0
CHUNK = 5_000  # rows of one transaction
MISSED: tuple[type[BaseException], ...] = (*LOST, asyncpg.PostgresError)


async def merge(database: Database, before: date) -> int:
    """Cells of posted days before this one -> how many rows were moved. Of several workers one does it."""
    moved = 0
    while True:
        async with database.write() as tx:
            if not await tx.fetchval(sql.TAKE_TURN, sql.MERGING):
                return moved
            rows: int = await tx.fetchval(sql.MERGE, before, CHUNK)
        moved += rows
        if rows < CHUNK:
            return moved


async def keep_merged(database: Database, stop: asyncio.Event) -> None:
    """Until the stop. Totals are right without it, and slower to read."""
    while not stop.is_set():
        try:
            async with database.read() as read:
                today = shanghai_day(await read.fetchval(sql.CLOCK))
            if moved := await merge(database, today):
                log.info("totals.merged", rows=moved)
        except MISSED as fault:  # the next turn may succeed
            log.warning("totals.not_merged", error=type(fault).__name__)
        await pause(stop, EVERY_S)
