"""Quarantine as work, corrected code tables, who has read a body, and what a feed's health is told from."""

import sqlalchemy as sa
from alembic import op

revision = "20261126_06"
down_revision = "20261126_05"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "quarantine_outcome",
        sa.Column("quarantine_id", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("outcome IN ('redriven', 'dismissed')", name=op.f("quarantine_outcome_outcome_check")),
        sa.ForeignKeyConstraint(["quarantine_id"], ["quarantine.quarantine_id"], name=op.f("quarantine_outcome_quarantine_id_fkey")),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("quarantine_outcome_pkey")),
    )
    op.create_table(
        "again",
        sa.Column("again_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("on_date", sa.Date(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("published", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('redriven', 'remapped')", name=op.f("again_kind_check")),
        sa.ForeignKeyConstraint(["feed"], ["feed.feed"], name=op.f("again_feed_fkey")),
        sa.PrimaryKeyConstraint("again_id", name=op.f("again_pkey")),
    )
    op.create_table(
        "remapped",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("mapping_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "content", "mapping_version", name=op.f("remapped_pkey")),
    )
    op.create_table(
        "body_read",
        sa.Column("read_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("receipt_id", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("read_id", name=op.f("body_read_pkey")),
    )
    op.create_table(
        "manifest",
        sa.Column("manifest_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("received_date", sa.Date(), nullable=False),
        sa.Column("at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("waybills", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["feed"], ["feed.feed"], name=op.f("manifest_feed_fkey")),
        sa.PrimaryKeyConstraint("manifest_id", name=op.f("manifest_pkey")),
    )
    op.create_index(op.f("manifest_feed_received_date_idx"), "manifest", ["feed", "received_date"])
    op.add_column("push", sa.Column("scanned_to", INSTANT, nullable=True))
    op.create_index(op.f("push_feed_received_at_idx"), "push", ["feed", "received_at"])


def downgrade() -> None:
    op.drop_index(op.f("push_feed_received_at_idx"), "push")
    op.drop_column("push", "scanned_to")
    for table in ("manifest", "body_read", "remapped", "again", "quarantine_outcome"):
        op.drop_table(table)
