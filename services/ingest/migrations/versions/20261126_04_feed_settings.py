"""A feed says by which scheme it signs and from where it pushes; null: any that its format knows, from anywhere."""

import sqlalchemy as sa
from alembic import op

revision = "20261126_04"
down_revision = "20261125_03"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feed", sa.Column("signature", sa.Text(), nullable=True))
    op.add_column("feed", sa.Column("allow_from", sa.ARRAY(sa.Text()), nullable=True))
    app = op.get_bind().scalar(sa.text("select quote_ident(replace(current_user, '_owner', '_app'))"))
    op.execute(f"grant update (signature, allow_from) on feed to {app}")


def downgrade() -> None:
    op.drop_column("feed", "allow_from")
    op.drop_column("feed", "signature")
