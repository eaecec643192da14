"""Closing of months: lines that adjust another, sums by month, what a close plans and did, budgets; history that nobody changes."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_03_closing"
down_revision = "20261125_02_rulings"
branch_labels = None
depends_on = None

GRANT = """do $$ begin
    execute format('grant {privileges} on {table} to %I', replace(current_user, '_owner', '_app'));
end $$"""
HASH_PARTITIONS = 8

REFUSE_CHANGE = """
create function refuse_change() returns trigger language plpgsql as $$ begin
    raise exception '% of %: history only grows', tg_op, tg_table_name
        using errcode = 'restrict_violation', hint = 'post a correction: nothing that was written is changed or deleted';
end $$
"""
# A month is closed with every month before it; while it is closing only the closing itself (partition −1) posts into it.
REFUSE_CLOSED = """
create function refuse_closed_period() returns trigger language plpgsql as $$
declare
    closed constant text := coalesce((select max(period) from period where status = 'closed'), '');
    closing constant text := coalesce((select max(period) from period), '');
    found_period text;
begin
    if closing <> '' then
        select period into found_period from added where period <= closing and (period <= closed or partition >= 0) limit 1;
        if found then
            raise exception 'period % is closed', found_period
                using errcode = 'restrict_violation', hint = 'late truth is posted into the next open period';
        end if;
    end if;
    return null;
end $$
"""
KEEP_CLOSED = """
create trigger period_is_open after insert on {table} referencing new table as added
    for each statement execute function refuse_closed_period()
"""
SUM_PERIODS = """
insert into period_total (partition, period, scheme, year, policy_version, parcels, gross_fen, adjusted_fen)
select partition, period, scheme, extract(year from service_date), policy_version, sum(sign(amount_fen)), sum(amount_fen), 0
from payout group by 1, 2, 3, 4, 5
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    _lines_that_adjust()
    _closing()
    _budgets()
    op.execute(REFUSE_CHANGE)
    op.execute(REFUSE_CLOSED)
    for table in ("payout", "posting"):
        for part in (
            table,
            *(f"{table}_p{n}" for n in range(HASH_PARTITIONS)),
        ):  # a statement on a part does not pass its parent's triggers
            op.execute(KEEP_CLOSED.format(table=part))


def _lines_that_adjust() -> None:
    op.add_column("payout", sa.Column("adjusts", sa.Integer(), nullable=True))
    op.drop_constraint(op.f("payout_sign_ck"), "payout")
    op.create_check_constraint(
        op.f("payout_sign_ck"),
        "payout",
        "(kind in ('accrual', 'adjustment')) <= (amount_fen > 0) and (kind in ('cap', 'vesting', 'clawback')) <= (amount_fen < 0)",
    )
    op.create_check_constraint(
        op.f("payout_adjusts_ck"),
        "payout",
        "(kind in ('cap', 'vesting', 'adjustment')) <= (adjusts is not null) and (kind in ('accrual', 'clawback')) <= (adjusts is null) "
        "and adjusts < seq",
    )
    op.add_column("parcel", sa.Column("adjusted_fen", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_check_constraint(op.f("parcel_adjusted_ck"), "parcel", "adjusted_fen <= 0 and net_fen + adjusted_fen >= 0")


def _closing() -> None:
    op.add_column("period", sa.Column("actor", sa.Text(), server_default=sa.text("'unknown'"), nullable=False))
    op.create_table(
        "period_total",
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("year", sa.SmallInteger(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("parcels", sa.BigInteger(), nullable=False),
        sa.Column("gross_fen", sa.BigInteger(), nullable=False),
        sa.Column("adjusted_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "period", "scheme", "year", "policy_version", name=op.f("period_total_pk")),
        postgresql_with={"fillfactor": "70"},
    )
    op.execute(SUM_PERIODS)
    op.execute(GRANT.format(table="period_total", privileges="update"))
    op.create_table(
        "closing_step",
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("carried_in_fen", sa.BigInteger(), nullable=False),
        sa.Column("excess_fen", sa.BigInteger(), nullable=False),
        sa.Column("adjusted_fen", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("carried_out_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state in ('planned', 'done')", name=op.f("closing_step_state_ck")),
        sa.PrimaryKeyConstraint("period", "step", "state", name=op.f("closing_step_pk")),
    )
    op.create_table(
        "closing_plan",
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("parcel_key", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("period", "parcel_key", "seq", name=op.f("closing_plan_pk")),
    )
    op.execute(GRANT.format(table="closing_plan", privileges="delete"))


def _budgets() -> None:
    op.create_table(
        "budget",
        sa.Column("county_code", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("year", sa.SmallInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("debit", sa.Text(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.Column("batch_no", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("budget_amount_ck")),
        sa.CheckConstraint("debit <> credit", name=op.f("budget_two_accounts_ck")),
        sa.CheckConstraint("source in ('province', 'city', 'county')", name=op.f("budget_source_ck")),
        sa.PrimaryKeyConstraint("county_code", "scheme", "year", "source", "document", name=op.f("budget_pk")),
    )


def downgrade() -> None:
    raise RuntimeError("the books only grow: restore a backup instead")
