"""Values of the scans log that cannot be read are set aside, and read again when somebody asks."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_06_set_aside"
down_revision = "20261125_05_cursor_key"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.create_table(
        "set_aside",
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "position", name=op.f("set_aside_pk")),
    )
    op.create_table(
        "set_aside_read",
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "position", name=op.f("set_aside_read_pk")),
    )
    op.add_column("reassessment", sa.Column("set_aside", sa.Boolean(), nullable=False, server_default=sa.text("false")))
