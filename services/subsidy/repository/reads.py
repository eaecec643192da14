"""What the API reads. Every statement takes the revision that it is true of: `known_at` resolves to one, a cursor pins one."""

from datetime import datetime
from typing import Any

import asyncpg

from services.subsidy.domain.events import CLOSING_ACTIONS
from shared.db import Read

_BATCH = "select revision, recorded_at, registry_revision from batch"
LATEST = f"{_BATCH} order by revision desc limit 1"
KNOWN_AT = f"{_BATCH} where recorded_at <= $1 order by recorded_at desc limit 1"
BY_REVISION = f"{_BATCH} where revision = $1"
CURSOR_KEY = "select key from cursor_key"
# The older of the topics' watermarks, once each has one.
WATERMARK = "select case when count(*) = cardinality($1::text[]) then min(reached) end from watermark where topic = any($1)"
PENDING_NOW = "select count(*) from reassessment where done_batch_no is null"
PENDING_THEN = """
select count(*) from reassessment t
join batch a on a.partition = -1 and a.batch_no = t.asked_batch_no
left join batch d on d.partition = t.partition and d.batch_no = t.done_batch_no
where a.revision <= $1 and (d.revision is null or d.revision > $1)
"""

# One parcel. Evidence, assessments and holds up to a revision are those up to a batch of its partition; lines have two writers, its
# partition's owner and the closings.
PARTITION_OF = "select partition from evidence where parcel_key = $1 limit 1"
LAST_BATCH = "select batch_no from batch where partition = $1 and revision <= $2 order by revision desc limit 1"
EVIDENCE = """
select event_id, content, mapping_version, feed, action, scanned_at, site_id, origin, retracts_event_id, retracts_previous_action,
       destination, order_no,
       verdict, receipt_id, raw_action, received_at, site_namespace, site_code, site_name, verified, payload_sha256, partition, position
from evidence where parcel_key = $1 and batch_no <= $2 order by scanned_at, event_id, content, mapping_version
"""
ASSESSMENT = """
select a.*, b.revision, b.registry_revision from assessment a join batch b using (partition, batch_no)
where a.parcel_key = $1 and a.batch_no <= $2 order by a.batch_no desc limit 1
"""
PAYOUTS_OF = """
select p.seq, p.kind, p.amount_fen, p.stage, p.reverses, p.adjusts, p.beneficiary_id, p.station_id, p.service_date, p.posted_at,
       p.reason_codes, p.policy_version, p.period
from payout p join batch b using (partition, batch_no) where p.parcel_key = $1 and b.revision <= $2 order by p.seq
"""
# Whether a change behind the evidence has been recorded that this parcel has not been assessed by.
STILL_ASKED = """
select exists (
    select from reassessment t join batch a on a.partition = -1 and a.batch_no = t.asked_batch_no
    left join batch d on d.partition = t.partition and d.batch_no = t.done_batch_no
    where t.partition = $1 and a.revision <= $2 and a.revision > $3 and (d.revision is null or d.revision > $2)
      and (coalesce($5 = any(t.parcel_keys), false) or coalesce(t.site_ids && $4::bytea[], false)
           or (t.parcel_keys is null and t.site_ids is null and not t.set_aside))
)
"""

# Tenants, here and below: null is no restriction.
_TENANT = """
  and ({brand} = $B or $B is null) and ({beneficiary} = $P or $P is null) and ({township} = $T or $T is null)
"""


def tenants(first: int, *, brand: str, beneficiary: str, township: str) -> str:
    places = {"$B": f"${first}::text", "$P": f"${first + 1}::text", "$T": f"${first + 2}::text"}
    statement = _TENANT.format(brand=brand, beneficiary=beneficiary, township=township)
    for name, place in places.items():
        statement = statement.replace(name, place)
    return statement


