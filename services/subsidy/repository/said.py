"""What people said of parcels: rulings on holds. Few rows beside the evidence, so nothing is asked while there is none."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from services.subsidy.domain.said import NOTHING, Choice, Ruling, Said
from shared.db import Read

ANYTHING = "select exists (select from ruling)"
# Of these parcels, what had been said up to a revision of the books (null: all).
RULINGS_OF = """
select r.parcel_key, r.batch_no, r.decision, r.reason_code, r.subject, r.choices::text
from unnest($1::bytea[]) k(parcel_key) join ruling r using (parcel_key)
join batch b on b.partition = -1 and b.batch_no = r.batch_no
where $2::bigint is null or b.revision <= $2
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
    return {key: NOTHING._replace(rulings=tuple(of)) for key, of in rulings.items()}
