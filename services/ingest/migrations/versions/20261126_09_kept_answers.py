"""Answers of writes, kept under the key that their caller gave: asked again, a write is answered again and not done again."""

import sqlalchemy as sa
from alembic import op

revision = "20261126_09"
down_revision = "20261126_08"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_answer",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_with", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("kept_answer_pkey")),
    )
    op.create_index(op.f("kept_answer_at_idx"), "kept_answer", ["at"])
    app = op.get_bind().scalar(sa.text("select quote_ident(replace(current_user, '_owner', '_app'))"))
    op.execute(f"grant delete on kept_answer to {app}")


def downgrade() -> None:
    op.drop_table("kept_answer")
