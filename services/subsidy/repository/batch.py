"""The statements of one batch transaction of the worker, in the order in which they run. Sets in, sets out."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg

from shared.db import Write

BOOKS = 0x746F6E67  # advisory lock "the gate": shared by scan batches, exclusive for what changes the rules under them

# Every join of a batch is by key from a set that is small beside the table. The planner does not know that (an array's length is no
# statistic) and would rather read all evidence there is for a large batch: only the nested loop over the keys is left to it.
GATE_SHARED = """
select pg_advisory_xact_lock_shared($1), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)
"""
GATE_EXCLUSIVE = "select pg_advisory_xact_lock($1)"
# The same for a chunk of a close, which has its gate already.
BY_KEY = """
select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true),
    set_config('jit', 'off', true)
"""

# The clock of the transaction, and whether the directory, the policies or the periods have moved (all of them count in this version).
STATE = "select transaction_timestamp() as at, version, next_position from consumed where topic = $1 and partition = 0"

# A savepoint, so that a key that is there already costs this batch a second way in and not its transaction.
BEFORE_EVIDENCE = "savepoint evidence"
BACK_BEFORE_EVIDENCE = "rollback to savepoint evidence"
EVIDENCE_COLUMNS = (
    "parcel_key", "event_id", "content", "mapping_version", "feed", "action", "scanned_at", "site_id", "origin", "retracts_event_id",
    "retracts_previous_action", "destination", "order_no",
    "verdict", "receipt_id", "raw_action", "received_at", "site_namespace", "site_code", "site_name",
    "verified", "payload_sha256", "position", "partition", "batch_no",
)  # fmt: skip
STAGE = "create temporary table evidence_staged (like evidence) on commit drop"
TAKE_STAGED = "insert into evidence select * from evidence_staged on conflict do nothing"

# Parcels that have a row: they had a closing action before.
PARCELS = """
select p.parcel_key, p.brand, p.waybill_no, p.direction, p.outcome, p.net_fen, p.held_fen, p.beneficiary_id, p.station_id,
       p.township_code, p.service_date, p.reason_code, p.policy_version, p.hold_reason, p.hold_batch_no,
       p.hold_subject, p.payouts, p.live_seq,
       p.adjusted_fen
from unnest($1::bytea[]) k(parcel_key) join parcel p using (parcel_key)
"""
# The events of domain.events.Event, after their parcel. A join: `= any` on a partitioned table was five times slower.
EVIDENCE_OF = """
select e.parcel_key, e.event_id, e.content, e.mapping_version, e.feed, e.action, e.scanned_at, e.site_id, e.origin,
       e.retracts_event_id, e.retracts_previous_action, e.destination, e.order_no
from unnest($1::bytea[]) k(parcel_key) join evidence e using (parcel_key)
"""
# The lines that stand for these parcels, each before what adjusts it, to be reversed as they were posted.
LINES = """
select p.parcel_key, p.seq, p.amount_fen, p.beneficiary_id, p.station_id, p.township_code, p.service_date, p.brand, p.scheme,
       p.stage, p.policy_version, p.adjusts
