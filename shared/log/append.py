"""Append: in the transaction of the effect, last, number and chain what has happened.

A head is a row, locked until the commit: a rollback leaves no gap, and positions follow the order of commits.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import asyncpg
import msgspec

from shared.db import Database, Read, Write
from shared.log.chain import extend
from shared.log.errors import Closed, PartitionMismatch, TooLarge
from shared.log.metrics import APPENDED

MAX_ENTRY_BYTES = 900_000  # key and value; Kafka's batch limit is 1 MiB
MAX_READ_BYTES = 8_000_000  # of values in one answer of read_log
MAX_READ = 1000


class Head(NamedTuple):
    next_position: int
    origin: bytes  # the chain before position 0


class Entry(msgspec.Struct, frozen=True, gc=False):
    partition: int
    key: bytes
    value: bytes


LOCK_HEADS = """
select partition, next_position, chain, closed, reason from log_head
where topic = $1 and partition = any($2::int[])
order by partition
for update
"""
ADVANCE_HEADS = """
update log_head h set next_position = n.next_position, chain = n.chain
from unnest($2::int[], $3::bigint[], $4::bytea[]) n(partition, next_position, chain)
where h.topic = $1 and h.partition = n.partition
"""
COLUMNS = ("partition", "position", "key", "value", "chain")


async def lock_heads(database: Database, tx: Write, topic: str, partitions: Iterable[int]) -> dict[int, tuple[int, bytes]]:
    """-> {partition: (next position, chain)}, held until the commit.

    `append` does this itself; whoever must read what the log has decided before it decides itself (the registry) does it first.
    Raises Closed, and PartitionMismatch for a partition that the log does not have.
    """
    wanted = sorted(set(partitions))
    async with database.unblocked(tx):
        heads = await tx.fetch(LOCK_HEADS, topic, wanted)
    if len(heads) != len(wanted):
        raise PartitionMismatch(
            f"{topic} has no partition {sorted(set(wanted) - {h['partition'] for h in heads})}: run the migration first"
        )
    if shut := [f"{topic}/{h['partition']}: {h['reason']}" for h in heads if h["closed"]]:
        raise Closed("; ".join(shut))
    return {h["partition"]: (h["next_position"], h["chain"]) for h in heads}


async def append(database: Database, tx: Write, topic: str, entries: Sequence[Entry]) -> list[int]:
    """-> the positions, in the order of the entries. Call it last: it holds the heads until the commit.

    Raises Closed, TooLarge, PartitionMismatch; the transaction must then roll back.
    """
    if not entries:
        return []
    largest = max([len(e.key) + len(e.value) for e in entries])
    if largest > MAX_ENTRY_BYTES:
        raise TooLarge(f"an entry of {largest} bytes; the log takes up to {MAX_ENTRY_BYTES}")
    heads = await lock_heads(database, tx, topic, {e.partition for e in entries})
    rows = []
    for entry in entries:
        position, chain = heads[entry.partition]
        chain = extend(chain, entry.value)
        rows.append((entry.partition, position, entry.key, entry.value, chain))
        heads[entry.partition] = position + 1, chain
    await tx.copy_records_to_table("log", records=rows, columns=COLUMNS)
    positions, chains = zip(*heads.values(), strict=True)
    await tx.execute(ADVANCE_HEADS, topic, list(heads), list(positions), list(chains))
    APPENDED.labels(topic).inc(len(rows))
    return [row[1] for row in rows]


# Up to $3 rows from position $2 on, but no more bytes of values than $4, and always at least one.
READ_LOG = """
select position, value, chain, appended_at from (
    select *, sum(octet_length(value)) over (order by position) - octet_length(value) as bytes_before from (
        select position, value, chain, appended_at from log
        where partition = $1 and position >= $2 order by position limit $3
    ) page
) measured
where bytes_before < $4 order by position
"""
HEAD = "select next_position, origin from log_head where topic = $1 and partition = $2"
UNPUBLISHED = """
select coalesce(sum(h.next_position - r.next_position), 0)::bigint
from log_head h join log_relay r using (topic, partition) where topic = $1
"""


async def read_log(read: Read, partition: int, from_position: int, limit: int) -> list[asyncpg.Record]:
    """-> rows (position, value, chain, appended_at) in order: fewer than `limit` where their values are large."""
    return await read.fetch(READ_LOG, partition, from_position, min(limit, MAX_READ), MAX_READ_BYTES)


async def head(read: Read, topic: str, partition: int) -> Head | None:
    """None where the log does not have the partition."""
    row = await read.fetchrow(HEAD, topic, partition)
    return Head(*row) if row else None


async def unpublished(read: Read, topic: str) -> int:
    """How many positions Kafka does not have yet, or is to get again."""
    backlog: int = await read.fetchval(UNPUBLISHED, topic)
    return backlog
