"""Bodies are dropped when their time is over; what they hashed to stays. The application may empty bodies of days gone by, and nothing else."""

import sqlalchemy as sa
from alembic import op

revision = "20261126_07"
down_revision = "20261126_06"
branch_labels = None
depends_on = None

# Owned by the schema's owner: the application's role cannot change a push, only call this. Not younger than 30 days, whoever asks.
DROP_BODIES = """
create function drop_bodies(day date) returns bigint language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    dropped bigint;
begin
    if day >= (now() at time zone 'Asia/Shanghai')::date - 30 then
        raise exception 'bodies of % are not 30 days old', day;
    end if;
    update public.push set body = '', key_id = '' where received_date = day and octet_length(body) > 0;
    get diagnostics dropped = row_count;
    insert into public.body_dropped (received_date, pushes) values (day, dropped);
    return dropped;
end $$
"""


def upgrade() -> None:
    op.create_table(
        "body_dropped",
        sa.Column("received_date", sa.Date(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("pushes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("received_date", name=op.f("body_dropped_pkey")),
    )
    app = op.get_bind().scalar(sa.text("select quote_ident(replace(current_user, '_owner', '_app'))"))
    op.execute(DROP_BODIES)
    op.execute("revoke all on function drop_bodies(date) from public")
    op.execute(f"grant execute on function drop_bodies(date) to {app}")


def downgrade() -> None:
    op.execute("drop function drop_bodies(date)")
    op.drop_table("body_dropped")
