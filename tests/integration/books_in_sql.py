"""docs/rules.md 1 and 3 to 13 for downlink parcels as one set-based statement: all parcels at once, joins, nothing of the fold.

The registry is laid out as tables, the policy (yuanqu-2023.1) is written down here by hand. Two kinds of parcels are left to the other
independent implementation (deploy/demo/rules.py): those of which an event was told in several ways (rule 2), and those with more than one
retraction by action, which cancel one after the other.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import asyncpg

from shared.contracts.registry import AnyRecord, Division, Station
from shared.sites import site_id

TABLES = """
create temporary table alias (site_id bytea, valid_from timestamptz, valid_to timestamptz, station_id text);
create temporary table segment (station_id text, level text, valid_from timestamptz, valid_to timestamptz, division_code text,
    township_code text, operator_id text, status text);
create temporary table filed (station_id text, brand text, valid_from timestamptz, valid_to timestamptz);
create temporary table kind (division_code text, kind text, valid_from timestamptz, valid_to timestamptz);
create temporary table far (division_code text);
create temporary table tier (level text, filed bool, far bool, fen int);
insert into tier values
    ('village', true, true, 48), ('village', true, false, 44), ('village', false, true, 40), ('village', false, false, 36),
    ('township', true, true, 32), ('township', true, false, 28), ('township', false, true, 24), ('township', false, false, 20);
"""
PROGRAM = """
create temporary table judged as
with version as materialized (  -- 1
    select distinct on (parcel_key, event_id, content) * from evidence order by parcel_key, event_id, content, mapping_version desc
), odd as (
    select parcel_key from version group by parcel_key
    having count(*) > count(distinct event_id) or count(*) filter (where retracts_previous_action is not null) > 1
), told as materialized (
    select * from version v where retracts_event_id is null and retracts_previous_action is null
      and not exists (select from odd where odd.parcel_key = v.parcel_key)
), by_id as (  -- 3
    select t.parcel_key, t.event_id from told t join version r
      on r.parcel_key = t.parcel_key and r.retracts_event_id = t.event_id and r.feed = t.feed
), by_action as (
    select distinct on (r.parcel_key) r.parcel_key, t.event_id from version r join told t
      on t.parcel_key = r.parcel_key and t.feed = r.feed and t.action = r.retracts_previous_action and t.scanned_at <= r.scanned_at
    where r.retracts_event_id is null and r.retracts_previous_action is not null
      and (t.parcel_key, t.event_id) not in (select * from by_id)
    order by r.parcel_key, t.scanned_at desc, t.event_id
), remaining as (
    select t.* from told t left join (select * from by_id union select * from by_action) c using (parcel_key, event_id)
    where c.event_id is null
), placed as materialized (
    select r.*, a.station_id, s.level, s.division_code, s.township_code, s.operator_id, s.status
    from remaining r
    left join alias a on a.site_id = r.site_id and a.valid_from <= r.scanned_at and (a.valid_to is null or r.scanned_at < a.valid_to)
    left join segment s on s.station_id = a.station_id
        and s.valid_from <= r.scanned_at and (s.valid_to is null or r.scanned_at < s.valid_to)
), void as (  -- 7
    select distinct i.parcel_key, i.event_id from placed i join placed t
      on t.parcel_key = i.parcel_key and t.action = 'taken_back' and t.station_id = i.station_id and i.scanned_at <= t.scanned_at
    where i.action = 'station_inbound'
), door as materialized (
    select p.* from placed p left join void using (parcel_key, event_id)
    where void.event_id is null and p.action in ('station_inbound', 'station_pickup', 'signed', 'signed_by_agent')
), deciding as (  -- 11
    select distinct on (parcel_key) * from door where level in ('village', 'township')
    order by parcel_key, level = 'township', scanned_at, event_id
), ever as (  -- 4
    select parcel_key, min(scanned_at) as at from told
    where action in ('station_inbound', 'station_pickup', 'signed', 'signed_by_agent', 'returning', 'returned', 'refused') group by 1
), standing_closing as (
    select parcel_key, min(scanned_at) as at from (
        select parcel_key, scanned_at from door
        union all select parcel_key, scanned_at from placed where action in ('returning', 'returned', 'refused')
    ) c group by 1
), way as (  -- 6, 9, 10, 12
    select p.parcel_key,
        coalesce(bool_or(p.action = 'picked_up' and p.level is not null or p.origin like '140827%'), false) as uplink,
        case when bool_or(p.action = 'returned') then 'returned' when bool_or(p.action = 'returning') then 'returning'
            when max(p.scanned_at) filter (where p.action = 'refused') >=
                 coalesce(max(p.scanned_at) filter (where p.action in ('station_pickup', 'signed', 'signed_by_agent')), '-infinity')
            then 'refused' else 'none' end as back,
        bool_or(p.action = 'transferred') as transferred,
        max(p.scanned_at) filter (where p.action = 'taken_back' and p.station_id is null)
            >= min(p.scanned_at) filter (where p.action = 'station_inbound') as take_back_unmapped,
        max(p.scanned_at) - min(p.scanned_at) > interval '180 days' as reused
    from placed p group by 1
), lost as (
    select parcel_key, bool_or(site_id is not null and station_id is null) as unmapped from door group by 1
), paid as (  -- 13, its clauses and tiers
    select d.parcel_key, d.station_id, d.township_code, d.operator_id, d.scanned_at,
        d.scanned_at >= '2023-01-01 00:00+08' and d.scanned_at < '2024-01-01 00:00+08' as in_force,
        w.back in ('returned', 'returning', 'refused') or k.kind is null or k.kind not in ('village', 'town', 'township')
            or d.status <> 'open' as refused,
        t.fen
    from deciding d join way w using (parcel_key)
    left join kind k on k.division_code = d.division_code
        and k.valid_from <= d.scanned_at and (k.valid_to is null or d.scanned_at < k.valid_to)
    cross join lateral (
        select exists (select from filed f where f.station_id = d.station_id and f.brand = 'zto' and f.valid_from <= d.scanned_at
            and (f.valid_to is null or d.scanned_at < f.valid_to)) as filed,
            exists (select from far where far.division_code = d.division_code) as far
    ) x
    join tier t on t.level = d.level and t.filed = x.filed and t.far = x.far
), cut as (  -- in the order of judgement: where it ends for 8, 6, 9, 10, 11, or that it does not
    select e.parcel_key, e.at as ever_at, c.at as closing_at, w.transferred, w.reused, p.station_id, p.scanned_at, p.operator_id,
        p.in_force, p.refused, p.fen, case
            when c.at is null or w.uplink then 'waits'
            when w.back <> 'none' and (p.parcel_key is null or not p.in_force or p.refused) then 'went back'
            when w.take_back_unmapped or p.parcel_key is null then 'waits'
            else 'decided' end as how
    from ever e left join standing_closing c using (parcel_key) left join way w using (parcel_key) left join paid p using (parcel_key)
), below as (  -- 12, 13
    select parcel_key, reused, case
            when how = 'waits' then 'pending'
            when how = 'went back' then 'refused'
            when not in_force or transferred then 'held'
            when refused then 'refused'
            when operator_id is null then 'pending'
            else 'payable' end as outcome,
        case when how = 'decided' and in_force and not refused and operator_id is not null then fen else 0 end as fen,
        case when how <> 'waits' then station_id end as station_id,
        (coalesce(case when how <> 'waits' then scanned_at end, closing_at, ever_at) at time zone 'Asia/Shanghai')::date as day
    from cut
)
select parcel_key, case when reused then 'held' else outcome end as outcome,
    case when not coalesce(reused, false) and outcome = 'payable' then fen else 0 end as net_fen,
    case when coalesce(reused, false) or outcome = 'held' then fen else 0 end as held_fen, station_id, day
