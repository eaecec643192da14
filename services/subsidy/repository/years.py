"""An applicant's year as a close sees it: uplink lines that stand, posted up to a month ($1), of a year of service ($2)."""

_STANDING = """
from parcel c join payout o on o.parcel_key = c.parcel_key and o.seq = c.live_seq
where c.direction = 'uplink' and c.live_seq is not null and o.period <= $1 and extract(year from o.service_date) = $2
"""
PARCELS = f"select c.beneficiary_id, count(*) as parcels {_STANDING} group by 1"
# In the order in which they are paid: by applicant, service date, parcel. `year_fen`: what this step took so far.
LINES = f"""
select c.beneficiary_id, c.parcel_key, c.live_seq as seq, c.net_fen, c.net_fen + c.adjusted_fen as left_fen, (
    select coalesce(sum(a.amount_fen), 0)::bigint from payout a
    where a.parcel_key = c.parcel_key and a.adjusts = c.live_seq and c.adjusted_fen <> 0
      and a.reason_codes <@ array['cap.annual', 'vesting.not_met', 'year.restored']
) as year_fen
{_STANDING} order by c.beneficiary_id, o.service_date, c.parcel_key
"""  # noqa: S608 - of constants
