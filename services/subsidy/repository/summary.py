"""Totals. One outer statement over cells (day, place, brand, direction, outcome, beneficiary, reason, policy), which come from the
rollups for now and from history for a past revision: two sources of the same cells, proven equal by the tests."""

# Each gives: day, service_date, station_id, township_code, brand, direction, outcome, beneficiary_id, reason_code, policy_version,
# parcels, accrued_fen, held_fen of $1 <= day < $2.
_ROLLUP_SERVICE = """
select service_date as day, service_date, nullif(station_id, '') as station_id, nullif(township_code, '') as township_code, brand,
       direction, outcome, nullif(beneficiary_id, '') as beneficiary_id, nullif(reason_code, '') as reason_code,
       nullif(policy_version, '') as policy_version, parcels, accrued_fen, held_fen
from rollup where service_date >= $1 and service_date < $2 and $3::bigint is not null
"""
_ROLLUP_POSTED = """
select posted_date as day, service_date, nullif(station_id, '') as station_id, nullif(township_code, '') as township_code, brand,
       direction, outcome, nullif(beneficiary_id, '') as beneficiary_id, nullif(reason_code, '') as reason_code,
       nullif(policy_version, '') as policy_version, posted_parcels as parcels, posted_fen as accrued_fen, 0::bigint as held_fen
from rollup where posted_date >= $1 and posted_date < $2 and $3::bigint is not null
"""
# The latest assessment up to the revision of each parcel that was ever assessed into the range.
_HISTORY_SERVICE = """
select a.service_date as day, a.service_date, a.station_id, a.township_code, c.brand, a.direction, a.outcome, a.beneficiary_id,
       a.reason_codes[1] as reason_code, a.policy_version, 1::bigint as parcels, a.net_fen + adjusted.fen as accrued_fen, a.held_fen
from (
    select distinct on (a.parcel_key) a.*
    from (select distinct parcel_key from assessment where service_date >= $1 and service_date < $2) k
    join assessment a using (parcel_key) join batch b using (partition, batch_no)
    where b.revision <= $3 order by a.parcel_key, a.batch_no desc
) a join parcel c using (parcel_key)
cross join lateral (  -- what closings did to the line that stood; with the line it is reversed
    select coalesce(sum(o.amount_fen), 0)::bigint as fen from payout o join batch b using (partition, batch_no)
    where o.parcel_key = a.parcel_key and o.adjusts is not null and b.revision <= $3
) adjusted
where a.outcome is not null and a.service_date >= $1 and a.service_date < $2
"""
# A batch is recorded after it has posted, so batches from before the range hold no line of it.
_HISTORY_POSTED = """
select p.posted_date as day, p.service_date, p.station_id, p.township_code, p.brand, p.scheme as direction, 'payable' as outcome,
       p.beneficiary_id, p.reason_codes[1] as reason_code, p.policy_version,
       (p.adjusts is null)::int * sign(p.amount_fen)::bigint as parcels, p.amount_fen as accrued_fen, 0::bigint as held_fen
from batch b join payout p using (partition, batch_no)
where b.revision <= $3 and b.recorded_at >= $1::date::timestamp at time zone 'Asia/Shanghai' and p.posted_date >= $1 and p.posted_date < $2
"""
CELLS = {
    ("service", True): _ROLLUP_SERVICE,
    ("posted", True): _ROLLUP_POSTED,
    ("service", False): _HISTORY_SERVICE,
    ("posted", False): _HISTORY_POSTED,
}
# The word of `group_by` → (the key's name in the answer, its expression).
GROUPS = {
    "day": ("day", "to_char(day, 'YYYY-MM-DD')"),
    "month": ("month", "to_char(day, 'YYYY-MM')"),
    "township": ("township_code", "township_code"),
    "station": ("station_id", "station_id"),
    "brand": ("brand", "brand"),
    "direction": ("direction", "direction"),
    "outcome": ("outcome", "outcome"),
    "reason": ("reason_code", "reason_code"),
    "beneficiary": ("beneficiary_id", "beneficiary_id"),
    "policy_version": ("policy_version", "policy_version"),
}
FIGURES = ("parcels", "payable", "pending", "held", "refused", "accrued_fen", "held_fen")
_SUMS = """
coalesce(sum(parcels), 0)::bigint as parcels,
coalesce(sum(parcels) filter (where outcome = 'payable'), 0)::bigint as payable,
coalesce(sum(parcels) filter (where outcome = 'pending'), 0)::bigint as pending,
coalesce(sum(parcels) filter (where outcome = 'held'), 0)::bigint as held,
coalesce(sum(parcels) filter (where outcome = 'refused'), 0)::bigint as refused,
coalesce(sum(accrued_fen), 0)::bigint as accrued_fen,
coalesce(sum(held_fen), 0)::bigint as held_fen
"""
_FILTERS = """
($4::text[] is null or township_code = any($4)) and ($5::text[] is null or station_id = any($5))
and ($6::text[] is null or brand = any($6)) and ($7::text[] is null or direction = any($7))
and ($8::text[] is null or outcome = any($8))
and ($9::text is null or brand = $9) and ($10::text is null or beneficiary_id = $10) and ($11::text is null or township_code = $11)
"""


def totals(basis: str, *, now: bool) -> str:
    """$1, $2: days from, to; $3: revision; $4 to $8: filters; $9 to $11: tenant."""
    return f"select {_SUMS} from ({CELLS[basis, now]}) cells where {_FILTERS}"  # noqa: S608 - of constants


def grouped(basis: str, group_by: list[str], *, now: bool) -> str:
    """As `totals`, and $12: limit, $13: offset. Groups of nothing are left out."""
    keys = ", ".join(f"{GROUPS[g][1]} as {GROUPS[g][0]}" for g in group_by)
    numbers = ", ".join(str(i + 1) for i in range(len(group_by)))
    return (
        f"select {keys}, {_SUMS} from ({CELLS[basis, now]}) cells where {_FILTERS} group by {numbers} "  # noqa: S608 - of constants
        "having sum(parcels) <> 0 or sum(accrued_fen) <> 0 or sum(held_fen) <> 0 "
        f"order by {numbers} nulls last limit $12 offset $13"
    )


def ceilings(basis: str, *, now: bool) -> str:
    """$4, $5: service days from, to of a policy → payable parcels and their fen within the range."""
    sums = "coalesce(sum(parcels) filter (where outcome = 'payable'), 0)::bigint as payable, coalesce(sum(accrued_fen), 0)::bigint as fen"
    return f"select {sums} from ({CELLS[basis, now]}) cells where service_date >= $4 and service_date < $5"  # noqa: S608 - of constants
