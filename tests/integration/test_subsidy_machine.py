"""The books against the model (books_model.py): whatever happens in whatever order, every parcel and every month are what it says."""

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from services.subsidy.domain.policy_file import load
from services.subsidy.schemas import NewBudget
from services.subsidy.schemas_holds import NewHold
from services.subsidy.service.budgets import Budgets
from services.subsidy.service.closing import Closings
from services.subsidy.service.declarations import Declarations
from services.subsidy.service.holds import Holds
from services.subsidy.service.known import Books as Known
from shared.auth import Principal
from shared.calendar import SHANGHAI
from shared.contracts.registry import Incident
from tests.incident_support import incident, policy_text
from tests.integration.books_model import CAP, LIMIT, Model
from tests.integration.subsidy_books import COUNTY, Books, audit, emptied, filing, merchant, scan
from tests.integration.test_subsidy_closing import FILED_SITE, filed_station
from tests.integration.test_subsidy_uplink import file_of, line

pytest_plugins = ("tests.integration.subsidy_fixtures",)
T = TypeVar("T")

DOWN = st.sampled_from([f"DOWN{n}" for n in range(6)])
UP = st.sampled_from([f"SENT{n}" for n in range(5)])
DAYS = st.builds(lambda month, day: date(2023, month, day), st.sampled_from([7, 8]), st.integers(1, 28))
# How an incident may go on, and how it may not go on at all.
NEXT = {
    "open": ["investigating", "substantiated", "unfounded"],
    "investigating": ["substantiated", "unfounded"],
    "substantiated": ["rectified"],
    "rectified": ["closed", "substantiated"],
    "unfounded": ["investigating"],
    "closed": ["investigating"],
}
REVIEWER = Principal("li", frozenset({"reviewer"}), frozenset({"holds:decide"}))


def policy() -> tuple[Any, str]:
    """The shipped one with clauses about incidents, a lower ceiling and cap, and a merchant's year without conditions."""
    text = policy_text()
    for old, new in (
        ("limit_fen_per_parcel = 50", f"limit_fen_per_parcel = {LIMIT}"), ("min_parcels = 1000\n", "min_parcels = 0\n"),
        ("min_sales_fen = 10_000_000", "min_sales_fen = 0"), ("cap_fen = 100_000_000", f"cap_fen = {CAP}"),
    ):  # fmt: skip
        assert text.count(old) == 1
        text = text.replace(old, new)
    return load(text.encode()), text


def at(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=SHANGHAI)


