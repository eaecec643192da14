"""Incidents of the registry that hold money where the policy says so (docs/policies.md): over real books, in every order.

The fixture audits the books after each test: every parcel is the fold of its evidence by the registry of now, lines and totals agree.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import permutations
from typing import Any

import httpx
import pytest

from deploy.policies import compare_over
from services.subsidy import schemas, schemas_holds, schemas_policies
from services.subsidy.service.closing import Closings
from services.subsidy.service.declarations import Declarations
from services.subsidy.service.known import Books as Known
from shared.auth import issue
from shared.calendar import SHANGHAI
from tests.contract.subsidy_api import get
from tests.incident_support import clause, incident, policy, policy_text
from tests.integration.subsidy_books import OTHER_VILLAGE, Books, alias, at, audit, emptied, filing, merchant, scan, station
from tests.integration.test_subsidy_uplink import file_of, line

pytest_plugins = ("tests.integration.subsidy_fixtures",)
OTHER_SITE = "下王村便民服务点"
UNFILED = 36
State = tuple[str | None, list[str], int, int]  # outcome, reasons, net and held fen


@pytest.fixture
async def books(subsidy_dsns: Any) -> AsyncIterator[Books]:
    """Empty books under the policy that holds; another village's station beside the first."""
    async with emptied(subsidy_dsns, [policy()]) as made:
        await made.change(station("stn_43", aliases=[alias(OTHER_SITE)], division_code=OTHER_VILLAGE))
        yield made
        await made.drain()
        await audit(made)


def late(month: int, day: int) -> datetime:
    return datetime(2023, month, day, 10, tzinfo=SHANGHAI)


