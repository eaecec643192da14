"""Tables of ingest, for Alembic; every statement stands in repository.py.

Insert-only for the app role, but for a feed's settings, a secret's retirement and the log's cursors.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.log import writer_tables
from shared.writes import kept_answers

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)
writer_tables(metadata)
kept_answers(metadata)

feed = Table(
    "feed",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("format", Text, nullable=False),
    Column("brands", ARRAY(Text), nullable=False),
    Column("site_namespace", Text),
    Column("mode", Text, nullable=False),
    Column("silence_after_s", Integer, nullable=False),
    Column("signature", Text),  # the one scheme by which it authenticates; null: any that its format knows
    Column("allow_from", ARRAY(Text)),  # networks that its pushes may come from; null: any
    Column("file_columns", JSONB),  # which column of an outlet's file is which (domain/outlet.py); null: not said yet
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint("mode IN ('sandbox', 'live', 'paused')", name="mode"),
)

# Several secrets of a feed live at once while its sender changes over.
feed_secret = Table(
    "feed_secret",
    metadata,
    Column("secret_id", BigInteger, Identity(always=True), primary_key=True),
    Column("feed", Text, ForeignKey("feed.feed"), nullable=False),
    Column("key_id", Text, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),  # bound to the feed's name
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("retires_at", DateTime(timezone=True)),  # null: the newest
)
Index(None, feed_secret.c.feed)

# One row a push: what came, what was decided on each of its items, and the counts that completeness adds up.
push = Table(
    "push",
    metadata,
    Column("receipt_id", Text, primary_key=True),
    Column("feed", Text, ForeignKey("feed.feed"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("received_date", Date, nullable=False),  # Shanghai day
    Column("verified", Text, nullable=False),
    Column("payload_sha256", LargeBinary, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # as received, encrypted, bound to the receipt's id
    Column("received", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("duplicate", Integer, nullable=False),
    Column("conflict", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    # What became of each item (domain/receipts.py): read as a whole, counted by its letters.
    Column("verdicts", Text, nullable=False),
    Column("event_ids", LargeBinary, nullable=False),
    Column("flaws", LargeBinary, nullable=False),
    Column("content_type", Text),  # as sent; null: of before it was kept
    Column("signed", Text),  # the signature of a push that came with one
    Column("scanned_to", DateTime(timezone=True)),  # the newest scan of it; null: none could be read
    CheckConstraint("received = accepted + duplicate + conflict + quarantined + rejected", name="balanced"),
)
Index(None, push.c.received_date, push.c.feed)
Index("push_feed_received_at_idx", push.c.feed, push.c.received_at)

# The identity keys: `event` under its first content, `event_version` each further one.
event = Table(
    "event",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
event_version = Table(
    "event_version",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("content", LargeBinary, primary_key=True),
)

# An item of a native push that we could not read: its bytes are in the push, the reason is here.
quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", BigInteger, Identity(always=True), primary_key=True),
    Column("receipt_id", Text, ForeignKey("push.receipt_id"), nullable=False),
    Column("feed", Text, nullable=False),
    Column("index", SmallInteger, nullable=False),
    Column("code", Text, nullable=False),
    Column("pointer", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
)
Index(None, quarantine.c.receipt_id)

# What became of a quarantined item: once, and by whom. Without a row it is open.
quarantine_outcome = Table(
    "quarantine_outcome",
    metadata,
    Column("quarantine_id", BigInteger, ForeignKey("quarantine.quarantine_id"), primary_key=True, autoincrement=False),
    Column("outcome", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("verdict", Text),  # of a redriven one
    Column("event_id", Uuid),
    CheckConstraint("outcome IN ('redriven', 'dismissed')", name="outcome"),
)

# What went to the log besides accepted pushes: one row each time, so that completeness still adds up.
again = Table(
    "again",
    metadata,
    Column("again_id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("on_date", Date, nullable=False),  # Shanghai day
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("feed", Text, ForeignKey("feed.feed"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("items", Integer, nullable=False),
    Column("published", Integer, nullable=False),
    CheckConstraint("kind IN ('redriven', 'remapped')", name="kind"),
)

# Events that were sent again with a higher mapping version: with each of them once.
remapped = Table(
    "remapped",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("content", LargeBinary, primary_key=True),
    Column("mapping_version", Integer, primary_key=True, autoincrement=False),
)

# Days whose bodies were dropped.
body_dropped = Table(
    "body_dropped",
    metadata,
    Column("received_date", Date, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("pushes", BigInteger, nullable=False),
)

# What a sender says it sent on a day of ours: the newest counts.
manifest = Table(
    "manifest",
    metadata,
    Column("manifest_id", BigInteger, Identity(always=True), primary_key=True),
    Column("feed", Text, ForeignKey("feed.feed"), nullable=False),
    Column("received_date", Date, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("by", Text, nullable=False),
    Column("events", Integer, nullable=False),
    Column("waybills", LargeBinary),  # {waybill: events} as JSON, deflated; null: it named none
)
Index("manifest_feed_received_date_idx", manifest.c.feed, manifest.c.received_date)

# Whoever has looked into an encrypted body.
body_read = Table(
    "body_read",
    metadata,
    Column("read_id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("receipt_id", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
)

# Pushes that were never read, one row each, so that their count survives a restart. The body is not kept: we cannot say whose it is.
refused_push = Table(
    "refused_push",
    metadata,
    Column("refused_id", BigInteger, Identity(always=True), primary_key=True),
    Column("feed", Text, ForeignKey("feed.feed"), nullable=False),
    Column("mode", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("received_date", Date, nullable=False),
    Column("payload_sha256", LargeBinary, nullable=False),
    CheckConstraint("kind IN ('unauthenticated', 'unparseable', 'paused')", name="kind"),
)
Index(None, refused_push.c.received_date, refused_push.c.feed)
