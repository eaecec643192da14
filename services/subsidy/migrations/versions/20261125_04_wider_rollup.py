"""Totals by beneficiary, reason and policy: the rollup's key and the parcel's state know them. The rollup is made anew from history."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_04_rollup"
down_revision = "20261125_03_closing"
branch_labels = None
depends_on = None

KEY = ["partition", "service_date", "posted_date", "station_id", "township_code", "brand", "direction", "outcome"]
NEW = ["beneficiary_id", "reason_code", "policy_version"]
STATE = """
update parcel p set reason_code = a.reason_codes[1], policy_version = a.policy_version
from (select distinct on (parcel_key) parcel_key, reason_codes, policy_version from assessment order by parcel_key, batch_no desc) a
where a.parcel_key = p.parcel_key
"""
# What a parcel comes to, on the day of its service; then what was posted on a day.
AGAIN = """
insert into rollup (partition, station_id, township_code, service_date, posted_date, brand, direction, outcome, beneficiary_id, reason_code,
    policy_version, parcels, accrued_fen, held_fen, posted_parcels, posted_fen)
select partition, coalesce(station_id, ''), coalesce(township_code, ''), service_date, posted_date, brand, direction, outcome,
    coalesce(beneficiary_id, ''), coalesce(reason_code, ''), coalesce(policy_version, ''),
    sum(parcels), sum(accrued_fen), sum(held_fen), sum(posted_parcels), sum(posted_fen)
from (
    select partition, station_id, township_code, service_date, service_date as posted_date, brand, direction, outcome, beneficiary_id,
        reason_code, policy_version, 1 as parcels, net_fen + adjusted_fen as accrued_fen, held_fen, 0 as posted_parcels, 0 as posted_fen
    from parcel where outcome is not null
    union all
    select partition, station_id, township_code, service_date, posted_date, brand, scheme, 'payable', beneficiary_id, reason_codes[1],
        policy_version, 0, 0, 0, case when adjusts is null then sign(amount_fen)::int else 0 end, amount_fen
    from payout
) cells group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
"""


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.add_column("parcel", sa.Column("reason_code", sa.Text(), nullable=True))
    op.add_column("parcel", sa.Column("policy_version", sa.Text(), nullable=True))
    op.execute(STATE)
    op.execute("delete from rollup")
    op.drop_constraint("rollup_pk", "rollup", type_="primary")
    for name in NEW:
        op.add_column("rollup", sa.Column(name, sa.Text(), nullable=False))
    op.create_primary_key("rollup_pk", "rollup", [*KEY, *NEW])
    op.execute(AGAIN)
