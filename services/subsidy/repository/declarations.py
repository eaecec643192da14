"""The statements of declarations. Rows and withdrawals are history; a row is live while it is accepted and its declaration stands."""

from collections.abc import Sequence

import asyncpg

from services.subsidy.domain.declaration import Live, Verdict
from shared.db import Read, Write

MERCHANT = "select exists (select from registry_snapshot where kind = 'merchant' and id = $1)"
WITHDRAWN_BEFORE = """
select count(*) from declaration d join declaration_withdrawal w using (declaration_id) where d.merchant_id = $1 and d.sha256 = $2
"""
ADD = """
insert into declaration (declaration_id, batch_no, merchant_id, format, file_name, sha256, rows, actor)
values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing
"""
JUDGED = "select coalesce(max(row_no), -1) from declaration_row where declaration_id = $1"
# What stands and shares a parcel or an order with these rows. `offset 0`: key by key; the planner, who takes one row in two hundred to be
# accepted, would rather read all of them.
LIVE = """
with stands as (
    select r.* from unnest($1::bytea[]) k(parcel_key) cross join lateral (
        select declaration_id, parcel_key, platform, order_no, merchant_id, verdict from declaration_row
        where parcel_key = k.parcel_key offset 0
    ) r
    union
    select r.* from unnest($2::text[], $3::text[]) o(platform, order_no) cross join lateral (
        select declaration_id, parcel_key, platform, order_no, merchant_id, verdict from declaration_row
        where platform = o.platform and order_no = o.order_no offset 0
    ) r
)
select parcel_key, platform, order_no, merchant_id from stands s
where verdict = 'accepted' and not exists (select from declaration_withdrawal w where w.declaration_id = s.declaration_id)
"""
ROW_COLUMNS = (
    "declaration_id", "batch_no", "row_no", "verdict", "reason_code", "field", "merchant_id", "parcel_key", "brand", "waybill_no",
    "declared_on", "platform", "order_no", "product", "destination", "freight_fen",
)  # fmt: skip
WITHDRAW = """
insert into declaration_withdrawal (declaration_id, batch_no, actor, reason)
select declaration_id, $3, $4, $5 from declaration where declaration_id = $1 and ($2::text is null or merchant_id = $2)
on conflict do nothing returning declaration_id
"""
ACCEPTED_KEYS = "select parcel_key from declaration_row where declaration_id = $1 and verdict = 'accepted'"

_DECLARATIONS = """
select d.declaration_id, d.merchant_id, d.format, d.file_name, encode(d.sha256, 'hex') as sha256, d.rows, b.recorded_at as declared_at,
       b.revision, n.judged, n.accepted, n.duplicate, n.refused, wb.recorded_at as withdrawn_at, w.reason as withdrawal_reason
from declaration d join batch b on b.partition = -1 and b.batch_no = d.batch_no
cross join lateral (
    select count(*) as judged, count(*) filter (where verdict = 'accepted') as accepted,
           count(*) filter (where verdict = 'duplicate') as duplicate, count(*) filter (where verdict = 'refused') as refused
    from declaration_row r where r.declaration_id = d.declaration_id
) n
left join declaration_withdrawal w on w.declaration_id = d.declaration_id
left join batch wb on wb.partition = -1 and wb.batch_no = w.batch_no
"""
ONE = f"{_DECLARATIONS} where d.declaration_id = $1 and ($2::text is null or d.merchant_id = $2)"
LIST = f"""
{_DECLARATIONS} where ($1::text is null or d.merchant_id = $1) and b.revision <= $2 and b.revision > $3
order by b.revision limit $4
"""
# Rows in order, and what the parcel comes to now.
ROWS = """
select r.row_no, r.verdict, r.reason_code, r.field, r.brand, r.waybill_no, r.declared_on, r.platform, r.order_no, r.product, r.destination,
       r.freight_fen, p.outcome, coalesce(p.net_fen + p.adjusted_fen, 0) as net_fen, p.reason_code as outcome_reason
from declaration_row r left join parcel p on p.parcel_key = r.parcel_key and r.verdict = 'accepted' and p.direction = 'uplink'
where r.declaration_id = $1 and r.row_no > $2 and ($3::text[] is null or r.verdict = any($3)) order by r.row_no limit $4
"""
# An applicant's year: the lines that stand, and what was taken from them.
YEAR = """
select count(*)::bigint as parcels, coalesce(sum(net_fen), 0)::bigint as gross_fen, coalesce(sum(adjusted_fen), 0)::bigint as adjusted_fen
from parcel where direction = 'uplink' and live_seq is not null and beneficiary_id = $1 and service_date >= $2 and service_date < $3
"""


async def live(tx: Read, keys: Sequence[bytes], orders: Sequence[tuple[str, str]]) -> list[Live]:
    platforms, numbers = (list(column) for column in zip(*orders, strict=True)) if orders else ([], [])
    return [Live._make(row) for row in await tx.fetch(LIVE, keys, platforms, numbers)]


async def add_rows(tx: Write, declaration_id: str, batch_no: int, merchant_id: str, verdicts: Sequence[Verdict]) -> None:
    rows = [(declaration_id, batch_no, *v[:4], merchant_id, *(v.row[1:] if v.row else [None] * 9)) for v in verdicts]
    await tx.copy_records_to_table("declaration_row", records=rows, columns=ROW_COLUMNS)


async def page(read: Read, declaration_id: str, after: int, verdicts: list[str] | None, limit: int) -> list[asyncpg.Record]:
    return await read.fetch(ROWS, declaration_id, after, verdicts, limit)
