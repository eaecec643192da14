"""A small county to write books about, and the consumer's transaction without a broker: for the subsidy tests."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

from services.subsidy.domain.events import Event
from services.subsidy.domain.fold import Assessment, assess
from services.subsidy.domain.incidents import with_incidents
from services.subsidy.domain.policy import Policy
from services.subsidy.domain.said import NOTHING
from services.subsidy.repository import batch as batch_sql
from services.subsidy.repository import standing
from services.subsidy.repository import summary as summary_sql
from services.subsidy.repository.said import said_of
from services.subsidy.service.batch import ScanBatches
from services.subsidy.service.context import policies_of
from services.subsidy.service.evidence import read_value
from services.subsidy.service.merging import merge
from services.subsidy.service.policies import activate, read_policies
from services.subsidy.service.registry_apply import RegistryBatches, read_change
from services.subsidy.settings import POLICIES
from shared import identity
from shared.auth import issue
from shared.calendar import SHANGHAI
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.registry import (
    Alias,
    AnyRecord,
    Division,
    DivisionSegment,
    Filing,
    FilingSegment,
    FilingStatus,
    Level,
    Merchant,
    MerchantKind,
    MerchantSegment,
    OperatingStatus,
    Operator,
    OperatorSegment,
    Qualification,
    RegistryChange,
    Sales,
    SalesStatus,
    Shop,
    Station,
    StationSegment,
)
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.contracts.scan import Retracts, ScanEvent
from shared.db import Database
from shared.log import Batch, Record
from shared.standing import Directory

PARTITIONS = 8
OPENED = datetime(2023, 3, 1, tzinfo=SHANGHAI)
COUNTY, TOWNSHIP, VILLAGE, OTHER_VILLAGE = "140827000000", "140827100000", "140827100200", "140827100201"


def at(day: int, hour: int = 9, minute: int = 0) -> datetime:
    """A moment in July 2023, Shanghai."""
    return datetime(2023, 7, day, hour, minute, tzinfo=SHANGHAI)


def scan(
    waybill: str = "W1",
    action: str = "station_inbound",
    scanned_at: datetime | None = None,
    site: str | None = "上王村便民服务点",
    *,
    brand: str = "zto",
    feed: str = "zto-yuanqu",
    ref: str | None = None,
    weight_g: int | None = None,
    retracts: Retracts | None = None,
    origin: str | None = None,
    destination: str | None = None,
    order_no: str | None = None,
    mapping_version: int = 1,
    raw_action: str | None = None,
) -> ScanEvent:
    moment = scanned_at or at(14)
    raw = raw_action or action.upper()
    key = identity.parcel_key(brand, waybill)
    event = identity.event_id("live", feed, key, (ref,) if ref else (raw, moment.isoformat(), None, site))
    content = identity.content(
        brand=brand, waybill_no=waybill, raw_action=raw, scanned_at=moment.isoformat(), site_namespace=brand, site_code=None,
        site_name=site, origin=origin, destination=destination, goods=None, order_no=order_no, weight_g=weight_g,
        retracts_event_id=retracts.event_id if retracts else None,
        retracts_previous_action=retracts.previous_action if retracts else None, sent_action=None,
    )  # fmt: skip
    return ScanEvent(
        event_id=str(event), content=content.hex(), verdict="accepted", brand=brand, waybill_no=waybill, raw_action=raw, scanned_at=moment,
        site_namespace=brand, site_code=None, site_name=site, origin=origin, destination=destination, goods=None, order_no=order_no,
        weight_g=weight_g, retracts=retracts, action=action, mapping_version=mapping_version, feed=feed, receipt_id="rcp_a3",
        received_at=moment + timedelta(seconds=1), verified="hmac", payload_sha256=sha256(b"push").hexdigest(),
    )  # fmt: skip


def division(code: str, name: str, kind: str, parent: str | None, name_en: str = "", version: int = 1) -> Division:
    segment = DivisionSegment(
        valid_from=datetime(2022, 1, 1, tzinfo=SHANGHAI), valid_to=None, name=name, name_en=name_en or name, kind=kind, parent_code=parent,
        edition=2023,
    )  # fmt: skip
    return Division(version=version, code=code, segments=(segment,))


def operator(operator_id: str = "opr_1", name: str = "垣曲快递") -> Operator:
    return Operator(version=1, operator_id=operator_id, segments=(OperatorSegment(valid_from=OPENED, valid_to=None, name=name),))


def alias(name: str, valid_from: datetime = OPENED, valid_to: datetime | None = None, namespace: str = "zto") -> Alias:
    return Alias(
        alias_id=f"als_{name}_{valid_from:%m%d}",
        namespace=namespace,
        site_code=None,
        site_name=name,
        valid_from=valid_from,
        valid_to=valid_to,
    )


def filing(valid_from: datetime, valid_to: datetime | None = None, status: FilingStatus = FilingStatus.FILED) -> Filing:
    return Filing(
        filing_id="fil_7", filer_id="opr_1", covers_brands=("zto",), authority="运城市邮政管理局", opened_on=date(2023, 5, 30),
        submitted_at=valid_from, decided_at=valid_from,
        segments=(FilingSegment(valid_from=valid_from, valid_to=valid_to, status=status, receipt_no="DEMO-7"),),
    )  # fmt: skip


def station(
    station_id: str = "stn_42",
    *,
    aliases: Sequence[Alias] = (alias("上王村便民服务点"),),
    filings: Sequence[Filing] = (),
    level: Level = Level.VILLAGE,
    division_code: str = VILLAGE,
    operator_id: str | None = "opr_1",
    status: OperatingStatus = OperatingStatus.OPEN,
    version: int = 1,
) -> Station:
    segment = StationSegment(
        valid_from=OPENED, valid_to=None, name=f"站 {station_id}", division_code=division_code, township_code=TOWNSHIP,
        operator_id=operator_id, brands=("zto", "yto"), operating_status=status, lat=35.29, lng=111.67,
    )  # fmt: skip
    return Station(version=version, station_id=station_id, level=level, segments=(segment,), aliases=tuple(aliases), filings=tuple(filings))


def merchant(merchant_id: str = "mch_9", *, sales_fen: int = 0, version: int = 1, name: str = "垣曲县山里果业有限公司") -> Merchant:
    """Approved, with a shop on 淘宝 that was seen, and a reviewed year of sales."""
    segment = MerchantSegment(
        valid_from=OPENED, valid_to=None, name=name, kind=MerchantKind.ENTERPRISE, registered_on=date(2021, 4, 6), division_code=TOWNSHIP,
        licence_no=None, shops=(Shop(platform="淘宝", shop="山里果业", approved=True),), qualification=Qualification.APPROVED, reason=None,
    )  # fmt: skip
    sales = (Sales(year=2023, sales_fen=sales_fen, document="平台对账单", status=SalesStatus.REVIEWED, reason=None),) if sales_fen else ()
    return Merchant(version=version, merchant_id=merchant_id, segments=(segment,), sales=sales)


def county() -> list[AnyRecord]:
    """One hub-less county: a township, two villages, one operator, one open village station that nobody has filed."""
    return [
        division(COUNTY, "垣曲县", "county", None, "Yuanqu"),
        division(TOWNSHIP, "新城镇", "town", COUNTY, "Xincheng"),
        division(VILLAGE, "上王村委会", "village", TOWNSHIP, "Shangwang"),
        division(OTHER_VILLAGE, "下王村委会", "village", TOWNSHIP, "Xiawang"),
        operator(),
        station(),
    ]


class Books:
    """The subsidy books, written as the consumer writes them: gate, compare-and-set, apply, one transaction."""

    def __init__(self, database: Database, partitions: int = PARTITIONS) -> None:
        self.database, self.partitions = database, partitions
        self.scans, self.registry = ScanBatches(database), RegistryBatches(database)

    async def send(self, *events: ScanEvent) -> None:
        """One batch of each partition that the events fall into."""
        by_partition: dict[int, list[bytes]] = {}
        for event in events:
            partition = identity.partition_of(identity.parcel_key(event.brand, event.waybill_no), self.partitions)
            by_partition.setdefault(partition, []).append(msgspec.json.encode(event))
        for partition, values in sorted(by_partition.items()):
            await self.take(SCANS_TOPIC, partition, values)

    async def change(self, *records: AnyRecord, drain: bool = True) -> None:
        """One registry transaction; with `drain` all that it asks to assess again."""
        change = RegistryChange(recorded_at=OPENED, actor="test", reason=None, records=records)
        await self.take(REGISTRY_TOPIC, 0, [msgspec.json.encode(change)])
        if drain:
            await self.drain()

    async def drain(self) -> None:
        for partition in range(self.partitions):
            for _ in range(1000):
                if not await self.scans.has_work(partition):
                    break
                await self.take(SCANS_TOPIC, partition, [])
            else:
                raise AssertionError("re-assessment does not end")

    async def take(self, topic: str, partition: int, values: Sequence[bytes]) -> None:
        handler, decode = (self.scans, read_value) if topic == SCANS_TOPIC else (self.registry, read_change)
        async with self.database.write() as tx:
            await handler.before(tx, partition)
            row = await tx.fetchrow(TAKE, topic, partition, len(values))
            assert row is not None
            first = row["next_position"] - len(values)
            records = [Record(first + i, value, decode(value)) for i, value in enumerate(values)]
            await handler.apply(tx, Batch(partition, row["version"], row["next_position"], records))

    async def rows(self, query: str, *args: object) -> list[dict[str, Any]]:
        async with self.database.read() as read:
            return [dict(r) for r in await read.fetch(query, *args)]

    async def balance(self, waybill: str = "W1", brand: str = "zto") -> int:
        """The parcel's net on the accounts of its beneficiaries, in fen."""
        key = identity.parcel_key(brand, waybill)
        (row,) = await self.rows(BALANCE, key)
        return int(row["fen"])


