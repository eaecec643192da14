"""The statement that takes the partition off cells that no longer change."""

MERGING = 0x6D657267  # advisory lock of whoever does it
TAKE_TURN = "select pg_try_advisory_xact_lock($1)"
CLOCK = "select transaction_timestamp()"
# Rows are moved to partition −1, whose rows closings write, too. A worker that adds to a row meanwhile waits, and then makes a new one.
MERGE = """
with chosen as (
    select ctid from rollup where partition >= 0 and posted_date < $1 order by service_date, posted_date, station_id limit $2
), moved as (
    delete from rollup where ctid = any(array(select ctid from chosen)) returning *
), summed as (
    select service_date, posted_date, station_id, township_code, brand, direction, outcome, beneficiary_id, reason_code, policy_version,
        sum(parcels)::bigint as parcels, sum(accrued_fen)::bigint as accrued_fen, sum(held_fen)::bigint as held_fen,
        sum(posted_parcels)::bigint as posted_parcels, sum(posted_fen)::bigint as posted_fen
    from moved group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 order by 1, 2, 3
), added as (
    insert into rollup as r (partition, service_date, posted_date, station_id, township_code, brand, direction, outcome, beneficiary_id,
        reason_code, policy_version, parcels, accrued_fen, held_fen, posted_parcels, posted_fen)
    select -1, * from summed
    on conflict (partition, service_date, posted_date, station_id, township_code, brand, direction, outcome, beneficiary_id, reason_code,
        policy_version) do update set
        parcels = r.parcels + excluded.parcels, accrued_fen = r.accrued_fen + excluded.accrued_fen,
        held_fen = r.held_fen + excluded.held_fen, posted_parcels = r.posted_parcels + excluded.posted_parcels,
        posted_fen = r.posted_fen + excluded.posted_fen
)
select count(*)::int from moved
"""
