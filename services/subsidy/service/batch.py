"""One batch of scans, one transaction: evidence in, books forward (design: the hot path). The consumer opens and commits it."""

from collections.abc import Iterable, Sequence

import msgspec

from services.subsidy.domain.events import Event
from services.subsidy.domain.facts import by_name
from services.subsidy.domain.fold import Assessment, assess
from services.subsidy.domain.incidents import with_incidents
from services.subsidy.domain.policy import Decision
from services.subsidy.domain.said import NOTHING
from services.subsidy.repository import batch as sql
from services.subsidy.repository import standing
from services.subsidy.repository.said import said_of
from services.subsidy.service.books import Entries, Line, Parcel, parcels_of, reverses
from services.subsidy.service.context import Context
from services.subsidy.service.evidence import Scan, in_partition
from services.subsidy.service.set_aside import read_again, set_aside
from shared import telemetry
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.db import Database, Write
from shared.log import Batch

CHUNK_BESIDE = 500  # parcels re-assessed beside new scans: the scans do not wait long for them
CHUNK_ALONE = 2_000  # parcels re-assessed in a transaction of their own
MAX_KNOWN = 200_000  # ids remembered per partition; forgetting them costs a statement, no truth


class Known:
    """Ids of rows that are in the database, committed: what an `on conflict do nothing` did not return."""

    def __init__(self) -> None:
        self._ids: dict[int, set[bytes]] = {}

    def missing(self, partition: int, ids: Iterable[bytes]) -> list[bytes]:
        known = self._ids.setdefault(partition, set())
        return [i for i in ids if i not in known]

    def confirm(self, partition: int, sent: Iterable[bytes], inserted: Iterable[bytes]) -> None:
        known = self._ids.setdefault(partition, set())
        if len(known) > MAX_KNOWN:
            known.clear()
        known.update(set(sent).difference(inserted))