TAKE = """
update consumed set next_position = next_position + $3, version = version + 1, chain = coalesce(chain, ''::bytea)
where topic = $1 and partition = $2 returning version, next_position
"""
BALANCE = """
select coalesce(sum(case when credit like 'payable/%' then amount_fen else -amount_fen end), 0)::bigint as fen
from posting where parcel_key = $1
"""


def event_uuid(event: ScanEvent) -> bytes:
    return UUID(event.event_id).bytes


# what must hold after every test, whatever it did

ACCOUNTS = """
select account, sum(fen)::bigint as fen from (
    select debit as account, -amount_fen as fen from posting union all select credit, amount_fen from posting
) entries group by account
"""
NETS = "select beneficiary_id, sum(net_fen + adjusted_fen)::bigint as fen from parcel where net_fen + adjusted_fen > 0 group by 1"
POINTERS = """
select coalesce(p.parcel_key, l.parcel_key) as parcel_key from (select * from parcel where live_seq is not null) p
full join live_payout l on l.parcel_key = p.parcel_key and l.seq = p.live_seq where p.parcel_key is null or l.parcel_key is null
"""
UNBALANCED = """
select p.parcel_key from parcel p left join payout o using (parcel_key)
group by p.parcel_key having p.net_fen + p.adjusted_fen <> coalesce(sum(o.amount_fen), 0) or p.payouts <> count(o.seq)
   or p.adjusted_fen <> coalesce(sum(o.amount_fen) filter (where o.adjusts = p.live_seq), 0)
   or 0 <> coalesce(sum(o.amount_fen) filter (where o.adjusts is distinct from p.live_seq and o.adjusts is not null), 0)
"""
UNPOSTED = """
select parcel_key from payout o left join posting g using (parcel_key, seq, batch_no)
where g.amount_fen is distinct from abs(o.amount_fen) or (o.amount_fen > 0) is distinct from (g.credit like 'payable/%')
"""
REVERSED_WRONGLY = """
select r.parcel_key from payout r join payout o on o.parcel_key = r.parcel_key and o.seq = r.reverses
where r.amount_fen + o.amount_fen <> 0 or r.beneficiary_id <> o.beneficiary_id or r.service_date <> o.service_date or o.reverses is not null
   or r.adjusts is distinct from o.adjusts
"""
REVERSED_TWICE = "select parcel_key from payout where reverses is not null group by parcel_key, reverses having count(*) > 1"
OPEN_HOLDS = """
select coalesce(p.parcel_key, h.parcel_key) as parcel_key from (select * from parcel where outcome = 'held') p
full join (select h.* from hold h left join hold_release r using (parcel_key, batch_no) where r.parcel_key is null) h
  on h.parcel_key = p.parcel_key and h.batch_no = p.hold_batch_no and h.reason_code = p.hold_reason
  and h.subject = p.hold_subject and h.held_fen = p.held_fen
where p.parcel_key is null or h.parcel_key is null
"""
NAMELESS = """
select batch_no from assessment a where not exists (select from batch b where b.partition = a.partition and b.batch_no = a.batch_no)
"""
PERIODS = """
select period, scheme, year, policy_version, sum(parcels)::int as parcels, sum(gross_fen)::int as gross_fen,
    sum(adjusted_fen)::int as adjusted_fen
from period_total group by 1, 2, 3, 4 order by 1, 2, 3, 4
"""
PERIODS_AGAIN = """
select period, scheme, extract(year from service_date)::int as year, policy_version,
    (count(*) filter (where kind = 'accrual') - count(*) filter (where kind = 'reversal' and adjusts is null))::int as parcels,
    coalesce(sum(amount_fen) filter (where adjusts is null), 0)::int as gross_fen,
    coalesce(sum(amount_fen) filter (where adjusts is not null), 0)::int as adjusted_fen
from payout group by 1, 2, 3, 4 order by 1, 2, 3, 4
"""
EVERYTHING = [date(2000, 1, 1), date(2100, 1, 1)]


