"""Tables, for Alembic. Insert-only: the app role may neither change nor delete what was recorded."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE

from shared.log import writer_tables
from shared.writes import kept_answers

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One write; `revision` is its position in the log. `recorded_at` rises with it, so that a moment resolves down to one revision.
revision = Table(
    "revision",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    UniqueConstraint("recorded_at"),
)

# A record (`shared/contracts/registry.py`) with its whole valid-time history as believed from that revision on. A check of the
# migrations (`kept_apart_in`) keeps the periods of a life from overlapping.
snapshot = Table(
    "snapshot",
    metadata,
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("revision", BigInteger, ForeignKey("revision.revision"), nullable=False),
    Column("document", JSONB, nullable=False),
    PrimaryKeyConstraint("kind", "id", "revision"),
    Index("ix_snapshot_revision", "revision"),
)

# Where to look: which records have ever been of a kind, stood in a place, had a filing, held a receipt … Only a hint, decided on the
# snapshots. In order of registration: an id ends in the revision that made it, so a shorter one is earlier.
trace = Table(
    "trace",
    metadata,
    Column("term", Text, nullable=False),
    Column("id", Text, nullable=False),
    PrimaryKeyConstraint("term", "id"),
)
Index("ix_trace_in_order", trace.c.term, func.length(trace.c.id), trace.c.id)

# Which sites are claimed now, as the newest snapshots say: one site is one station's at a time, whoever writes.
claim = Table(
    "claim",
    metadata,
    Column("site", LargeBinary, nullable=False),
    Column("valid", TSTZRANGE, nullable=False),
    Column("station_id", Text, nullable=False),
    PrimaryKeyConstraint("site", "valid"),  # and `without overlaps`, as the migration has it
    Index("ix_claim_station_id", "station_id"),
)

# A photograph or a paper, by the SHA-256 of its bytes as sent; `body` is encrypted and bound to it.
document = Table(
    "document",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# Who sent one, each once: the same licence is sent by everybody who has it, and each may read what it sent.
document_upload = Table(
    "document_upload",
    metadata,
    Column("upload_id", BigInteger, Identity(always=True), primary_key=True),
    Column("sha256", LargeBinary, ForeignKey("document.sha256"), nullable=False),
    Column("by", Text, nullable=False),
    Column("operator_id", Text),  # that the token was limited to
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("sha256", "by", "operator_id", postgresql_nulls_not_distinct=True),
)

# Whoever has looked at a person's paper, and why.
document_reading = Table(
    "document_reading",
    metadata,
    Column("reading_id", BigInteger, Identity(always=True), primary_key=True),
    Column("sha256", LargeBinary, ForeignKey("document.sha256"), nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "sha256"),
)

writer_tables(metadata)
kept_answers(metadata)