class Machine(RuleBasedStateMachine):
    def __init__(self, dsns: Any) -> None:
        super().__init__()
        self.dsns, self.loop, self.opened = dsns, asyncio.new_event_loop(), contextlib.AsyncExitStack()
        self.model, self.version, self.gifts = Model(), 1, 0
        self.steps: dict[str, list[tuple[datetime, str]]] = {}  # of each incident
        self.books: Books

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def settled(self, *work: Coroutine[Any, Any, Any]) -> None:
        for each in work:
            self.do(each)
        self.do(self.books.drain())
        self.model.settle()

    @initialize()
    def open(self) -> None:
        self.books = self.do(self.opened.enter_async_context(emptied(self.dsns, [policy()])))
        self.known = Known(self.books.database)
        self.do(self.books.change(filed_station(), merchant()))
        self.model.filed_since = date(2023, 7, 1)

    def teardown(self) -> None:
        try:
            if hasattr(self, "books"):
                self.do(audit(self.books))
        finally:
            self.do(self.opened.aclose())
            self.loop.close()

    @rule(waybill=DOWN, day=DAYS, may_be_filed=st.booleans())
    def arrives(self, waybill: str, day: date, may_be_filed: bool) -> None:
        """At the station that may be filed at nine, at the other one at ten: the earliest decides."""
        event = scan(waybill, scanned_at=at(day, 9 if may_be_filed else 10), site=FILED_SITE if may_be_filed else "上王村便民服务点")
        told = self.model.inbound.get(waybill)
        first = min([(day, not may_be_filed), *([(told[0], not told[1])] if told else [])])
        self.model.inbound[waybill] = first[0], not first[1]
        self.settled(self.books.send(event, event))

    @rule(waybill=UP, day=DAYS)
    def sets_out(self, waybill: str, day: date) -> None:
        self.model.sent[waybill] = min(day, self.model.sent.get(waybill, day))
        self.settled(self.books.send(scan(waybill, "picked_up", at(day))))

    @rule(waybill=UP)
    def is_declared(self, waybill: str) -> None:
        self.model.declared.add(waybill)
        self.settled(Declarations(self.known).submit("mch_9", file_of(line(waybill)), "csv", None, "clerk"))

    @rule(waybill=DOWN | UP)
    def goes_back(self, waybill: str) -> None:
        self.model.returned.add(waybill)
        self.settled(self.books.send(scan(waybill, "returned", at(date(2023, 8, 29)), None)))

    @rule(day=st.none() | DAYS)
    def filing_is_corrected(self, day: date | None) -> None:
        """It has begun on another day, or never."""
        self.version += 1
        self.model.filed_since = day
        station = filed_station(self.version)
        filings = (filing(at(day, 0)),) if day else ()
        self.settled(self.books.change(type(station)(**{f: getattr(station, f) for f in station.__struct_fields__} | {"filings": filings})))

    @precondition(lambda self: self.model.live)
    @rule(data=st.data())
    def is_held_by_hand(self, data: st.DataObject) -> None:
        waybill = data.draw(st.sampled_from(sorted(self.model.live)))
        self.model.held.add(waybill)
        body = NewHold(brand="zto", waybill_no=waybill, reason_code="hold.suspicion", note="同一天三百件")
        self.settled(Holds(self.known).place(REVIEWER, body))

    def gone_on(self, incident_id: str, data: st.DataObject, since: datetime, **about: Any) -> tuple[str, Incident]:
        """It is told, or takes its next step, long after all scans; -> its status, its record."""
        steps = self.steps.setdefault(incident_id, [])
        if steps:
            steps.append((at(date(2023, 9, 1)) + timedelta(hours=len(steps)), data.draw(st.sampled_from(NEXT[steps[-1][1]]))))
        else:
            steps.append((since, "open"))
        return steps[-1][1], incident(*steps, incident_id=incident_id, **about)

    @rule(waybill=DOWN, day=DAYS, data=st.data())
    def is_complained_of(self, waybill: str, day: date, data: st.DataObject) -> None:
        """Before or after its scans; a further complaint is the next step of the first."""
        self.model.told[waybill], record = self.gone_on(f"inc_{waybill}", data, at(day), waybills=(waybill,))
        self.settled(self.books.change(record))

    @rule(day=DAYS, data=st.data())
    def station_is_suspected(self, day: date, data: st.DataObject) -> None:
        since = self.model.suspected[0] if self.model.suspected else day
        status, record = self.gone_on("inc_station", data, at(since, 0), station_id="stn_43")
        self.model.suspected = since, status
        self.settled(self.books.change(record))

    @rule(fen=st.integers(1, 200))
    def money_comes(self, fen: int) -> None:
        self.gifts += 1
        self.model.money += fen
        of = NewBudget(county_code=COUNTY, scheme="downlink", year=2023, source="county", amount_fen=fen, document=f"垣财{self.gifts}号")
        self.settled(Budgets(self.known).add(of, "finance-1"))

    @precondition(lambda self: self.model.next_month)
    @rule()
    def month_is_closed(self) -> None:
        month = self.model.next_month
        assert month
        self.model.close()
        self.settled(Closings(self.known).close(month, "finance-1"))

    @invariant()
    def books_are_the_model(self) -> None:
        if not hasattr(self, "books"):
            return
        rows = self.do(self.books.rows("select waybill_no, net_fen + adjusted_fen as fen from parcel where live_seq is not null"))
        assert {r["waybill_no"]: r["fen"] for r in rows} == self.model.paid()
        months = self.do(self.books.rows(MONTHS))
        assert {(r["period"], r["scheme"]): (r["fen"], r["parcels"]) for r in months} == self.model.months()


MONTHS = "select period, scheme, sum(gross_fen + adjusted_fen)::int as fen, sum(parcels)::int as parcels from period_total group by 1, 2"
SHORT = settings(max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
DEEP = settings(SHORT, max_examples=150, stateful_step_count=40)


@pytest.mark.parametrize("depth", [SHORT, pytest.param(DEEP, marks=[pytest.mark.long, pytest.mark.timeout(3000)])], ids=["short", "deep"])
def test_books_and_model_never_part(subsidy_dsns: Any, depth: settings) -> None:
    made: Any = partial(Machine, subsidy_dsns)
    run_state_machine_as_test(made, settings=depth)
