"""What is due, overdue, and by whom: the clocks of every station that the caller may see."""

from datetime import date

from services.registry import repository
from services.registry import schemas_clocks as schemas
from services.registry.domain import clocks as rules
from services.registry.domain import working_days
from services.registry.schemas import Label
from services.registry.service import reads
from services.registry.service.reads import in_order, pin_list
from shared.auth import Principal
from shared.calendar import shanghai_day
from shared.contracts.registry import Operator, StationSegment
from shared.db import Database
from shared.standing import at as segment_at
from shared.values import parse_choices, parse_many

DOCUMENT = "《快递末端网点备案暂行规定》"


async def clocks(database: Database, principal: Principal, query: schemas.ClockQuery) -> schemas.ClockList:
    kinds, townships = parse_choices("clock", query.clock, list(rules.Clock)), parse_many(query.township_code)
    async with database.read() as read:
        at = await pin_list(read, query)
        terms = reads.terms_of(principal, townships)
        stations = [station async for found in reads.walk(read, principal, at, terms) for station, _ in found]
        operators = await repository.every(read, Operator, at.revision.revision)
    names = {o.operator_id: o.segments[-1].name for o, _ in operators}
    today = shanghai_day(at.moment)
    items = []
    for station in stations:
        segment = segment_at(station.segments, at.moment)
        if segment is None or query.station_id not in (None, station.station_id):
            continue
        if townships is None or segment.township_code in townships:
            items += [_item(r, segment, names, today) for r in rules.running(station, at.moment) if kinds is None or r.clock in kinds]
    wanted = sorted((item for item in items if _wanted(item, query)), key=_order)
    page, cursor = at.page(wanted, query.limit)
    return schemas.ClockList(items=page, next_cursor=cursor, calendar_ends_on=working_days.ENDS, as_of=at.as_of())


def _wanted(item: schemas.ClockItem, query: schemas.ClockQuery) -> bool:
    return (
        query.status in (None, item.status)
        and query.responsible in (None, item.responsible)
        and (query.due_before is None or item.due_on is None or item.due_on < query.due_before)
    )


def _order(item: schemas.ClockItem) -> tuple[date, tuple[int, str], str, str]:
    """The longest overdue first, and last what nobody can count."""
    return item.due_on or date.max, in_order(item.station_id), item.clock, item.filing_id or ""


def _item(running: rules.Running, segment: StationSegment, names: dict[str, str], today: date) -> schemas.ClockItem:
    term, due = rules.TERMS[running.clock], running.due_on
    own = running.clock in rules.INFORMATIONAL
    return schemas.ClockItem(
        clock=running.clock,
        label=Label(zh=term.zh, en=term.en),
        basis=f"{DOCUMENT}{term.article}",
        term_days=term.days,
        counted_in="working_days" if term.working else "calendar_days",
        informational=own,
        station_id=running.station_id,
        station_name=segment.name,
        township_code=segment.township_code,
        filing_id=running.filing_id,
        responsible="authority" if own else "filer",
        responsible_id=None if own else running.who,
        responsible_name=running.who if own else names.get(running.who or ""),
        about=list(running.about),
        started_on=running.started_on,
        due_on=due,
        days_left=None if due is None else (due - today).days,
        status="overdue" if due is not None and due < today else "due",
        reason_code=None if due else "calendar.ended",
    )
