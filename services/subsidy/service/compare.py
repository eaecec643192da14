"""`tongcun policy compare`: two policies over the evidence of a month, in one snapshot that can only be read."""

from datetime import date

from services.subsidy.domain.events import Event
from services.subsidy.domain.fold import assess
from services.subsidy.domain.incidents import with_incidents
from services.subsidy.domain.policy import Policy
from services.subsidy.domain.policy_compare import Comparison, as_if_in_force
from services.subsidy.domain.said import NOTHING
from services.subsidy.repository import batch, compare, standing
from services.subsidy.repository.said import said_of
from shared.calendar import next_month
from shared.db import Database
from shared.standing import Directory

CHUNK = 2_000  # parcels: memory is bounded whatever the month holds


async def compare_policies(database: Database, old: Policy, new: Policy, period: str) -> Comparison:
    """Of the parcels whose service day lies in `period` (yyyy-mm), by the registry and the rulings of now. Empty where there are none."""
    before, after = as_if_in_force(old), as_if_in_force(new)
    first, end = (date.fromisoformat(f"{month}-01") for month in (period, next_month(period)))
    found = Comparison()
    async with database.read() as read:
        directory = Directory.of(await standing.snapshots(read, -1, 2**62))
        last = b""
        while rows := await read.fetch(compare.PARCELS_OF_MONTH, first, end, last, CHUNK):
            keys = [r["parcel_key"] for r in rows]
            events: dict[bytes, list[Event]] = {key: [] for key in keys}
            for row in await read.fetch(batch.EVIDENCE_OF, keys):
                events[row[0]].append(Event._make(row[1:]))
            said = await said_of(read, keys)
            for key, brand in rows:
                told, of_it = (events[key], directory), said.get(key, NOTHING)
                found.add(brand, *(assess(brand, *told, p, with_incidents(of_it, key, directory, p)) for p in (before, after)))
            last = keys[-1]
    return found


async def active_policy(database: Database, version: str) -> bytes | None:
    """The file of an active policy, as it was activated."""
    async with database.read() as read:
        return next((r["document"].encode() for r in await standing.policies(read) if r["policy_version"] == version), None)
