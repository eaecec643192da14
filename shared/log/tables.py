"""The tables of the log, for each service's Alembic metadata, and their installation by the migrate step."""

import secrets

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.db import Read, Write
from shared.log.errors import PartitionMismatch

MAX_PARTITIONS = 4096
# What the application role may UPDATE; `log` itself is SELECT and INSERT only. Removing a consumer also needs DELETE on log_consumer.
WRITER_MUTABLE = ("log_head", "log_relay", "log_consumer")
READER_MUTABLE = ("consumed", "watermark")


def writer_tables(metadata: MetaData) -> None:
    """`log` (what was said), `log_head` (what comes next), `log_relay` (what Kafka has), `log_consumer` (what each reader has).

    A service has the log of one topic: the rows and the index of `log` do not repeat which.
    """
    Table(
        "log",
        metadata,
        Column("partition", Integer, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("key", LargeBinary, nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("chain", LargeBinary, nullable=False),
        Column("appended_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
        PrimaryKeyConstraint("partition", "position"),
    )
    Table(
        "log_head",
        metadata,
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("next_position", BigInteger, nullable=False, server_default=text("0")),
        Column("chain", LargeBinary, nullable=False),  # of the last position; before position 0: the origin
        Column("origin", LargeBinary, nullable=False),  # 32 random bytes: no two logs ever match
        Column("closed", Boolean, nullable=False, server_default=false()),
        Column("reason", Text),
        PrimaryKeyConstraint("topic", "partition"),
    )
    Table(
        "log_relay",
        metadata,
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("next_position", BigInteger, nullable=False, server_default=text("0")),
        Column("kafka_offset", BigInteger, nullable=False, server_default=text("-1")),  # of the last record; -1: we know nothing
        Column("asks", JSONB, nullable=False, server_default=text("'{}'::jsonb")),  # the asks that were answered, by consumer
        Column("version", BigInteger, nullable=False, server_default=text("0")),
        PrimaryKeyConstraint("topic", "partition"),
    )
    Table(
        "log_consumer",
        metadata,
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("consumer", Text, nullable=False),
        Column("next_position", BigInteger, nullable=False),
        Column("asks", BigInteger, nullable=False),
        Column("seen_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
        PrimaryKeyConstraint("topic", "partition", "consumer"),
    )


def reader_tables(metadata: MetaData) -> None:
    """`consumed` (how far we are; its `version` numbers the batches) and `watermark` (up to which moment nothing is missing)."""
    Table(
        "consumed",
        metadata,
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("next_position", BigInteger, nullable=False, server_default=text("0")),
        Column("chain", LargeBinary),  # null until the first report has brought the log's origin
        Column("kafka_offset", BigInteger, nullable=False, server_default=text("0")),  # where to read on: a hint
        Column("asks", BigInteger, nullable=False, server_default=text("0")),
        Column("version", BigInteger, nullable=False, server_default=text("0")),
        PrimaryKeyConstraint("topic", "partition"),
        CheckConstraint("chain IS NOT NULL OR next_position = 0", name="consumed_chain_check"),
    )
    Table(
        "watermark",
        metadata,
        Column("topic", Text, primary_key=True),
        Column("reached", DateTime(timezone=True), nullable=False),
    )


COUNT_HEADS = "select count(*) from log_head where topic = $1"
OTHER_TOPIC = "select topic from log_head where topic <> $1 limit 1"
COUNT_CONSUMED = "select count(*) from consumed where topic = $1"
CREATE_HEADS = """
insert into log_head (topic, partition, chain, origin)
select $1, o.partition - 1, o.origin, o.origin from unnest($2::bytea[]) with ordinality o(origin, partition)
on conflict do nothing
"""
CREATE_RELAYS = "insert into log_relay (topic, partition) select $1, p from generate_series(0, $2::int - 1) p on conflict do nothing"
CREATE_CONSUMED = "insert into consumed (topic, partition) select $1, p from generate_series(0, $2::int - 1) p on conflict do nothing"


IS_THERE = "select to_regclass($1) is not null"


async def check_writer(read: Read, topic: str, n: int) -> None:
    """Before a migration changes anything. Raises PartitionMismatch where the log was installed with another number."""
    if await read.fetchval(IS_THERE, "log_head"):
        _check(topic, n, await read.fetchval(COUNT_HEADS, topic))


async def check_reader(read: Read, topic: str, n: int) -> None:
    """The same for the reader's places."""
    if await read.fetchval(IS_THERE, "consumed"):
        _check(topic, n, await read.fetchval(COUNT_CONSUMED, topic))


async def create_partitions(tx: Write, topic: str, n: int) -> None:
    """The writer's log of `n` partitions, each with an origin of its own. Idempotent; another `n` than before is refused."""
    _check(topic, n, await tx.fetchval(COUNT_HEADS, topic))
    if other := await tx.fetchval(OTHER_TOPIC, topic):
        raise PartitionMismatch(f"this database keeps the log of {other}; that of {topic} needs a database of its own")
    await tx.execute(CREATE_HEADS, topic, [secrets.token_bytes(32) for _ in range(n)])
    await tx.execute(CREATE_RELAYS, topic, n)


async def create_reader(tx: Write, topic: str, n: int) -> None:
    """The reader's places in a log of `n` partitions. Idempotent; another `n` than before is refused."""
    _check(topic, n, await tx.fetchval(COUNT_CONSUMED, topic))
    await tx.execute(CREATE_CONSUMED, topic, n)


def _check(topic: str, n: int, there: int) -> None:
    if not 1 <= n <= MAX_PARTITIONS:
        raise PartitionMismatch(f"{topic}: {n} partitions; choose 1 to {MAX_PARTITIONS}")
    if there not in (0, n):
        raise PartitionMismatch(f"{topic} was installed with {there} partitions and cannot become {n}: set the number back to {there}")
