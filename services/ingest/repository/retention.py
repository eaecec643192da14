"""SQL of the end of bodies. The application's role cannot change a push: `drop_bodies` is a function of the schema's owner."""

from datetime import date

from shared.db import Read, Write

NEXT_DAY = """
select min(received_date) from push
where received_date > coalesce((select max(received_date) from body_dropped), '-infinity')
    and received_date < (now() at time zone 'Asia/Shanghai')::date - $1::int
"""
DROP = "select drop_bodies($1)"


async def next_day(read: Read, keep_days: int) -> date | None:
    """The oldest day that is due."""
    found: date | None = await read.fetchval(NEXT_DAY, keep_days)
    return found


async def drop_bodies(tx: Write, day: date) -> None:
    await tx.fetchval(DROP, day)
