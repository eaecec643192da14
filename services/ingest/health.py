"""What readiness asks of ingest's processes."""

from shared import log
from shared.contracts.scan import TOPIC
from shared.db import Database
from shared.process import CannotRun, check_schema


async def check_installation(database: Database, partitions: int) -> None:
    """The schema is this code's, and the log has as many partitions as we are told: with another number parcels would change place."""
    await check_schema(database, "ingest")
    async with database.read() as read:
        last, beyond = await log.head(read, TOPIC, partitions - 1), await log.head(read, TOPIC, partitions)
    if last is None or beyond is not None:
        raise CannotRun(f"the log was not installed with {partitions} partitions: set TONGCUN_PARTITIONS to the number of the installation")
