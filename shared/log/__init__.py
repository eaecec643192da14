"""The numbered log: how nothing is lost between services.

The truth is a log in the writer's PostgreSQL, numbered 0, 1, 2 … without a gap in each partition, each entry chained to the one before
it by a hash. Kafka only carries it: the relay may publish anything twice, the broker may lose everything, and the consumer still takes
every position exactly once and in order, and only if it continues what it took before (docs/decisions/0004-numbered-log.md).
"""

from shared.log.append import Entry, append, head, lock_heads, read_log, unpublished
from shared.log.consume import Batch, Consumer, Record
from shared.log.errors import Closed, Diverged, Overtaken, PartitionMismatch, ReportFailed, Stalled, TooLarge
from shared.log.relay import Relay
from shared.log.report import (
    Position,
    Positions,
    Report,
    Reporter,
    consumers,
    heard,
    http_reporter,
    positions_from_json,
    remove_consumer,
    reopen,
    report_to_json,
)
from shared.log.running import pause
from shared.log.tables import (
    READER_MUTABLE,
    WRITER_MUTABLE,
    check_reader,
    check_writer,
    create_partitions,
    create_reader,
    reader_tables,
    writer_tables,
)

__all__ = [
    "READER_MUTABLE",
    "WRITER_MUTABLE",
    "Batch",
    "Closed",
    "Consumer",
    "Diverged",
    "Entry",
    "Overtaken",
    "PartitionMismatch",
    "Position",
    "Positions",
    "Record",
    "Relay",
    "Report",
    "ReportFailed",
    "Reporter",
    "Stalled",
    "TooLarge",
    "append",
    "check_reader",
    "check_writer",
    "consumers",
    "create_partitions",
    "create_reader",
    "head",
    "heard",
    "http_reporter",
    "lock_heads",
    "pause",
    "positions_from_json",
    "read_log",
    "reader_tables",
    "remove_consumer",
    "reopen",
    "report_to_json",
    "unpublished",
    "writer_tables",
]
