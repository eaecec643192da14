"""Revisions, snapshots, traces and the log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261124_01"
down_revision = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")  # rather fail than queue every reader behind us
    op.create_table(
        "revision",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("revision", name="pk_revision"),
        sa.UniqueConstraint("recorded_at", name="uq_revision_recorded_at"),
    )
    op.create_table(
        "snapshot",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", "revision", name="pk_snapshot"),
        sa.ForeignKeyConstraint(["revision"], ["revision.revision"], name="fk_snapshot_revision"),
    )
    op.create_index("ix_snapshot_revision", "snapshot", ["revision"])
    op.create_table(
        "trace",
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("station_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("term", "station_id", name="pk_trace"),
    )
    log_tables()
    # The app role: history is SELECT and INSERT (the default privilege), the log's cursors move, a consumer may be removed.
    op.execute("""
        do $$
        declare app text := replace(current_user, '_owner', '_app');
        begin
            execute format('grant update on log_head, log_relay, log_consumer to %I', app);
            execute format('grant delete on log_consumer to %I', app);
        end $$
    """)


def log_tables() -> None:
    op.create_table(
        "log",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("appended_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")),
        sa.PrimaryKeyConstraint("topic", "partition", "position", name="pk_log"),
    )
    op.create_table(
        "log_head",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("origin", sa.LargeBinary(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_log_head"),
    )
    op.create_table(
        "log_relay",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("kafka_offset", sa.BigInteger(), nullable=False, server_default=sa.text("-1")),
        sa.Column("asks", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("version", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("topic", "partition", name="pk_log_relay"),
    )
    op.create_table(
        "log_consumer",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        sa.Column("asks", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("topic", "partition", "consumer", name="pk_log_consumer"),
    )


def downgrade() -> None:
    for table in ("log_consumer", "log_relay", "log_head", "log", "trace", "snapshot", "revision"):
        op.drop_table(table)
