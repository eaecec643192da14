"""Which column of an outlet's file is which: saved with its feed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261126_08"
down_revision = "20261126_07"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feed", sa.Column("file_columns", postgresql.JSONB(), nullable=True))
    app = op.get_bind().scalar(sa.text("select quote_ident(replace(current_user, '_owner', '_app'))"))
    op.execute(f"grant update (file_columns) on feed to {app}")


def downgrade() -> None:
    op.drop_column("feed", "file_columns")
