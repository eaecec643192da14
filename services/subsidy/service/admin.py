"""What people ask of the books is written as a batch of partition −1: alone behind the gate, with a revision of its own."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from services.subsidy.repository import batch as sql
from services.subsidy.repository import standing
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.db import Database, Write
from shared.identity import partition_of

ADMIN = -1  # the partition of what is written under the exclusive gate


class AdminBatch(NamedTuple):
    tx: Write
    batch_no: int
    next_position: int  # of the registry log
    partitions: int  # of the scans log

    @property
    def registry_revision(self) -> int | None:
        return self.next_position - 1 if self.next_position else None

    async def reassess(self, parcel_keys: Sequence[bytes]) -> None:
        """Have the owners of these parcels judge them anew."""
        by_partition: dict[int, list[bytes]] = {}
        for key in sorted(set(parcel_keys)):
            by_partition.setdefault(partition_of(key, self.partitions), []).append(key)
        rows = [(partition, self.batch_no, keys) for partition, keys in by_partition.items()]
        await self.tx.executemany(standing.ASK_FOR_PARCELS, rows)

    async def reassess_all(self) -> None:
        await self.tx.execute(standing.ASK_FOR_REASSESSMENT, SCANS_TOPIC, self.batch_no, None)


@contextlib.asynccontextmanager
async def admin_batch(database: Database) -> AsyncIterator[AdminBatch]:
    """The exclusive gate first, the batch row last; it commits when the block ends and leaves nothing when it raises.

    Workers wait meanwhile: be brief. The registry's consumer, whose place gets another version by this, reads it anew.
    """
    async with database.write() as tx:
        async with database.unblocked(tx):
            await tx.execute(sql.GATE_EXCLUSIVE, sql.BOOKS)
        row = await tx.fetchrow(standing.NEXT_ADMIN_BATCH, REGISTRY_TOPIC)
        if row is None:
            raise RuntimeError("the books are not installed: run `python -m services.subsidy.migrate`")
        partitions = await tx.fetchval(standing.PARTITIONS, SCANS_TOPIC)
        batch = AdminBatch(tx, row["version"], row["next_position"], partitions)
        yield batch
        async with database.unblocked(tx):
            await tx.execute(sql.CLOSE_BATCH, ADMIN, batch.batch_no, batch.next_position, batch.registry_revision)
