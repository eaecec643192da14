"""The log's rows and its index do not say of which topic they are: a service has one. A tenth of PostgreSQL's time in an append."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_03"
down_revision = "20261125_02"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("log", "topic")  # and the key that it was in
    op.create_primary_key("log_pkey", "log", ["partition", "position"])


def downgrade() -> None:
    op.drop_constraint("log_pkey", "log", type_="primary")
    op.add_column("log", sa.Column("topic", sa.Text(), nullable=True))
    op.execute("update log set topic = (select topic from log_head limit 1)")
    op.alter_column("log", "topic", nullable=False)
    op.create_primary_key("log_pkey", "log", ["topic", "partition", "position"])