async def audit(books: Books) -> None:
    """The books balance, pointers point, held parcels have their hold, rollups equal history, every parcel is the fold of its evidence."""
    for query in (POINTERS, UNBALANCED, UNPOSTED, REVERSED_WRONGLY, REVERSED_TWICE, OPEN_HOLDS, NAMELESS):
        assert await books.rows(query) == [], query
    accounts = {r["account"]: r["fen"] for r in await books.rows(ACCOUNTS)}
    assert sum(accounts.values()) == 0
    owed = {account.split("/")[1]: fen for account, fen in accounts.items() if account.startswith("payable/") and fen}
    assert owed == {r["beneficiary_id"]: r["fen"] for r in await books.rows(NETS)}
    assert await books.rows(PERIODS) == await books.rows(PERIODS_AGAIN)
    for merged in False, True:
        if merged:
            await merge(books.database, date(2100, 1, 1))
        for basis in ("service", "posted"):
            assert await cells(books, basis, now=True) == await cells(books, basis, now=False), basis
    for key, (stored, again) in (await recomputed(books)).items():
        assert stored == again, key.hex()


async def cells(books: Books, basis: str, *, now: bool, revision: int = 2**62) -> list[dict[str, Any]]:
    """Every cell of the totals, from the rollups or from history."""
    statement = summary_sql.grouped(basis, list(summary_sql.GROUPS), now=now)
    return await books.rows(statement, *EVERYTHING, revision, *[None] * 8, 2**31 - 1, 0)


