"""One batch of registry changes, one transaction under the exclusive gate: brief, since it only stores and asks for re-assessment."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from services.subsidy.domain.facts import ABOUT, NAMING
from services.subsidy.domain.policy import Policies
from services.subsidy.repository import batch as sql
from services.subsidy.repository import standing
from services.subsidy.service.admin import ADMIN
from services.subsidy.service.context import policies_of
from shared import telemetry
from shared.contracts.registry import AnyRecord, Division, Incident, Merchant, Operator, RegistryChange, Station, decode_change
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.db import Database, Write
from shared.identity import parcel_key, partition_of
from shared.log import Batch, Diverged, Record
from shared.standing import Directory, sites_of

COUNTY = "000000"  # ends the code of a county


class RegistryBatches:
    """What the registry consumer runs: `before`, `apply`; `read_change` decodes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._directory: tuple[int, Directory] | None = None  # (next position, the directory of all positions below it)

    async def before(self, tx: Write, partition: int) -> None:
        await tx.execute(sql.GATE_EXCLUSIVE, sql.BOOKS)

    async def apply(self, tx: Write, batch: Batch) -> None:
        changes = [(record.position, readable(record)) for record in batch.records]
        directory = await self._before_change(tx, batch.next_position - len(changes))
        sites: set[bytes] = set()
        incidents: list[Incident] = []  # as they were and as they are
        for _, change in changes:
            telling = [record for record in change.records if not only_papers(directory, record)]
            sites |= sites_behind(directory, telling)
            incidents += incidents_of(directory, change.records)
            for record in change.records:
                directory.put(record)
            sites |= sites_behind(directory, telling)
        await standing.store_snapshots(tx, ((position, change.records) for position, change in changes))
        keys = await _declared_behind(tx, changes)
        if incidents:
            about, named = concerned(incidents, policies_of(await standing.policies(tx)), directory)
            sites, keys = sites | about, sorted(named.union(keys))
        await self._ask(tx, batch.batch_no, sites, keys)
        async with self._database.unblocked(tx):
            await tx.execute(sql.CLOSE_BATCH, ADMIN, batch.batch_no, batch.next_position, batch.next_position - 1)
        self._directory = batch.next_position, directory
        telemetry.REGISTRY_REVISION.set(batch.next_position - 1)

    async def _ask(self, tx: Write, batch_no: int, sites: set[bytes], keys: Sequence[bytes]) -> None:
        """One task for each partition: parcels with evidence at the sites, and those that are named."""
        if not sites and not keys:
            return
        partitions: int = await tx.fetchval(standing.PARTITIONS, SCANS_TOPIC)
        named: dict[int, list[bytes]] = {}
        for key in keys:
            named.setdefault(partition_of(key, partitions), []).append(key)
        asked = range(partitions) if sites else sorted(named)
        rows = [(p, batch_no, sorted(sites) or None, named.get(p)) for p in asked]
        await tx.executemany(standing.ASK_FOR_BOTH, rows)

    async def _before_change(self, tx: Write, position: int) -> Directory:
        """The directory of all positions below `position`: a function of the log, so its number tells one kept from a rolled back batch."""
        kept, self._directory = self._directory, None
        if kept and kept[0] == position:
            return kept[1]
        return Directory.of(await standing.snapshots(tx, -1, position - 1))


class Unreadable(NamedTuple):
    """A value that is no change. The registry stops there: nothing after it could be judged by what it has said."""

    reason: str


def readable(record: Record) -> RegistryChange:
    """Raises Diverged, which stops the registry's consumer until an operator has seen to it; scans go on by what was known before."""
    decoded: RegistryChange | Unreadable = record.decoded
    if isinstance(decoded, Unreadable):
        raise Diverged(f"position {record.position} cannot be read ({decoded.reason}): is this worker older than its writer?")
    return decoded


def read_change(value: bytes) -> RegistryChange | Unreadable:
    try:
        return decode_change(value)
    except msgspec.DecodeError as e:
        return Unreadable(str(e))


async def _declared_behind(tx: Write, changes: Sequence[tuple[int, RegistryChange]]) -> list[bytes]:
    """The parcels that a merchant has declared who has changed; all that are declared, where the county has, whose name they read."""
    records = [record for _, change in changes for record in change.records]
    merchants = {r.merchant_id for r in records if isinstance(r, Merchant)}
    county = any(isinstance(r, Division) and r.code.endswith(COUNTY) for r in records)
    if not merchants and not county:
        return []
    return [row[0] for row in await tx.fetch(standing.DECLARED_BY, None if county else sorted(merchants))]


def incidents_of(directory: Directory, records: Sequence[AnyRecord]) -> list[Incident]:
    """The incidents among the changed records, with what the directory had of each until now."""
    new = [r for r in records if isinstance(r, Incident)]
    return [*new, *(old for r in new if (old := directory.incidents.get(r.incident_id)))]


def concerned(incidents: Sequence[Incident], policies: Policies, directory: Directory) -> tuple[set[bytes], set[bytes]]:
    """-> (sites of the stations that they are about, parcels that they name), each where some policy reads that of their kind."""
    read = policies.incidents
    stations = {i.station_id for i in incidents if f"{ABOUT}.{i.kind}" in read}
    sites = (sites_of(directory.stations[s]) for s in stations if s in directory.stations)
    named = (p for i in incidents if f"{NAMING}.{i.kind}" in read for p in i.parcels)
    return set().union(*sites), {parcel_key(p.brand, p.waybill_no) for p in named}


def only_papers(directory: Directory, record: AnyRecord) -> bool:
    """Whether nothing but photographs and papers of a station has changed, which no parcel is judged by."""
    before = directory.stations.get(record.station_id) if isinstance(record, Station) else None
    return before is not None and isinstance(record, Station) and _without_papers(before) == _without_papers(record)


def _without_papers(station: Station) -> Station:
    filings = tuple(replace(f, materials=()) for f in station.filings)
    return replace(station, version=0, photos=(), filings=filings)


def sites_behind(directory: Directory, records: Sequence[AnyRecord]) -> set[bytes]:
    """The sites of every station that is, or refers to, one of the changed records, as the directory has it now."""
    sites: set[bytes] = set()
    for station in _referring(directory, records):
        sites |= sites_of(station)
    return sites


def _referring(directory: Directory, records: Sequence[AnyRecord]) -> Iterable[Station]:
    divisions = {r.code for r in records if isinstance(r, Division)}
    operators = {r.operator_id for r in records if isinstance(r, Operator)}
    ids = {r.station_id for r in records if isinstance(r, Station)}
    for station in directory.stations.values():
        if station.station_id in ids or any(
            s.division_code in divisions or s.township_code in divisions or s.operator_id in operators for s in station.segments
        ):
            yield station
