"""Feeds, pushes, identity keys, quarantine and the numbered log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.log import WRITER_MUTABLE

revision = "20261124_01"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    _feeds()
    _pushes()
    _identity()
    _log()
    _grants()


def _feeds() -> None:
    op.create_table(
        "feed",
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("brands", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("site_namespace", sa.Text()),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("silence_after_s", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.CheckConstraint("mode IN ('sandbox', 'live', 'paused')", name=op.f("feed_mode_check")),
        sa.PrimaryKeyConstraint("feed", name=op.f("feed_pkey")),
    )
    op.create_table(
        "feed_secret",
        sa.Column("secret_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("retires_at", INSTANT),
        sa.ForeignKeyConstraint(["feed"], ["feed.feed"], name=op.f("feed_secret_feed_fkey")),
        sa.PrimaryKeyConstraint("secret_id", name=op.f("feed_secret_pkey")),
    )
    op.create_index(op.f("feed_secret_feed_idx"), "feed_secret", ["feed"])


def _pushes() -> None:
    op.create_table(
        "push",
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("received_date", sa.Date(), nullable=False),
        sa.Column("verified", sa.Text(), nullable=False),
        sa.Column("payload_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("received", "accepted", "duplicate", "conflict", "quarantined", "rejected")
        ),
        sa.Column("items", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("received = accepted + duplicate + conflict + quarantined + rejected", name=op.f("push_balanced_check")),
        sa.ForeignKeyConstraint(["feed"], ["feed.feed"], name=op.f("push_feed_fkey")),
        sa.PrimaryKeyConstraint("receipt_id", name=op.f("push_pkey")),
    )
    op.execute("alter table push alter body set storage external")  # ciphertext does not compress: do not try
    op.create_index(op.f("push_received_date_feed_idx"), "push", ["received_date", "feed"])
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("index", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("pointer", sa.Text(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["receipt_id"], ["push.receipt_id"], name=op.f("quarantine_receipt_id_fkey")),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("quarantine_pkey")),
    )
    op.create_index(op.f("quarantine_receipt_id_idx"), "quarantine", ["receipt_id"])
    op.create_table(
        "refused_push",
        sa.Column("refused_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("received_date", sa.Date(), nullable=False),
        sa.Column("payload_sha256", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('unauthenticated', 'unparseable', 'paused')", name=op.f("refused_push_kind_check")),
        sa.ForeignKeyConstraint(["feed"], ["feed.feed"], name=op.f("refused_push_feed_fkey")),
        sa.PrimaryKeyConstraint("refused_id", name=op.f("refused_push_pkey")),
    )
    op.create_index(op.f("refused_push_received_date_feed_idx"), "refused_push", ["received_date", "feed"])


def _identity() -> None:
    op.create_table(
        "event",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("event_pkey")),
    )
    op.create_table(
        "event_version",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "content", name=op.f("event_version_pkey")),
    )


def _log() -> None:
    op.create_table(
        "log",
        *_where(),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("appended_at", INSTANT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "position", name=op.f("log_pkey")),
    )
    op.create_table(
        "log_head",
        *_where(),
        sa.Column("next_position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("origin", sa.LargeBinary(), nullable=False),
        sa.Column("closed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("log_head_pkey")),
    )
    op.create_table(
        "log_relay",
        *_where(),
        sa.Column("next_position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("kafka_offset", sa.BigInteger(), server_default=sa.text("-1"), nullable=False),
        sa.Column("asks", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("log_relay_pkey")),
    )
    op.create_table(
        "log_consumer",
        *_where(),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        sa.Column("asks", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", INSTANT, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "consumer", name=op.f("log_consumer_pkey")),
    )


def _where() -> list[sa.Column[str] | sa.Column[int]]:
    return [sa.Column("topic", sa.Text(), nullable=False), sa.Column("partition", sa.Integer(), nullable=False)]


def _grants() -> None:
    """SELECT and INSERT come from the owner's default privileges; what may change is named here, column by column where it matters."""
    app = op.get_bind().scalar(sa.text("select quote_ident(replace(current_user, '_owner', '_app'))"))
    op.execute(f"grant update (mode, silence_after_s) on feed to {app}")
    op.execute(f"grant update (retires_at) on feed_secret to {app}")
    op.execute(f"grant update on {', '.join(WRITER_MUTABLE)} to {app}")
    op.execute(f"grant delete on log_consumer to {app}")


def downgrade() -> None:
    for table in (
        "log_consumer", "log_relay", "log_head", "log", "event_version", "event", "refused_push", "quarantine", "push", "feed_secret", "feed",
    ):  # fmt: skip
        op.drop_table(table)
