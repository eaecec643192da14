"""The statements of a month's close: what is in it, what the current step has planned, and what became of it."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from services.subsidy.domain.closing import Total
from shared.db import Read, Write

CLOSING = 0x636C6F73  # advisory lock of whoever is closing a month
TAKE_TURN = "select pg_try_advisory_lock($1)"
END_TURN = "select pg_advisory_unlock($1)"

CLOCK = "select transaction_timestamp()"
# The months that have lines or a status, newest first; `at` and `actor` of the last transition.
MONTHS = """
select period, coalesce(s.status, 'open') as status, coalesce(t.parcels, 0)::bigint as parcels,
       coalesce(t.gross_fen, 0)::bigint as gross_fen, coalesce(t.adjusted_fen, 0)::bigint as adjusted_fen, s.closed_at, s.closed_by
from (
    select period, sum(parcels) as parcels, sum(gross_fen) as gross_fen, sum(adjusted_fen) as adjusted_fen from period_total group by 1
) t full join (
    select p.period, min(p.status) as status,  -- closed comes before closing
           max(b.recorded_at) filter (where p.status = 'closed') as closed_at,
           max(p.actor) filter (where p.status = 'closed') as closed_by
    from period p join batch b on b.partition = -1 and b.batch_no = p.batch_no group by 1
) s using (period)
where $1::text is null or period = $1 order by period desc limit $2
"""
STEPS = """
select s.period, s.step, s.state, s.carried_in_fen, s.excess_fen, s.adjusted_fen, s.lines, s.carried_out_fen
from closing_step s join closing_step planned on planned.period = s.period and planned.step = s.step and planned.state = 'planned'
where s.period = any($1)
  and (s.state = 'done' or not exists (select from closing_step d where d.period = s.period and d.step = s.step and d.state = 'done'))
order by s.period, planned.batch_no
"""
# The first month with lines that is not closed and lies before this one.
EARLIER_OPEN = """
select min(period) from period_total where period < $1 and period > coalesce((select max(period) from period where status = 'closed'), '')
"""
SET_STATUS = "insert into period (period, batch_no, status, actor) values ($1, $2, $3, $4)"
SET_STEP = """
insert into closing_step (period, step, state, batch_no, carried_in_fen, excess_fen, adjusted_fen, lines, carried_out_fen)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
# What the last closed month before this one has left over of a step.
CARRIED = "select carried_out_fen from closing_step where step = $1 and state = 'done' and period < $2 order by period desc limit 1"
TOTALS = """
select period, scheme, year, policy_version, sum(parcels)::bigint as parcels, sum(gross_fen)::bigint as gross_fen,
       sum(adjusted_fen)::bigint as adjusted_fen
from period_total where period <= $1 group by 1, 2, 3, 4 order by 1, 2, 3, 4
"""
# Nobody but its close posts into a month as partition −1.
POSTED_BY_CLOSE = "select coalesce(sum(adjusted_fen), 0)::bigint from period_total where partition = -1 and period = $1"

# The lines posted in a month ($1) of a scheme ($2) that stand, with what closings have left of them; of some policies ($3), of a year of
# service ($4). Reads the payouts once; there is no index by month, which every line of every day would pay for.
_STANDING = """
select c.parcel_key, c.live_seq as seq, o.service_date, c.net_fen + c.adjusted_fen as left_fen
from payout o join parcel c on c.parcel_key = o.parcel_key and c.live_seq = o.seq
where o.period = $1 and o.scheme = $2 and ($3::text[] is null or o.policy_version = any($3))
  and ($4::smallint is null or extract(year from o.service_date) = $4) and c.net_fen + c.adjusted_fen > 0
"""
COUNT_BY_LEFT = f"select left_fen, count(*) as lines from ({_STANDING}) s group by 1"  # noqa: S608 - of constants
STANDING_IN_ORDER = f"{_STANDING} order by o.service_date, c.parcel_key"
# An allotment ($5: amounts, $6: fen of each line, $7: lines that give one more), line by line in key order.
PLAN_ALLOTMENT = f"""
insert into closing_plan (period, parcel_key, seq, scheme, kind, amount_fen, reason_code)
select $1, parcel_key, seq, $2, $8, -given_fen, $9
from (
    select s.parcel_key, s.seq,
           a.fen + (row_number() over (partition by s.left_fen order by s.parcel_key, s.seq) <= a.first)::int as given_fen
    from ({_STANDING}) s join unnest($5::bigint[], $6::bigint[], $7::bigint[]) a(left_fen, fen, first) using (left_fen)
) given
where given_fen > 0
"""  # noqa: S608 - of constants
# Lines that stand and still miss what a budget did not have, in the order in which they get it.
AWAITING = """
select c.parcel_key, c.live_seq as seq, min(o.service_date) as service_date, -sum(o.amount_fen)::bigint as missing_fen
from payout o join parcel c on c.parcel_key = o.parcel_key and c.live_seq = o.adjusts
where o.partition = -1 and o.scheme = $1 and extract(year from o.service_date) = $2
  and o.reason_codes <@ array['budget.awaiting', 'budget.available']
group by 1, 2 having sum(o.amount_fen) < 0 order by min(o.period), 3, 1
"""

PLAN_COLUMNS = ("period", "parcel_key", "seq", "scheme", "kind", "amount_fen", "reason_code")
FORGET_PLAN = "delete from closing_plan where period = $1"
PLANNED = "select count(*) as lines, coalesce(sum(amount_fen), 0)::bigint as fen from closing_plan where period = $1"
# The next lines of the plan, in key order, and all up to the last of them: they are gone with the transaction that posts them. No join:
# nobody has analysed a table that was filled a moment ago.
NEXT_PLANNED = """
select parcel_key, seq, kind, amount_fen, reason_code from closing_plan where period = $1 order by parcel_key, seq limit $2
"""
FORGET_UP_TO = "delete from closing_plan where period = $1 and (parcel_key, seq) <= ($2, $3)"


async def totals(read: Read, up_to: str) -> list[Total]:
    """The sums of every month up to and including one."""
    return [Total._make(r) for r in await read.fetch(TOTALS, up_to)]


async def months(read: Read, period: str | None, limit: int) -> list[asyncpg.Record]:
    return await read.fetch(MONTHS, period, limit)


async def steps(read: Read, periods: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """-> period → its steps in order, each as what it did, or, if it is not done, as what it has planned."""
    found: dict[str, list[dict[str, Any]]] = {period: [] for period in periods}
    for row in await read.fetch(STEPS, list(periods)):
        found[row["period"]].append({name: value for name, value in row.items() if name != "period"})
    return found


async def take_planned(tx: Write, period: str, limit: int) -> list[asyncpg.Record]:
    rows = await tx.fetch(NEXT_PLANNED, period, limit)
    if rows:
        await tx.execute(FORGET_UP_TO, period, rows[-1]["parcel_key"], rows[-1]["seq"])
    return rows


async def plan(tx: Write, rows: Iterable[Sequence[object]]) -> None:
    await tx.copy_records_to_table("closing_plan", records=rows, columns=PLAN_COLUMNS)
