"""Cells of the totals may be moved to another row of the same sum."""

from alembic import op

revision = "20261125_08_merged_totals"
down_revision = "20261125_07_uplink"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("""do $$ begin
        execute format('grant delete on rollup to %I', replace(current_user, '_owner', '_app'));
    end $$""")
