"""What people decide of holds, and what a hold was about when it was placed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_02_rulings"
down_revision = "20261125_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.create_table(
        "ruling",
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("waybill_no", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("choices", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("said_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("parcel_key", "batch_no", name=op.f("ruling_pk")),
        sa.CheckConstraint("decision in ('place', 'release', 'confirm')", name=op.f("ruling_decision_ck")),
        sa.CheckConstraint("(decision = 'place') = (subject is null)", name=op.f("ruling_subject_ck")),
    )
    op.add_column("parcel", sa.Column("hold_subject", sa.LargeBinary(), nullable=True))
    op.add_column("hold", sa.Column("subject", sa.LargeBinary(), nullable=True))
    op.add_column("hold", sa.Column("held_fen", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column("hold", "held_fen", server_default=None)  # of the rows that there are it is not known