from unnest($1::bytea[], $2::int[]) k(parcel_key, seq) join payout p on p.parcel_key = k.parcel_key and k.seq in (p.seq, p.adjusts)
order by p.parcel_key, p.seq
"""

OLDEST_TASK = """
select asked_batch_no, site_ids, parcel_keys, set_aside, cursor from reassessment
where partition = $1 and done_batch_no is null order by asked_batch_no limit 1
"""
HAS_TASK = "select exists (select from reassessment where partition = $1 and done_batch_no is null)"
# The next parcels, in key order, with evidence at any of the sites. The first $4 *parcels* (not rows: a parcel has several scans) of each
# site contain the first $4 of all of them; fewer than $4 come back only when every site is at its end.
CHUNK_AT_SITES = """
select distinct e.parcel_key
from unnest($2::bytea[]) s(site_id) cross join lateral (
    select distinct parcel_key from evidence
    where site_id = s.site_id and partition = $1 and parcel_key > $3 order by parcel_key limit $4
) e order by 1 limit $4
"""
CHUNK_OF_NAMED = "select k from unnest($1::bytea[]) k where k > $2 order by 1 limit $3"
CHUNK_OF_ALL = "select parcel_key from parcel where partition = $1 and parcel_key > $2 order by 1 limit $3"
ADVANCE_TASK = """
update reassessment set cursor = $3, done_batch_no = $4 where partition = $1 and asked_batch_no = $2 and done_batch_no is null
"""

ASSESSMENT_COLUMNS = (
    "parcel_key", "batch_no", "partition", "direction", "outcome", "reason_codes", "net_fen", "held_fen", "beneficiary_id", "station_id",
    "township_code", "service_date", "deciding_event_id", "policy_version", "decision_id",
)  # fmt: skip
PAYOUT_COLUMNS = (
    "parcel_key", "seq", "partition", "batch_no", "brand", "scheme", "kind", "amount_fen", "reverses", "stage", "beneficiary_id",
    "station_id", "township_code", "service_date", "posted_at", "posted_date", "period", "policy_version", "reason_codes",
    "adjusts",
)  # fmt: skip
POSTING_COLUMNS = ("parcel_key", "seq", "stage", "partition", "batch_no", "debit", "credit", "amount_fen", "period")
PARCEL_COLUMNS = (
    "parcel_key", "partition", "brand", "waybill_no", "direction", "outcome", "net_fen", "held_fen", "beneficiary_id", "station_id",
    "township_code", "service_date", "reason_code", "policy_version", "hold_reason", "hold_batch_no", "hold_subject", "payouts", "live_seq",
    "adjusted_fen",
)  # fmt: skip
# Only parcels whose result has changed. Columns as in PARCEL_COLUMNS, without those that never change.
UPDATE_PARCELS = """
update parcel p set direction = n.direction, outcome = n.outcome, net_fen = n.net_fen, held_fen = n.held_fen,
    beneficiary_id = n.beneficiary_id, station_id = n.station_id, township_code = n.township_code, service_date = n.service_date,
    reason_code = n.reason_code, policy_version = n.policy_version,
    hold_reason = n.hold_reason, hold_batch_no = n.hold_batch_no, hold_subject = n.hold_subject, payouts = n.payouts, live_seq = n.live_seq,
    adjusted_fen = n.adjusted_fen
