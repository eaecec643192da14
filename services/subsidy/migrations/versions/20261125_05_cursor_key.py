"""The secret that cursors are signed with: one for all processes of this installation's API."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_05_cursor_key"
down_revision = "20261125_04_rollup"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cursor_key",
        sa.Column("one", sa.SmallInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("cursor_key_one_row_ck")),
        sa.PrimaryKeyConstraint("one", name=op.f("cursor_key_pk")),
    )
    # gen_random_uuid is PostgreSQL's own cryptographic source: 122 bits of each are random
    op.execute("insert into cursor_key select 1, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))")