async def recomputed(books: Books) -> dict[bytes, tuple[tuple[object, ...], tuple[object, ...]]]:
    """For every parcel: what the books say, and what the fold says of all its evidence, by the registry and policies of now."""
    async with books.database.read() as read:
        directory = Directory.of(await standing.snapshots(read, -1, 2**62))
        policies = policies_of(await standing.policies(read))
        parcels = await read.fetch("select * from parcel")
        rows = await read.fetch(batch_sql.EVIDENCE_OF, [p["parcel_key"] for p in parcels])
        said = await said_of(read, [p["parcel_key"] for p in parcels])
    events: dict[bytes, list[Event]] = {}
    for row in rows:
        events.setdefault(row[0], []).append(Event._make(row[1:]))
    found = {}
    for p in parcels:
        of_it = with_incidents(said.get(p["parcel_key"], NOTHING), p["parcel_key"], directory, policies)
        again = assess(p["brand"], events[p["parcel_key"]], directory, policies, of_it)
        found[p["parcel_key"]] = (tuple(p[name] for name in RESULT), result_of(again))
    return found


RESULT = ("outcome", "net_fen", "held_fen", "beneficiary_id", "station_id", "township_code", "service_date")


def result_of(a: Assessment) -> tuple[object, ...]:
    return a.outcome, a.net_fen, a.held_fen, a.beneficiary_id, a.station_id, a.township_code, a.service_date


def bearer(private: str, role: str, claim: tuple[str, str] | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue(private, subject='test', roles=[role], ttl_s=60, claim=claim)}"}


# History refuses to be emptied, even by its owner; whoever may change the schema can switch that off, and it shows.
_FROZEN = """
do $$ declare one regclass; begin
    for one in select tgrelid from pg_trigger where tgname = 'only_grows' loop
        execute format('alter table %s {} trigger user', one);
    end loop;
end $$;
"""
RESET = f"""
{_FROZEN.format("disable")}
truncate evidence, site, parcel, assessment, decision, payout, live_payout, posting, rollup, hold, hold_release, ruling, batch,
    registry_snapshot, reassessment, set_aside, set_aside_read, declaration, declaration_row,
    declaration_withdrawal, policy, period, period_total, closing_step, closing_plan, budget, watermark;
{_FROZEN.format("enable")}
update books_head set revision = 0, recorded_at = '-infinity';
update consumed set next_position = 0, chain = null, kafka_offset = 0, asks = 0, version = 0;
"""


@contextlib.asynccontextmanager
async def emptied(dsns: tuple[str, str], policies: Sequence[tuple[Policy, str]] | None = None) -> AsyncIterator[Books]:
    """Empty books with policies (the shipped ones) and the small county, as the app role. `dsns`: (owner, app) of an installed database."""
    owner = await Database(dsns[0], max_size=2).open()
    try:
        await owner.pool.execute(RESET)
        await activate(owner, policies or read_policies(POLICIES))
    finally:
        await owner.close()
    database = await Database(dsns[1], max_size=10).open()
    try:
        made = Books(database)
        await made.change(*county(), drain=False)
        await made.drain()
        yield made
    finally:
        await database.close()