_OF_PAYOUT = tenants(16, brand="p.brand", beneficiary="p.beneficiary_id", township="p.township_code")
_PAYOUTS = """
select p.parcel_key, p.seq, p.brand, c.waybill_no, p.scheme, p.kind, p.amount_fen, p.reverses, p.adjusts, p.stage,
       p.beneficiary_id, p.station_id, p.service_date, p.posted_at, p.period, p.policy_version, p.reason_codes,
       b.revision, b.registry_revision
from batch b join payout p using (partition, batch_no) join parcel c using (parcel_key)
where b.revision <= $1 and b.revision > $2
  and (b.revision, p.parcel_key, p.seq) > ($3, $4, $5)
  and ($6::date is null or p.{day} >= $6) and ($7::date is null or p.{day} < $7)
  and ($8::text[] is null or p.brand = any($8)) and ($9::text[] is null or p.scheme = any($9))
  and ($10::text[] is null or p.kind = any($10)) and ($11::text[] is null or p.stage = any($11))
  and ($12::text[] is null or p.station_id = any($12)) and ($13::text[] is null or p.beneficiary_id = any($13))
  and ($14::text[] is null or p.period = any($14))
  {tenant}
order by b.revision, p.parcel_key, p.seq limit $15
"""
PAYOUTS = {
    "service": _PAYOUTS.format(day="service_date", tenant=_OF_PAYOUT),
    "posted": _PAYOUTS.format(day="posted_date", tenant=_OF_PAYOUT),
}

# Sites with scans that close a parcel and lie in no claim ($2 to $4: site, from, to), as the fold would call them unmapped: of how many
# parcels, and between which scans; the most first. Reads the gaps between a site's claims by an index of its own (models.evidence), which
# the planner takes for exactly this list of actions; what was mapped costs nothing.
UNMAPPED_SITES = """
with claimed as (
    select site_id, range_agg(tstzrange(valid_from, valid_to)) as times
    from unnest($2::bytea[], $3::timestamptz[], $4::timestamptz[]) c(site_id, valid_from, valid_to)
    where valid_to is null or valid_from < valid_to group by site_id
), named as (
    select distinct on (site_id) site_id, namespace, site_code, site_name from site
    where $1::text[] is null or namespace = any($1) order by site_id, partition
), upto as (
    select partition, max(batch_no) as batch_no from batch where revision <= $5 group by partition
)
select n.namespace, n.site_code, n.site_name, u.parcels, u.first_seen_at, u.last_seen_at
from named n left join claimed c using (site_id) cross join lateral (
    select count(distinct e.parcel_key) as parcels, min(e.scanned_at) as first_seen_at, max(e.scanned_at) as last_seen_at
    from unnest(tstzmultirange(tstzrange(null, null)) - coalesce(c.times, '{{}}')) gap
    cross join lateral (  -- `offset 0`: gap by gap; the planner, who expects 100 of them, would rather read the whole site
        select parcel_key, partition, batch_no, scanned_at from evidence
        where site_id = n.site_id and action in ({closing})
          and scanned_at >= coalesce(lower(gap), '-infinity') and scanned_at < coalesce(upper(gap), 'infinity') offset 0
    ) e join upto u using (partition)
    where e.batch_no <= u.batch_no
      and ($6::text is null or exists (select from parcel p where p.parcel_key = e.parcel_key and p.brand = $6))
) u
where u.parcels > 0 order by u.parcels desc, n.site_id limit $7 offset $8
""".format(closing=", ".join(f"'{action}'" for action in sorted(CLOSING_ACTIONS)))  # noqa: S608 - of constants


async def revision(read: Read, known_at: datetime | None, pinned: int | None) -> asyncpg.Record | None:
    """The batch that the answer is true of: pinned by a cursor, known at a time, or the latest; None: there is none."""
    if pinned is not None:
        return await read.fetchrow(BY_REVISION, pinned)
    if known_at is not None:
        return await read.fetchrow(KNOWN_AT, known_at)
    return await read.fetchrow(LATEST)


async def last_batch(read: Read, key: bytes, at_revision: int) -> tuple[int, int] | None:
    """-> (partition, the last batch of it up to a revision) of a parcel that was seen; None: it was not."""
    partition = await read.fetchval(PARTITION_OF, key)
    if partition is None:
        return None
    batch_no: Any = await read.fetchval(LAST_BATCH, partition, at_revision)
    return None if batch_no is None else (partition, batch_no)
