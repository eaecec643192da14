"""What it takes to read a push again: its content type; and, where one came with it, the signature that proves who said it."""

import sqlalchemy as sa
from alembic import op

revision = "20261126_05"
down_revision = "20261126_04"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("push", sa.Column("content_type", sa.Text(), nullable=True))
    op.add_column("push", sa.Column("signed", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("push", "signed")
    op.drop_column("push", "content_type")