from unnest($1::bytea[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::date[], $10::text[],
    $11::text[], $12::text[], $13::bigint[], $14::bytea[], $15::int[], $16::int[], $17::bigint[])
    n(parcel_key, direction, outcome, net_fen, held_fen, beneficiary_id, station_id, township_code, service_date, reason_code,
      policy_version, hold_reason, hold_batch_no, hold_subject, payouts, live_seq, adjusted_fen)
where p.parcel_key = n.parcel_key
"""
# A line was posted against the one that stands.
ADJUST_PARCELS = """
update parcel p set payouts = p.payouts + 1, adjusted_fen = p.adjusted_fen + n.amount_fen
from unnest($1::bytea[], $2::int[], $3::int[], $4::bigint[]) n(parcel_key, payouts, live_seq, amount_fen)
where p.parcel_key = n.parcel_key and p.payouts = n.payouts and p.live_seq = n.live_seq
"""
# The pointer moves from the line that we have seen, or not at all.
MOVE_POINTERS = """
update live_payout l set seq = n.new_seq from unnest($1::bytea[], $2::text[], $3::int[], $4::int[]) n(parcel_key, scheme, old_seq, new_seq)
where l.parcel_key = n.parcel_key and l.scheme = n.scheme and l.seq = n.old_seq
"""
DROP_POINTERS = """
delete from live_payout l using unnest($1::bytea[], $2::text[], $3::int[]) n(parcel_key, scheme, old_seq)
where l.parcel_key = n.parcel_key and l.scheme = n.scheme and l.seq = n.old_seq
"""
ADD_TO_ROLLUP = """
insert into rollup as r (partition, posted_date, station_id, township_code, service_date, brand, direction, outcome,
    beneficiary_id, reason_code, policy_version, parcels, accrued_fen, held_fen, posted_parcels, posted_fen)
select $1, $2, d.* from unnest($3::text[], $4::text[], $5::date[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[]) d
on conflict (partition, service_date, posted_date, station_id, township_code, brand, direction, outcome, beneficiary_id, reason_code,
    policy_version) do update set
    parcels = r.parcels + excluded.parcels, accrued_fen = r.accrued_fen + excluded.accrued_fen, held_fen = r.held_fen + excluded.held_fen,
    posted_parcels = r.posted_parcels + excluded.posted_parcels, posted_fen = r.posted_fen + excluded.posted_fen
"""
ADD_TO_PERIODS = """
insert into period_total as t (partition, period, scheme, year, policy_version, parcels, gross_fen, adjusted_fen)
select $1, d.* from unnest($2::text[], $3::text[], $4::smallint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[]) d
on conflict (partition, period, scheme, year, policy_version) do update set
    parcels = t.parcels + excluded.parcels, gross_fen = t.gross_fen + excluded.gross_fen,
    adjusted_fen = t.adjusted_fen + excluded.adjusted_fen
"""
# What comes back is new; what does not was there, committed: it need not be sent again.
ADD_DECISIONS = """
insert into decision (partition, batch_no, decision_id, policy_version, facts, outcome, reason_codes, amount_fen, rate_id, clauses)
select $1, $2, d.id, d.policy_version, d.facts::jsonb, d.outcome, string_to_array(d.reasons, ' '), d.amount_fen, d.rate_id, d.clauses::jsonb
from unnest($3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::text[])
    d(id, policy_version, facts, outcome, reasons, amount_fen, rate_id, clauses)
on conflict do nothing returning decision_id
"""
ADD_SITES = """
insert into site (partition, site_id, namespace, site_code, site_name)
select $1, s.* from unnest($2::bytea[], $3::text[], $4::text[], $5::text[]) s
on conflict do nothing returning site_id
"""
HOLD_COLUMNS = ("parcel_key", "batch_no", "partition", "reason_code", "station_id", "placed_by", "subject", "held_fen")
RELEASE_COLUMNS = ("parcel_key", "batch_no", "partition", "released_batch_no")

# The head row gives revisions in the order of commits, since it stays locked until ours. Always the last statement.
CLOSE_BATCH = """
with head as (
    update books_head set revision = revision + 1, recorded_at = greatest(clock_timestamp(), recorded_at + interval '1 microsecond')
    where one = 1 returning revision, recorded_at
)
insert into batch (partition, batch_no, next_position, registry_revision, revision, recorded_at)
select $1, $2, $3, $4, revision, recorded_at from head returning revision
"""


async def take_evidence(tx: Write, rows: Sequence[Sequence[object]]) -> bool:
    """Write new evidence; False: some of it was there already (an alarm), and only the rest was written."""
    await tx.execute(BEFORE_EVIDENCE)
    try:
        await tx.copy_records_to_table("evidence", records=rows, columns=EVIDENCE_COLUMNS)
    except asyncpg.UniqueViolationError:
        await tx.execute(BACK_BEFORE_EVIDENCE)
        await tx.execute(STAGE)
        await tx.copy_records_to_table("evidence_staged", records=rows, columns=EVIDENCE_COLUMNS)
        await tx.execute(TAKE_STAGED)
        return False
    return True


async def chunk(tx: Write, partition: int, task: asyncpg.Record, limit: int) -> list[bytes]:
    """The next parcels of a re-assessment task, at most `limit`, in key order."""
    named, sites, after = task["parcel_keys"], task["site_ids"], task["cursor"]
    if named is None and sites is None:
        return [r[0] for r in await tx.fetch(CHUNK_OF_ALL, partition, after, limit)]
    keys = {r[0] for r in await tx.fetch(CHUNK_OF_NAMED, named, after, limit)} if named else set()
    if sites:
        keys |= {r[0] for r in await tx.fetch(CHUNK_AT_SITES, partition, sites, after, limit)}
    return sorted(keys)[:limit]  # the first of both are among the first of each


async def copy(tx: Write, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    if rows:
        await tx.copy_records_to_table(table, records=rows, columns=columns)


async def state(tx: Write, registry_topic: str) -> tuple[datetime, int, int]:
    """-> (the transaction's clock, version of what stands behind the evidence, next registry position)."""
    row = await tx.fetchrow(STATE, registry_topic)
    if row is None:
        raise RuntimeError("the books are not installed: run `python -m services.subsidy.migrate`")
    return row["at"], row["version"], row["next_position"]
