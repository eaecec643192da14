"""What people said of parcels: rulings on holds, declarations. Few rows beside the evidence, so nothing is asked while there is none."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from services.subsidy.domain.said import NOTHING, Choice, Declared, Ruling, Said
from shared.db import Read

ANYTHING = "select exists (select from ruling) or exists (select from declaration)"
# Of these parcels, what had been said up to a revision of the books (null: all).
RULINGS_OF = """
select r.parcel_key, r.batch_no, r.decision, r.reason_code, r.subject, r.choices::text
from unnest($1::bytea[]) k(parcel_key) join ruling r using (parcel_key)
join batch b on b.partition = -1 and b.batch_no = r.batch_no
where $2::bigint is null or b.revision <= $2
"""
# Rows that were live then: accepted, of a declaration that had not been withdrawn. At most one a parcel, as they are accepted.
DECLARED_OF = """
select r.parcel_key, r.declaration_id, r.row_no, r.merchant_id, r.platform, r.order_no, r.product, r.destination, r.freight_fen,
       r.declared_on, r.brand, r.waybill_no
from unnest($1::bytea[]) k(parcel_key)
cross join lateral (select * from declaration_row where parcel_key = k.parcel_key offset 0) r  -- key by key, whatever the planner thinks
join batch b on b.partition = -1 and b.batch_no = r.batch_no
where r.verdict = 'accepted' and ($2::bigint is null or b.revision <= $2) and not exists (
    select from declaration_withdrawal w join batch wb on wb.partition = -1 and wb.batch_no = w.batch_no
    where w.declaration_id = r.declaration_id and ($2::bigint is null or wb.revision <= $2)
)
"""

_choices = msgspec.json.Decoder(list[tuple[UUID, str, str]])


async def anything(read: Read) -> bool:
    """Whether anybody has ever said anything. Only a batch of partition −1 can make it true."""
    return bool(await read.fetchval(ANYTHING))


async def said_of(read: Read, keys: Sequence[bytes], revision: int | None = None) -> dict[bytes, Said]:
    """parcel_key → what was said of it, of those of which something was."""
    rulings: dict[bytes, list[Ruling]] = {}
    for row in await read.fetch(RULINGS_OF, keys, revision):
        choices = {event.bytes: Choice(bytes.fromhex(content), bytes.fromhex(among)) for event, content, among in _choices.decode(row[5])}
        rulings.setdefault(row[0], []).append(Ruling._make((*row[1:5], choices)))
    found = {key: NOTHING._replace(rulings=tuple(of)) for key, of in rulings.items()}
    for row in await read.fetch(DECLARED_OF, keys, revision):
        found[row[0]] = found.get(row[0], NOTHING)._replace(declared=Declared._make(row[1:]))
    return found
