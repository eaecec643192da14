"""Tables, for Alembic. Insert-only: the app role may neither change nor delete what was recorded."""

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Index, MetaData, PrimaryKeyConstraint, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB

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

# A record (`shared/contracts/registry.py`) with its whole valid-time history as believed from that revision on.
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

# Where to look: which stations have ever had a filing, claimed a site or held a receipt. Only a hint, decided on the snapshots.
trace = Table(
    "trace",
    metadata,
    Column("term", Text, nullable=False),
    Column("station_id", Text, nullable=False),
    PrimaryKeyConstraint("term", "station_id"),
)

writer_tables(metadata)
kept_answers(metadata)
