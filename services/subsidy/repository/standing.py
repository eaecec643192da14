"""What stands behind the evidence: registry snapshots, policies, periods; and the writes of partition −1."""

from collections.abc import Iterable, Sequence

import asyncpg
import msgspec

from shared.contracts.registry import AnyRecord, Merchant, record_id
from shared.db import Read, Write

# The newest snapshot of every record in (after, up_to].
SNAPSHOTS = """
select distinct on (kind, id) document::text from registry_snapshot
where revision > $1 and revision <= $2 order by kind, id, revision desc
"""
MERCHANTS = """
select distinct on (id) document::text from registry_snapshot where kind = 'merchant' order by id, revision desc
"""
SNAPSHOT_COLUMNS = ("kind", "id", "revision", "document")
# The policies that had been activated before a revision of the books (all, where it is null).
POLICIES = """
select p.policy_version, p.document, p.sha256 from policy p join batch b on b.partition = -1 and b.batch_no = p.batch_no
where $1::bigint is null or b.revision <= $1 order by p.policy_version
"""
# The last month that is closing or closed: with it, all before.
CLOSED_THROUGH = "select max(period) from period"
ASK_FOR_REASSESSMENT = """
insert into reassessment (partition, asked_batch_no, site_ids, cursor)
select c.partition, $2, $3::bytea[], ''::bytea from consumed c where c.topic = $1
"""
ASK_FOR_PARCELS = """
insert into reassessment (partition, asked_batch_no, parcel_keys, cursor) values ($1, $2, $3::bytea[], ''::bytea)
"""
# Of a partition, parcels by their sites and by their names.
ASK_FOR_BOTH = """
insert into reassessment (partition, asked_batch_no, site_ids, parcel_keys, cursor) values ($1, $2, $3::bytea[], $4::bytea[], ''::bytea)
"""
# Parcels that these merchants have declared (null: any merchant); withdrawn ones come to the same again.
DECLARED_BY = """
select distinct parcel_key from declaration_row where ($1::text[] is null or merchant_id = any($1)) and verdict = 'accepted'
"""
PARTITIONS = "select count(*)::int from consumed where topic = $1"
ADD_POLICY = "insert into policy (policy_version, batch_no, sha256, document) values ($1, $2, $3, $4)"
# A write of partition −1 that no log position asks for takes its batch number here; the registry consumer then reads its place anew.
NEXT_ADMIN_BATCH = """
update consumed set version = version + 1 where topic = $1 and partition = 0 returning version, next_position
"""
ANY_EVIDENCE = "select exists (select from evidence)"

_decode: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)


async def snapshots(read: Read, after: int, up_to: int) -> list[AnyRecord]:
    """The newest snapshots with a revision in (after, up_to]; −1 as `after` means: from the beginning."""
    return [_decode.decode(r[0]) for r in await read.fetch(SNAPSHOTS, after, up_to)]


async def merchants(read: Read) -> list[Merchant]:
    """The newest snapshot of each."""
    records = [_decode.decode(r[0]) for r in await read.fetch(MERCHANTS)]
    return [r for r in records if isinstance(r, Merchant)]


async def store_snapshots(tx: Write, revision_records: Iterable[tuple[int, Sequence[AnyRecord]]]) -> None:
    rows = [
        (*record_id(record), revision, msgspec.json.encode(record).decode()) for revision, records in revision_records for record in records
    ]
    await tx.copy_records_to_table("registry_snapshot", records=rows, columns=SNAPSHOT_COLUMNS)


async def policies(read: Read, revision: int | None = None) -> list[asyncpg.Record]:
    """-> rows (policy_version, document, sha256), active at a revision of the books; null: now."""
    return await read.fetch(POLICIES, revision)


async def closed_through(read: Read) -> str | None:
    month: str | None = await read.fetchval(CLOSED_THROUGH)
    return month