class ScanBatches:
    """What the scans consumer runs: `before`, `apply`, `has_work`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._context = Context()
        self._decisions, self._sites = Known(), Known()
        self._partitions: int | None = None

    async def before(self, tx: Write, partition: int) -> None:
        """The gate: nothing behind the evidence changes while we decide."""
        await tx.execute(sql.GATE_SHARED, sql.BOOKS)

    async def has_work(self, partition: int) -> bool:
        return bool(await self._database.pool.fetchval(sql.HAS_TASK, partition))

    async def apply(self, tx: Write, batch: Batch) -> None:
        with telemetry.WORKER_SECONDS.time():
            posted_at, version, next_registry = await sql.state(tx, REGISTRY_TOPIC)
            await self._context.refresh(tx, version, next_registry)
            placed, unreadable = in_partition(batch, await self._count(tx))
            again, read_again = await self._reassess(tx, batch)
            placed += read_again
            scans = [scan for _, scan in placed]
            await set_aside(tx, batch, unreadable)
            await self._take_evidence(tx, batch, placed)
            entries = Entries(
                batch.partition, batch.batch_no, self._context.policies.county_code or "none", posted_at, self._context.closed_through
            )
            await self._assess(tx, entries, scans, again)
            await self._write(tx, entries)
            await self._close(tx, batch)
        telemetry.WORKER_EVENTS.inc(len(scans))
        telemetry.WORKER_REASSESSED.inc(len(again))

    async def _count(self, tx: Write) -> int:
        """Partitions of the scans log, which never change."""
        if self._partitions is None:
            self._partitions = await tx.fetchval(standing.PARTITIONS, SCANS_TOPIC)
        return self._partitions

    async def _take_evidence(self, tx: Write, batch: Batch, placed: Sequence[tuple[int, Scan]]) -> None:
        if not placed:
            return
        partition, batch_no = batch.partition, batch.batch_no
        rows = [(*scan.row, position, partition, batch_no) for position, scan in placed]
        if not await sql.take_evidence(tx, rows):
            telemetry.WORKER_KEY_VIOLATIONS.inc()
        sites = {scan.site[0]: scan.site for _, scan in placed if scan.site}
        if new := self._sites.missing(partition, sites):
            columns = zip(*(sites[i] for i in sorted(new)), strict=True)
            inserted = await tx.fetch(sql.ADD_SITES, partition, *map(list, columns))
            self._sites.confirm(partition, new, (r[0] for r in inserted))

    async def _reassess(self, tx: Write, batch: Batch) -> tuple[list[bytes], list[tuple[int, Scan]]]:
        """The next chunk of the partition's oldest task -> (parcels to judge anew, scans that had been set aside).

        Noted as done here: it commits with its assessments.
        """
        task = await tx.fetchrow(sql.OLDEST_TASK, batch.partition)
        if task is None:
            return [], []
        limit = CHUNK_BESIDE if batch.records else CHUNK_ALONE
        keys: list[bytes] = []
        scans: list[tuple[int, Scan]] = []
        if task["set_aside"]:
            scans, cursor, more = await read_again(tx, batch, task["cursor"], limit, await self._count(tx))
        else:
            keys = await sql.chunk(tx, batch.partition, task, limit)
            cursor, more = keys[-1] if keys else task["cursor"], len(keys) == limit
        await tx.execute(sql.ADVANCE_TASK, batch.partition, task["asked_batch_no"], cursor, None if more else batch.batch_no)
        return keys, scans

    async def _assess(self, tx: Write, entries: Entries, scans: Sequence[Scan], again: Sequence[bytes]) -> None:
        """Parcels with a closing action in this batch ∪ those that have a row already or were declared, in this batch or in the chunk."""
        touched = {scan.key: scan for scan in scans}
        seen = list({*touched, *again})
        known = parcels_of(await tx.fetch(sql.PARCELS, seen))
        said = await said_of(tx, seen) if self._context.anything_said and seen else {}
        closing = {scan.key for scan in scans if scan.closing}
        todo = sorted(closing.union(known, (key for key, of in said.items() if of.declared)))
        if not todo:
            return
        events: dict[bytes, list[Event]] = {key: [] for key in todo}
        make = Event._make
        for row in await tx.fetch(sql.EVIDENCE_OF, todo):
            events[row[0]].append(make(row[1:]))
        directory, policies = self._context.directory, self._context.policies
        results: list[tuple[bytes, str, str, Parcel | None, Assessment]] = []
        for key in todo:
            old, of_it = known.get(key), said.get(key, NOTHING)
            if not events[key]:
                continue  # declared before its first scan
            named = old or touched.get(key) or of_it.declared
            assert named, "a parcel is here by its row, a scan or a declaration"
            if policies.incidents:
                of_it = with_incidents(of_it, key, directory, policies)
            new = assess(named.brand, events[key], directory, policies, of_it)
            if old or new.outcome or key in closing:
                results.append((key, named.brand, named.waybill_no, old, new))
        lines = await self._lines(tx, [old for _, _, _, old, new in results if old and reverses(old, new)])
        for key, brand, waybill_no, old, new in results:
            entries.add(key, brand, waybill_no, old, new, lines.get(key, ()))

    async def _lines(self, tx: Write, parcels: Sequence[Parcel]) -> dict[bytes, list[Line]]:
        """The lines that stand, with what adjusts them."""
        found: dict[bytes, list[Line]] = {}
        if parcels:
            for row in await tx.fetch(sql.LINES, [p.parcel_key for p in parcels], [p.live_seq for p in parcels]):
                found.setdefault(row[0], []).append(Line._make(row))
        return found

    async def _write(self, tx: Write, entries: Entries) -> None:
        await self._write_decisions(tx, entries)
        await sql.copy(tx, "assessment", sql.ASSESSMENT_COLUMNS, entries.assessments)
        await sql.copy(tx, "live_payout", ("parcel_key", "scheme", "seq"), entries.new_pointers)
        await _all_of(tx, sql.MOVE_POINTERS, entries.moved_pointers)
        await _all_of(tx, sql.DROP_POINTERS, entries.dropped_pointers)
        await sql.copy(tx, "parcel", sql.PARCEL_COLUMNS, entries.new_parcels)
        await _all_of(tx, sql.UPDATE_PARCELS, entries.changed_parcels)
        await sql.copy(tx, "hold", sql.HOLD_COLUMNS, entries.holds)
        await sql.copy(tx, "hold_release", sql.RELEASE_COLUMNS, entries.releases)
        await write_ledger(tx, entries)

    async def _write_decisions(self, tx: Write, entries: Entries) -> None:
        new = self._decisions.missing(entries.partition, entries.decisions)
        if not new:
            return
        rows = [_decision_row(entries.decisions[i]) for i in new]
        inserted = await tx.fetch(sql.ADD_DECISIONS, entries.partition, entries.batch_no, *map(list, zip(*rows, strict=True)))
        self._decisions.confirm(entries.partition, new, (r[0] for r in inserted))

    async def _close(self, tx: Write, batch: Batch) -> None:
        async with self._database.unblocked(tx):
            await tx.execute(sql.CLOSE_BATCH, batch.partition, batch.batch_no, batch.next_position, self._context.registry_revision)


async def write_ledger(tx: Write, entries: Entries) -> None:
    """Lines, postings and the sums that are kept beside them."""
    await sql.copy(tx, "payout", sql.PAYOUT_COLUMNS, entries.payouts)
    await sql.copy(tx, "posting", sql.POSTING_COLUMNS, entries.postings)
    await _all_of(tx, sql.ADJUST_PARCELS, entries.adjusted_parcels)
    cells = [(*cell, *deltas) for cell, deltas in entries.rollup.items() if any(deltas)]
    if cells:
        await tx.execute(sql.ADD_TO_ROLLUP, entries.partition, entries.posted_date, *map(list, zip(*cells, strict=True)))
    totals = [(*key, *deltas) for key, deltas in entries.totals.items()]  # a month with lines has a row, whatever they come to
    if totals:
        await tx.execute(sql.ADD_TO_PERIODS, entries.partition, *map(list, zip(*totals, strict=True)))


async def _all_of(tx: Write, statement: str, rows: Sequence[Sequence[object]]) -> None:
    """Run a set statement over rows; each of them must find its row, else what we have read is not what is there: stop."""
    if not rows:
        return
    done = await tx.execute(statement, *map(list, zip(*rows, strict=True)))
    if int(done.rpartition(" ")[2]) != len(rows):
        raise AssertionError(f"{done} of {len(rows)} rows: the books are not as they were read")


def _decision_row(d: Decision) -> tuple[object, ...]:
    facts = msgspec.json.encode(by_name(d.facts)).decode()
    clauses = msgspec.json.encode(d.results).decode()
    return d.decision_id, d.policy_version, facts, str(d.outcome), " ".join(d.reason_codes), d.amount_fen, d.rate_id, clauses