from below
"""
DIFFERENCES = """
select count(*) filter (where differs) as different, count(*) as judged, coalesce(sum(fen), 0)::bigint as fen,
    min(encode(parcel_key, 'hex')) filter (where differs) as first
from (
    select j.parcel_key, j.net_fen as fen, p.parcel_key is null
        or (p.outcome, p.net_fen, p.held_fen, p.service_date) is distinct from (j.outcome, j.net_fen, j.held_fen, j.day)
        or p.station_id is distinct from j.station_id as differs
    from judged j left join parcel p using (parcel_key)
) compared
"""
ODD = """
select count(*) as odd from parcel p where p.outcome is not null and not exists (select from judged j where j.parcel_key = p.parcel_key)
"""


async def judged(pg: "asyncpg.Connection[asyncpg.Record]", records: Iterable[AnyRecord], far: Iterable[str]) -> dict[str, Any]:
    """Compute everything anew -> {different, judged, fen, odd, first: hex key of a parcel that differs}."""
    await pg.execute(TABLES)
    known = list(records)
    await pg.copy_records_to_table("alias", records=list(_aliases(known)))
    await pg.copy_records_to_table("segment", records=list(_segments(known)))
    await pg.copy_records_to_table("filed", records=list(_filed(known)))
    await pg.copy_records_to_table("kind", records=[
        (r.code, str(s.kind), s.valid_from, s.valid_to) for r in known if isinstance(r, Division) for s in r.segments
    ])  # fmt: skip
    await pg.copy_records_to_table("far", records=[(code,) for code in far])
    await pg.execute("analyze evidence; set enable_nestloop = off")  # the planner knows nothing of what one step hands to the next
    await pg.execute(PROGRAM)
    row, odd = await pg.fetchrow(DIFFERENCES), await pg.fetchval(ODD)
    assert row, "an aggregate is one row"
    return dict(row) | {"odd": odd}


def _stations(records: Iterable[AnyRecord]) -> Iterator[Station]:
    return (r for r in records if isinstance(r, Station))


def _aliases(records: Iterable[AnyRecord]) -> Iterator[tuple[object, ...]]:
    for station in _stations(records):
        for a in station.aliases:
            yield site_id(a.namespace, a.site_code, a.site_name), a.valid_from, a.valid_to, station.station_id


def _segments(records: Iterable[AnyRecord]) -> Iterator[tuple[object, ...]]:
    for station in _stations(records):
        for s in station.segments:
            where = s.division_code, s.township_code, s.operator_id, str(s.operating_status)
            yield station.station_id, str(station.level), s.valid_from, s.valid_to, *where


def _filed(records: Iterable[AnyRecord]) -> Iterator[tuple[object, ...]]:
    for station in _stations(records):
        for f in station.filings:
            for s in f.segments:
                if s.status in ("filed", "change_pending"):
                    for brand in f.covers_brands:
                        yield station.station_id, brand, s.valid_from, s.valid_to
