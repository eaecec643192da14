"""Ask for the re-assessment of named parcels."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_01"
down_revision = "20261124_01"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.add_column("reassessment", sa.Column("parcel_keys", sa.ARRAY(sa.LargeBinary()), nullable=True))