class County:
    def __init__(self, client: httpx.AsyncClient, private: str) -> None:
        self.client, self.private = client, private

    async def parcel(self, waybill: str = "W1", **params: str) -> State:
        """As the API shows it; `explain` fails where it does not come to what was posted."""
        found = await get(self.client, f"/v1/parcels/zto/{waybill}", schemas.Parcel, **params)
        explained = await get(self.client, f"/v1/parcels/zto/{waybill}/explain", schemas.Explanation, **params)
        assert (explained["outcome"], explained["net_fen"]) == (found["outcome"], found["net_fen"])
        return found["outcome"], found["reason_codes"], found["net_fen"], found["held_fen"]

    async def explained(self, waybill: str = "W1") -> dict[str, Any]:
        return await get(self.client, f"/v1/parcels/zto/{waybill}/explain", schemas.Explanation)

    async def release(self, waybill: str = "W1", **params: str) -> None:
        found = (await get(self.client, "/v1/holds", schemas_holds.Holds, status="open", **params))["items"]
        (item,) = (i for i in found if i["waybill_no"] == waybill)
        hold = await get(self.client, f"/v1/holds/{item['hold_id']}", schemas_holds.OneHold)
        token = issue(self.private, subject="li", roles=["reviewer"], ttl_s=60)
        body = {"decision": "release", "reason": "已核对", "subject": hold["subject"]}
        url = f"/v1/holds/{hold['hold_id']}/decisions"
        answer = await self.client.post(url, json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 201, answer.text

    async def known_at(self) -> str:
        return str((await self.explained())["as_of"]["known_at"])


@pytest.fixture
async def county(client: httpx.AsyncClient, keys: tuple[str, str]) -> County:
    return County(client, keys[0])


PAID: State = ("payable", ["rate.village.unfiled.near"], UNFILED, 0)
HELD: State = ("held", ["incident.open"], 0, UNFILED)
STATION_HELD: State = ("held", ["incident.station"], 0, UNFILED)
DENIED: State = ("refused", ["incident.false_data"], 0, 0)


async def test_told_before_the_scan_nothing_is_ever_posted(books: Books, county: County) -> None:
    await books.change(incident((at(12), "open"), waybills=("W1",)))
    await books.send(scan("W1"), scan("W2"))
    assert await county.parcel() == HELD
    assert await county.parcel("W2") == PAID
    assert await books.rows("select from payout p join parcel using (parcel_key) where waybill_no = 'W1'") == []


async def test_told_after_the_scan_what_was_paid_is_taken_back_and_given_again(books: Books, county: County) -> None:
    await books.send(scan("W1"))
    assert await county.parcel() == PAID
    steps = [(at(16), "open")]
    await books.change(incident(*steps, waybills=("W1",)))
    assert await county.parcel() == HELD
    assert await books.balance() == 0
    steps.append((at(18), "investigating"))
    await books.change(incident(*steps, waybills=("W1",)))
    assert await county.parcel() == HELD
    await books.change(incident(*steps, (at(20), "unfounded"), waybills=("W1",)))
    assert await county.parcel() == PAID
    await books.change(incident(*steps, (at(20), "unfounded"), (at(28), "closed"), waybills=("W1",)))
    assert await county.parcel() == PAID
    lines = await books.rows("select kind, amount_fen, reason_codes from payout order by seq")
    assert [(r["kind"], r["amount_fen"], r["reason_codes"][0]) for r in lines] == [
        ("accrual", UNFILED, "rate.village.unfiled.near"),
        ("reversal", -UNFILED, "incident.open"),
        ("accrual", UNFILED, "rate.village.unfiled.near"),
    ]
    holds = await books.rows("select released_batch_no from hold left join hold_release using (parcel_key, batch_no)")
    assert [h["released_batch_no"] is not None for h in holds] == [True, True], "each step is a hold of its own: nobody had judged it"


async def test_substantiated_false_data_is_not_paid_nor_after_its_end(books: Books, county: County) -> None:
    await books.send(scan("W1"))
    steps = [(at(16), "open"), (at(20), "substantiated")]
    await books.change(incident(*steps, waybills=("W1",)))
    assert await county.parcel() == DENIED
    steps += [(at(28), "rectified"), (late(8, 9), "closed")]
    await books.change(incident(*steps, waybills=("W1",)))
    assert await county.parcel() == DENIED
    await books.change(incident(*steps, (late(9, 1), "investigating"), (late(9, 9), "unfounded"), waybills=("W1",)))
    assert await county.parcel() == PAID


async def test_an_illegal_charge_waits_until_it_is_put_right(books: Books, county: County) -> None:
    await books.send(scan("W1"))
    steps = [(at(16), "open"), (at(20), "substantiated")]
    await books.change(incident(*steps, waybills=("W1",), kind="illegal_charge"))
    assert await county.parcel() == HELD
    await books.change(incident(*steps, (at(28), "rectified"), waybills=("W1",), kind="illegal_charge"))
    assert await county.parcel() == PAID


async def test_a_station_under_suspicion_holds_what_reached_it_while_it_lasts(books: Books, county: County) -> None:
    days = {"W10": 10, "W16": 16, "W20": 20, "W26": 26}
    await books.send(*(scan(w, scanned_at=at(day)) for w, day in days.items()), scan("OTHER", scanned_at=at(20), site=OTHER_SITE))
    steps = [(at(15, 0), "open")]
    await books.change(incident(*steps, station_id="stn_42"))
    assert {w: await county.parcel(w) for w in days} == {"W10": PAID, "W16": STATION_HELD, "W20": STATION_HELD, "W26": STATION_HELD}
    assert await county.parcel("OTHER") == PAID
    await books.send(scan("LATE", scanned_at=at(17)))
    assert await county.parcel("LATE") == STATION_HELD
    # Unfounded, and taken up again: it lasted twice, and the days between are nobody's.
    steps += [(at(18, 0), "unfounded")]
    await books.change(incident(*steps, station_id="stn_42"))
    assert {w: await county.parcel(w) for w in [*days, "LATE"]} == dict.fromkeys([*days, "LATE"], PAID)
    await books.change(incident(*steps, (at(25, 0), "investigating"), station_id="stn_42"))
    assert {w: await county.parcel(w) for w in days} == {"W10": PAID, "W16": STATION_HELD, "W20": PAID, "W26": STATION_HELD}


async def test_a_back_dated_beginning_reaches_the_parcels_before(books: Books, county: County) -> None:
    await books.send(scan("W1", scanned_at=at(5)))
    await books.change(incident((at(15), "open"), station_id="stn_42"))
    assert await county.parcel() == PAID
    await books.change(incident((at(3), "open"), station_id="stn_42"))
    assert await county.parcel() == STATION_HELD


async def test_one_that_turns_out_to_be_about_another_station_lets_the_first_go(books: Books, county: County) -> None:
    await books.send(scan("W1"), scan("W2", site=OTHER_SITE))
    await books.change(incident((at(3), "open"), station_id="stn_42", waybills=("W1",)))
    assert (await county.parcel())[1] == ["incident.open", "incident.station"]
    await books.change(incident((at(3), "open"), station_id="stn_43", waybills=("W2",)))
    assert await county.parcel() == PAID
    assert (await county.parcel("W2"))[1] == ["incident.open", "incident.station"]


async def test_what_was_known_at_a_revision_stays_known(books: Books, county: County) -> None:
    await books.send(scan("W1"))
    seen: list[tuple[str, State]] = [(await county.known_at(), await county.parcel())]
    for steps in ([(at(16), "open")], [(at(16), "open"), (at(20), "substantiated")], [(at(16), "open"), (at(20), "unfounded")]):
        await books.change(incident(*steps, waybills=("W1",)))
        seen.append((await county.known_at(), await county.parcel()))
    assert [state for _, state in seen] == [PAID, HELD, DENIED, PAID]
    for known_at, state in seen:
        assert await county.parcel(known_at=known_at) == state


async def test_an_incident_that_waits_for_its_re_assessment_is_told_as_pending(books: Books, county: County) -> None:
    await books.send(scan("W1"), scan("W2"))
    await books.change(incident((at(16), "open"), waybills=("W1",)), drain=False)
    assert (await county.explained())["pending_reassessment"]
    assert not (await county.explained("W2"))["pending_reassessment"]
    assert await county.parcel() == PAID, "as it was assessed"
    await books.drain()
    assert await county.parcel() == HELD


async def test_in_a_closed_month_it_is_a_line_of_the_next_open_one(books: Books, county: County) -> None:
    await books.send(scan("W1"), scan("W2"))
    closings = Closings(Known(books.database))
    await closings.close("2023-07", "finance-1")
    await books.drain()
    before = await books.rows("select * from payout order by parcel_key, seq")
    await books.change(incident((late(8, 2), "open"), waybills=("W1",)))
    assert await county.parcel() == HELD
    await books.change(incident((late(8, 2), "open"), (late(8, 9), "unfounded"), waybills=("W1",)))
    assert await county.parcel() == PAID
    lines = await books.rows(
        "select kind, amount_fen, period from payout join parcel using (parcel_key) where waybill_no = 'W1' order by seq"
    )
    assert [tuple(r.values()) for r in lines] == [
        ("accrual", UNFILED, "2023-07"), ("reversal", -UNFILED, "2023-08"), ("accrual", UNFILED, "2023-08"),
    ]  # fmt: skip
    assert before == await books.rows("select * from payout where period = '2023-07' order by parcel_key, seq")


async def test_a_release_holds_until_the_incident_goes_on(books: Books, county: County) -> None:
    await books.send(scan("W1"))
    await books.change(incident((at(16), "open"), waybills=("W1",), kind="illegal_charge"))
    await county.release()
    await books.drain()
    assert await county.parcel() == PAID
    await books.send(scan("W1", "station_pickup", at(17)))
    assert await county.parcel() == PAID, "a scan that changes nothing of what was at stake"
    await books.change(incident((at(16), "open"), (at(20), "substantiated"), waybills=("W1",), kind="illegal_charge"))
    assert await county.parcel() == HELD, "this nobody has judged"
    await county.release()
    await books.drain()
    assert await county.parcel() == PAID


async def test_every_order_of_scans_and_steps_gives_the_same_books(books: Books, subsidy_dsns: Any) -> None:
    """The registry's own changes stay in their order; scans fall anywhere among them."""
    changes = [
        incident((at(12), "open"), station_id="stn_42", waybills=("W2",)),
        incident((at(12), "open"), (at(15), "substantiated"), station_id="stn_42", waybills=("W2",)),
        station(filings=[filing(at(10))], version=2),
    ]
    scans = [scan("W1", scanned_at=at(11)), scan("W2", scanned_at=at(13)), scan("W3", scanned_at=at(14), site=OTHER_SITE)]
    ops: list[Any] = [*changes, *scans]
    orders = [o for o in permutations(range(6)) if o.index(0) < o.index(1) < o.index(2) and o.index(3) < o.index(4)]
    seen = set()
    for order in orders[::10]:
        async with emptied(subsidy_dsns, [policy()]) as made:
            await made.change(station("stn_43", aliases=[alias(OTHER_SITE)], division_code=OTHER_VILLAGE))
            for n in order:
                await (made.change(ops[n]) if n < 3 else made.send(ops[n]))
            rows = await made.rows("select waybill_no, outcome, net_fen, held_fen, reason_code, hold_subject from parcel order by 1")
            seen.add(tuple(tuple(r.values()) for r in rows))
            await audit(made)
    assert len(orders[::10]) == 6
    (only,) = seen
    assert [(r[0], r[1], r[2]) for r in only] == [("W1", "payable", 44), ("W2", "refused", 0), ("W3", "payable", UNFILED)]


async def test_it_is_explained_in_both_languages_with_its_id_status_and_since_when(books: Books, county: County) -> None:
    await books.send(scan("W1"))
    await books.change(
        incident((at(12), "open"), (at(16, 8, 30), "investigating"), waybills=("W1",), station_id="stn_42", incident_id="inc_7")
    )
    found = await county.explained()
    zh, en = found["text"]["zh"], found["text"]["en"]
    assert "服务质量问题：inc_7 弄虚作假（涉及本件、涉及该站点）自 2023-07-16 08:30 起核查中。处理有进展时自动重算。" in zh
    assert "Incidents: inc_7, false data (names this parcel, about its station), since 2023-07-16 08:30 under investigation." in en
    assert "未满足：没有涉及该快件的未了结服务质量问题。" in zh
    assert "解除暂缓后：应补 0.36 元" in zh
    assert "此前记入的补贴已冲回：-0.36 元。原因：未满足：没有涉及该快件的未了结服务质量问题" in zh
    assert "同一天三百件" not in zh + en, "what was written about it is not for everybody"
    (step,) = [s for s in found["steps"] if s["clause_id"] == "downlink.no_open_incident"]
    assert (step["result"], step["reason_code"]) == ("hold", "incident.open")
    facts = {f["name"]: (f["value"], f["source_type"], f["source_id"], f["source_version"]) for f in step["facts"]}
    assert facts["incident.false_data"] == (["investigating"], "incident", "inc_7", 2)
    assert facts["incident.illegal_charge"] == ([], "incident", None, None)


async def test_only_parcels_that_it_concerns_are_assessed_again(books: Books) -> None:
    await books.send(scan("W1"), scan("W2"), scan("W3", site=OTHER_SITE))
    tasks = (
        "select partition, site_ids is not null as at_sites, cardinality(parcel_keys) as named from reassessment where asked_batch_no > $1"
    )
    (last,) = await books.rows("select max(asked_batch_no) as n from reassessment")
    await books.change(incident((at(16), "open"), waybills=("W1", "NEVER"), kind="illegal_charge", station_id="stn_42"))
    asked = await books.rows(tasks, last["n"])
    assert {(t["at_sites"], t["named"]) for t in asked} == {(False, 1)}, "a charge concerns the parcels alone, as this policy has it"
    again = await books.rows("select waybill_no, count(*)::int as n from assessment join parcel using (parcel_key) group by 1 order by 1")
    assert [tuple(r.values()) for r in again] == [("W1", 2), ("W2", 1), ("W3", 1)]
    (last,) = await books.rows("select max(asked_batch_no) as n from reassessment")
    await books.change(incident((at(16), "open"), waybills=("W1",), kind="unconsented_receipt", station_id="stn_42", incident_id="inc_2"))
    assert await books.rows(tasks, last["n"]) == [], "no clause reads of this kind"
    await books.change(incident((at(16), "open"), station_id="stn_42", incident_id="inc_3"))
    again = await books.rows("select waybill_no, count(*)::int as n from assessment join parcel using (parcel_key) group by 1 order by 1")
    assert [tuple(r.values()) for r in again] == [("W1", 3), ("W2", 2), ("W3", 1)]


async def test_under_a_policy_without_the_option_an_incident_asks_for_nothing(subsidy_dsns: Any) -> None:
    async with emptied(subsidy_dsns) as shipped:
        await shipped.send(scan("W1"))
        (before,) = await shipped.rows("select count(*)::int as n from reassessment")
        await shipped.change(incident((at(12), "open"), (at(16), "substantiated"), waybills=("W1",), station_id="stn_42"))
        assert await shipped.rows("select count(*)::int as n from reassessment") == [before]
        await shipped.send(scan("W1", "station_pickup", at(17)))
        rows = await shipped.rows("select outcome, net_fen from parcel")
        assert [tuple(r.values()) for r in rows] == [("payable", UNFILED)]
        decisions = await shipped.rows("select facts::text as facts from decision")
        assert not any("incident" in d["facts"] for d in decisions)
        await audit(shipped)


async def test_two_policies_are_compared_with_what_each_makes_of_incidents(books: Books, subsidy_dsns: Any, tmp_path: Any) -> None:
    await books.send(scan("W1"), scan("W2"))
    await books.change(incident((at(16), "open"), waybills=("W1",)))
    old, new = tmp_path / "old.toml", tmp_path / "yuanqu-2023.1.toml"
    old.write_text(policy_text().replace('mode = "hold"', 'mode = "report"'))
    new.write_text(policy_text())
    compared = await compare_over(subsidy_dsns.app, str(old), str(new), "2023-07")
    assert (compared.found.total.old.payable, compared.found.total.new.payable, compared.found.total.new.held_fen) == (2, 1, UNFILED)


async def test_a_declared_parcel_waits_as_well_where_a_clause_of_its_scheme_says_so(subsidy_dsns: Any) -> None:
    """It is judged from its first scan on: named before it has any row of its own."""
    clauses = clause("uplink", "hold", "!('open' in incident.false_data || 'open' in station_incident.false_data)", "uplink.incident")
    state = "select outcome, reason_code, net_fen, held_fen from parcel where waybill_no = 'SENT1'"
    async with emptied(subsidy_dsns, [policy(clauses)]) as books:
        await books.change(merchant())
        await Declarations(Known(books.database)).submit("mch_9", file_of(line("SENT1")), "csv", None, "clerk")
        await books.change(incident((at(4), "open"), waybills=("SENT1",)))
        await books.send(scan("SENT1", "picked_up", at(5)))
        assert [tuple(r.values()) for r in await books.rows(state)] == [("held", "uplink.incident", 0, 100)]
        await books.change(incident((at(4), "open"), (at(9), "unfounded"), waybills=("SENT1",)))
        assert [tuple(r.values()) for r in await books.rows(state)] == [("payable", "rate.uplink.flat", 100, 0)]
        await books.change(incident((at(4), "open"), station_id="stn_42", incident_id="inc_2"))
        assert [tuple(r.values()) for r in await books.rows(state)] == [("held", "uplink.incident", 0, 100)]
        await audit(books)


async def test_the_policy_is_shown_with_its_cases(county: County) -> None:
    shown = await get(county.client, "/v1/policies/yuanqu-2023.1", schemas_policies.Policy)
    assert [c["mode"] for c in shown["clauses"] if "incident" in c["reason_code"]] == ["require", "hold", "hold"]
    (case,) = shown["golden"]
    assert case["facts"]["incident.illegal_charge"] == ["substantiated"]
