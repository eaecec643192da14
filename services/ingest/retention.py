"""Personal data has an end: bodies are dropped day by day once they are old enough; receipts, verdicts and hashes stay."""

import asyncio
from datetime import date

import structlog

from services.ingest.repository import retention as sql
from shared.db import LOST, Database
from shared.log import pause

logger = structlog.get_logger(__name__)

LOOK_EVERY_S = 3600.0


async def run(database: Database, keep_days: int, stop: asyncio.Event) -> None:
    """Until `stop`; an hour without the database is made up for in the next."""
    while not stop.is_set():
        try:
            while (day := await drop_next(database, keep_days)) is not None and not stop.is_set():
                logger.info("bodies.dropped", received_date=day.isoformat())
        except LOST as e:
            logger.warning("bodies.kept", error=type(e).__name__)
        await pause(stop, LOOK_EVERY_S)


async def drop_next(database: Database, keep_days: int) -> date | None:
    """The oldest day that is due, in a transaction of its own. -> which; None: nothing is."""
    async with database.write() as tx:
        day = await sql.next_day(tx, keep_days)
        if day is not None:
            await sql.drop_bodies(tx, day)
    return day
