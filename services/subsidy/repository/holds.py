"""Holds as people see them, and the rulings on them."""

from collections.abc import Sequence

import asyncpg

from services.subsidy.repository.reads import tenants
from shared.db import Read

_HOLD = "h.parcel_key, h.batch_no, h.reason_code, h.placed_by, h.subject, h.held_fen"

# Of one parcel, up to a batch of its partition.
OF_PARCEL = f"""
select {_HOLD}, b.recorded_at as placed_at, b.revision, rb.recorded_at as released_at
from hold h join batch b using (partition, batch_no)
left join hold_release r on r.parcel_key = h.parcel_key and r.batch_no = h.batch_no and r.released_batch_no <= $2
left join batch rb on rb.partition = r.partition and rb.batch_no = r.released_batch_no
where h.parcel_key = $1 and h.batch_no <= $2 order by h.batch_no
"""  # noqa: S608 - of constants
_LISTED = f"""
select {_HOLD}, h.station_id, c.brand, c.waybill_no, a.beneficiary_id, a.township_code, a.service_date, b.revision,
       b.recorded_at as placed_at, rb.recorded_at as released_at
from batch b join hold h using (partition, batch_no) join parcel c using (parcel_key) join assessment a using (parcel_key, batch_no)
left join hold_release r on r.parcel_key = h.parcel_key and r.batch_no = h.batch_no
left join batch rb on rb.partition = r.partition and rb.batch_no = r.released_batch_no and rb.revision <= $1
"""  # noqa: S608 - of constants
LIST = """
{listed}
where b.revision <= $1 and (b.revision, h.parcel_key) > ($2, $3)
  and ($4::text[] is null or h.reason_code = any($4)) and ($5::text[] is null or h.station_id = any($5))
  and ($6::text is null or ($6 = 'open') = (rb.revision is null))
  {tenant}
order by b.revision, h.parcel_key limit $7
""".format(listed=_LISTED, tenant=tenants(8, brand="c.brand", beneficiary="a.beneficiary_id", township="a.township_code"))
ONE = f"{_LISTED} where h.parcel_key = $2 and h.batch_no = $3 and b.revision <= $1"
# What stands now, behind the gate: the subject of the parcel's open hold, if it is this one.
STILL_OPEN = "select hold_subject from parcel where parcel_key = $1 and hold_batch_no = $2"

_RULING = "r.parcel_key, r.decision, r.reason_code, r.subject, r.choices::text, r.said_by, r.note, b.revision, b.recorded_at as said_at"
# What had been said of these parcels up to a revision, in its order.
RULINGS_OF = f"""
select {_RULING} from unnest($1::bytea[]) k(parcel_key) join ruling r using (parcel_key)
join batch b on b.partition = -1 and b.batch_no = r.batch_no where b.revision <= $2 order by b.revision
"""  # noqa: S608 - of constants
RULINGS = f"""
select {_RULING}, r.brand, r.waybill_no from ruling r join batch b on b.partition = -1 and b.batch_no = r.batch_no
where b.revision <= $1 and b.revision > $2 order by b.revision limit $3
"""  # noqa: S608 - of constants
ADD_RULING = """
insert into ruling (parcel_key, batch_no, brand, waybill_no, decision, reason_code, subject, choices, said_by, note)
values ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, $10)
"""


async def rulings_of(read: Read, keys: Sequence[bytes], revision: int) -> dict[bytes, list[asyncpg.Record]]:
    """parcel_key → its rulings, in order."""
    found: dict[bytes, list[asyncpg.Record]] = {}
    for row in await read.fetch(RULINGS_OF, list(set(keys)), revision):
        found.setdefault(row["parcel_key"], []).append(row)
    return found
