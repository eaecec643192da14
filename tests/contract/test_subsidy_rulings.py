"""What people decide of holds: over the real books, in the worker's own transactions; the fixture audits them after each test."""

import asyncio
from typing import Any

import httpx
import pytest

from services.subsidy import schemas, schemas_holds
from shared.auth import issue
from shared.contracts.scan import ScanEvent
from tests.contract.subsidy_api import get
from tests.integration.subsidy_books import Books, alias, at, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
UNFILED, FILED = 36, 44  # fen, village, near: yuanqu-2023.1
W1 = "/v1/parcels/zto/W1"


class County:
    """The people of the county, each with a token of their own, over one client."""

    def __init__(self, client: httpx.AsyncClient, private: str) -> None:
        self.client, self.private = client, private

    def token(self, subject: str, *roles: str, claim: tuple[str, str] | None = None) -> dict[str, str]:
        token = issue(self.private, subject=subject, roles=list(roles) or ["reviewer"], ttl_s=60, claim=claim)
        return {"Authorization": f"Bearer {token}"}

    async def hold(self, **params: str) -> dict[str, Any]:
        """The one open hold."""
        (item,) = (await get(self.client, "/v1/holds", schemas_holds.Holds, status="open", **params))["items"]
        return await get(self.client, f"/v1/holds/{item['hold_id']}", schemas_holds.OneHold)

    async def decide(self, hold: dict[str, Any], word: str, by: str = "li", **more: Any) -> httpx.Response:
        body = {"decision": word, "reason": "已与企业核对运单", "subject": hold["subject"]} | more
        return await self.client.post(f"/v1/holds/{hold['hold_id']}/decisions", json=body, headers=self.token(by))

    async def place(self, reason_code: str = "hold.suspicion", waybill_no: str = "W1", subject: str = "li", **more: Any) -> httpx.Response:
        body = {"brand": "zto", "waybill_no": waybill_no, "reason_code": reason_code, "note": "同一站点一天三百件"} | more
        return await self.client.post("/v1/holds", json=body, headers=self.token(subject))

    async def parcel(self) -> tuple[str | None, list[str], int, int]:
        found = await get(self.client, W1, schemas.Parcel)
        return found["outcome"], found["reason_codes"], found["net_fen"], found["held_fen"]


@pytest.fixture
async def county(books: Books, client: httpx.AsyncClient, keys: tuple[str, str]) -> County:
    return County(client, keys[0])


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    body: dict[str, Any] = answer.json()
    return body


TRANSFERRED = [scan(), scan("W1", "transferred", at(13), None)]


async def test_a_release_pays_what_was_held(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    hold = await county.hold()
    assert (hold["reason_code"], hold["held_fen"], hold["decisions"], hold["placed_by"]) == ("transfer.unlinked", UNFILED, [], "rule")
    (would_be,) = hold["would_be"]
    assert (would_be["outcome"], would_be["amount_fen"], would_be["beneficiary_id"]) == ("payable", UNFILED, "opr_1")
    answer = accepted(await county.decide(hold, "release"))
    schemas_holds.OneHold.model_validate(answer)
    assert answer["as_of"]["pending_reassessments"] == 1
    assert (await get(county.client, f"{W1}/explain", schemas.Explanation))["pending_reassessment"]
    await books.drain()
    assert await county.parcel() == ("payable", ["rate.village.unfiled.near"], UNFILED, 0)
    (listed,) = (await get(county.client, "/v1/holds", schemas_holds.Holds, status="released"))["items"]
    (decision,) = listed["decisions"]
    assert (decision["decision"], decision["said_by"], decision["reason"]) == ("release", "li", "已与企业核对运单")
    assert listed["released_at"] is not None


async def test_a_confirmed_hold_is_refused(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    accepted(await county.decide(await county.hold(), "confirm"))
    await books.drain()
    assert await county.parcel() == ("refused", ["hold.confirmed"], 0, 0)
    assert (await get(county.client, "/v1/holds", schemas_holds.Holds, status="open"))["items"] == []


async def test_who_decided_what_and_why_is_told_with_the_parcel(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    accepted(await county.decide(await county.hold(), "confirm"))
    await books.drain()
    for path, shape in ((W1, schemas.Parcel), (f"{W1}/explain", schemas.Explanation), (f"{W1}/evidence", schemas.Evidence)):
        (ruling,) = (await get(county.client, path, shape))["rulings"]
        assert (ruling["decision"], ruling["said_by"], ruling["reason_code"]) == ("confirm", "li", "transfer.unlinked")
    said = (await get(county.client, f"{W1}/explain", schemas.Explanation))["text"]
    assert all("li" in text and "已与企业核对运单" in text for text in said.values())


async def test_new_facts_put_the_hold_back(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    accepted(await county.decide(await county.hold(), "release"))
    await books.drain()
    await books.change(station(filings=[filing(at(1))], version=2))
    assert await county.parcel() == ("held", ["transfer.unlinked"], 0, FILED)
    accepted(await county.decide(await county.hold(), "release", by="wang"))
    await books.drain()
    assert await county.parcel() == ("payable", ["rate.village.filed.near"], FILED, 0)
    await books.change(station(version=3))
    assert await county.parcel() == ("payable", ["rate.village.unfiled.near"], UNFILED, 0), "this was decided before, and stands again"


def twice() -> list[ScanEvent]:
    """One scan, told of two stations: what it comes to differs."""
    return [scan(ref="E1"), scan(ref="E1", site="他村店")]


async def test_a_contested_hold_ends_by_naming_what_counts(books: Books, county: County) -> None:
    await books.change(station("stn_43", aliases=[alias("他村店")], operator_id="opr_2"))
    await books.send(*twice())
    hold = await county.hold()
    (event,) = hold["contested"]
    assert [c["site_name"] for c in sorted(event["contents"], key=lambda c: str(c["site_name"]))] == ["上王村便民服务点", "他村店"]
    assert {w["station_id"] for w in hold["would_be"]} == {"stn_42", "stn_43"}
    refused(await county.decide(hold, "release"), 422, "request.invalid")
    other = next(c["content"] for c in event["contents"] if c["site_name"] == "他村店")
    choice = {"event_id": event["event_id"], "content": other}
    wrong = await county.decide(hold, "release", choices=[choice | {"content": "0" * 64}])
    assert refused(wrong, 422, "request.invalid")["errors"][0]["pointer"] == "/choices/0"
    refused(await county.decide(hold, "confirm", choices=[choice]), 422, "request.invalid")
    accepted(await county.decide(hold, "release", choices=[choice]))
    await books.drain()
    parcel = await get(county.client, W1, schemas.Parcel)
    assert (parcel["outcome"], parcel["station_id"], parcel["beneficiary_id"]) == ("payable", "stn_43", "opr_2")
    roles = {e["content"]: e["role"] for e in (await get(county.client, f"{W1}/evidence", schemas.Evidence))["events"]}
    assert roles[other] == "deciding"
    assert sorted(roles.values()) == ["deciding", "ignored"]
    await books.send(scan(ref="E1", scanned_at=at(16)))
    assert (await county.parcel())[:2] == ("held", ["evidence.contested"]), "a third content is news"


async def test_a_hold_by_hand_stops_one_parcel_and_no_other(books: Books, county: County) -> None:
    await books.send(scan(), scan("W2"))
    placed = accepted(await county.place())
    schemas_holds.PlacedHold.model_validate(placed)
    assert (placed["decision"], placed["said_by"], placed["subject"]) == ("place", "li", None)
    await books.drain()
    assert await county.parcel() == ("held", ["hold.suspicion"], 0, UNFILED)
    assert (await get(county.client, "/v1/parcels/zto/W2", schemas.Parcel))["outcome"] == "payable"
    hold = await county.hold(reason_code="hold.suspicion")
    assert (hold["placed_by"], hold["note"]) == ("li", "同一站点一天三百件")
    refused(await county.place(subject="wang"), 409, "hold.placed_already")
    await books.send(scan("W1", "station_pickup", at(15)))
    assert await county.parcel() == ("held", ["hold.suspicion"], 0, UNFILED), "it survives what comes later"
    refused(await county.decide(hold, "release"), 403, "hold.own")
    accepted(await county.decide(hold, "release", by="wang"))
    await books.drain()
    assert await county.parcel() == ("payable", ["rate.village.unfiled.near"], UNFILED, 0)
    accepted(await county.place())
    await books.drain()
    assert (await county.parcel())[:2] == ("held", ["hold.suspicion"]), "placed anew, a decision of before does not end it"


async def test_a_hold_by_hand_waits_for_something_to_hold(books: Books, county: County) -> None:
    await books.send(scan("W1", "departed", at(13)))
    accepted(await county.place("hold.incident"))
    await books.drain()
    assert (await county.parcel())[0] is None
    (ruling,) = (await get(county.client, W1, schemas.Parcel))["rulings"]
    assert ruling["decision"] == "place"
    await books.send(scan())
    assert await county.parcel() == ("held", ["hold.incident"], 0, UNFILED)
    await books.send(scan("W1", "returned", at(20), None))
    assert (await county.parcel())[0] == "refused"


async def test_nobody_decides_what_changed_since_they_looked(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    hold = await county.hold()
    await books.change(station(filings=[filing(at(1))], version=2))
    zh = refused(await county.decide(hold, "release"), 409, "hold.changed")
    assert "重新查看" in zh["detail"]
    fresh = await county.hold()
    refused(await county.decide(fresh | {"subject": hold["subject"]}, "release"), 409, "hold.changed")
    accepted(await county.decide(fresh, "release"))
    refused(await county.decide(fresh, "confirm", by="wang"), 409, "hold.decided")
    await books.drain()
    refused(await county.decide(fresh, "confirm"), 409, "hold.changed")


async def test_who_gains_does_not_decide_and_another_s_hold_is_not_there(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    hold = await county.hold()
    body = {"decision": "release", "reason": "放行", "subject": hold["subject"]}
    for claim, status, code in ((("operator", "opr_1"), 403, "hold.gains"), (("operator", "opr_2"), 404, "hold.not_found")):
        headers = county.token("chen", "reviewer", "operator", claim=claim) | {"Accept-Language": "en"}
        answer = await county.client.post(f"/v1/holds/{hold['hold_id']}/decisions", json=body, headers=headers)
        refused(answer, status, code)
    for unknown in ("hld_3", hold["hold_id"][:-2] + "aa", "x" * 64):
        refused(await county.decide(hold | {"hold_id": unknown}, "release"), 404, "hold.not_found")
    auditor = await county.client.post(f"/v1/holds/{hold['hold_id']}/decisions", json=body, headers=county.token("a", "auditor"))
    refused(auditor, 403, "scope.missing")


async def test_where_no_policy_pays_there_is_nothing_to_release(books: Books, county: County) -> None:
    await books.send(scan(scanned_at=at(14).replace(year=2031)))
    hold = await county.hold()
    assert (hold["reason_code"], hold["would_be"]) == ("policy.not_in_force", [])
    refused(await county.decide(hold, "release"), 409, "hold.nothing_to_release")
    accepted(await county.decide(hold, "confirm"))
    await books.drain()
    assert await county.parcel() == ("refused", ["hold.confirmed"], 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": ""}, {"reason": "  "}, {"reason": "长" * 501}, {"reason": "a\u202eb"}, {"decision": "place"}, {"subject": "abc"},
        {"choices": [{"event_id": "E1", "content": "0" * 64}]}, {"choices": [{}] * 65}, {"amount_fen": 1},
    ],
)  # fmt: skip
async def test_a_decision_that_cannot_be_read_changes_nothing(books: Books, county: County, wrong: dict[str, Any]) -> None:
    await books.send(*TRANSFERRED)
    assert refused(await county.decide(await county.hold(), "release", **wrong), 422, "request.invalid")["errors"]
    assert await books.rows("select * from ruling") == []


async def test_a_hold_by_hand_needs_a_parcel_and_a_reason_that_we_know(books: Books, county: County) -> None:
    refused(await county.place(waybill_no="W404"), 404, "parcel.not_found")
    await books.send(scan())
    refused(await county.place("hold.mood"), 422, "request.invalid")
    refused(await county.place(note=" "), 422, "request.invalid")
    accepted(await county.place(waybill_no="w1"))


async def test_rulings_are_listed_in_their_order_for_whoever_recomputes(books: Books, county: County) -> None:
    await books.send(scan(), scan("W2"))
    for waybill in ("W1", "W2"):
        accepted(await county.place(waybill_no=waybill))
    await books.drain()
    first_hold = (await get(county.client, "/v1/holds", schemas_holds.Holds))["items"][0]
    accepted(await county.decide(first_hold, "release", by="wang"))
    first = await get(county.client, "/v1/rulings", schemas_holds.Rulings, limit=2)
    rest = await get(county.client, "/v1/rulings", schemas_holds.Rulings, limit=2, cursor=first["next_cursor"])
    items = first["items"] + rest["items"]
    assert [(i["waybill_no"], i["decision"]) for i in items[:2]] == [("W1", "place"), ("W2", "place")]
    assert items[2]["decision"] == "release"
    assert rest["next_cursor"] is None
    assert [i["revision"] for i in items] == sorted(i["revision"] for i in items)
    since = await get(county.client, "/v1/rulings", schemas_holds.Rulings, after_revision=items[1]["revision"])
    assert since["items"] == items[2:]


async def test_a_past_answer_knows_what_had_been_said_by_then(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    before = await get(county.client, W1, schemas.Parcel)
    accepted(await county.decide(await county.hold(), "release"))
    await books.drain()
    then = before["as_of"]["known_at"]
    again = await get(county.client, W1, schemas.Parcel, known_at=then)
    assert {k: v for k, v in again.items() if k != "as_of"} == {k: v for k, v in before.items() if k != "as_of"}
    assert (await get(county.client, f"{W1}/explain", schemas.Explanation, known_at=then))["outcome"] == "held"


async def test_two_who_decide_at_once_are_one_decision(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    hold = await county.hold()
    answers = await asyncio.gather(*(county.decide(hold, word, by=by) for word, by in (("release", "li"), ("confirm", "wang"))))
    assert sorted(a.status_code for a in answers) == [201, 409]
    assert len(await books.rows("select * from ruling")) == 1


async def test_a_decision_beside_a_batch_that_changes_what_is_held_decides_nothing_else(books: Books, county: County) -> None:
    """Whichever is first behind the gate: the ruling is about what was seen, or it is refused."""
    await books.send(*TRANSFERRED)
    hold = await county.hold()
    answer, _ = await asyncio.gather(county.decide(hold, "release"), books.send(scan(scanned_at=at(12))))
    assert answer.status_code in (201, 409)
    await books.drain()
    assert await county.parcel() == ("held", ["transfer.unlinked"], 0, UNFILED), "the earlier scan moved the service date"


async def test_refusals_speak_both_languages(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    hold = await county.hold() | {"subject": "0" * 64}
    body = {"decision": "release", "reason": "放行", "subject": hold["subject"]}
    details = {}
    for lang in ("zh-CN", "en"):
        headers = county.token("li") | {"Accept-Language": lang}
        answer = await county.client.post(f"/v1/holds/{hold['hold_id']}/decisions", json=body, headers=headers)
        details[lang] = refused(answer, 409, "hold.changed")["detail"]
    assert "重新查看" in details["zh-CN"]
    assert "read the parcel's holds again" in details["en"]


async def test_an_operator_reads_its_own_holds_and_decides_none(books: Books, county: County) -> None:
    await books.send(*TRANSFERRED)
    hold = await county.hold()
    for claim, status in ((("operator", "opr_1"), 200), (("operator", "opr_2"), 404)):
        answer = await county.client.get(f"/v1/holds/{hold['hold_id']}", headers=county.token("chen", "operator", claim=claim))
        assert answer.status_code == status
    body = {"decision": "release", "reason": "放行", "subject": hold["subject"]}
    headers = county.token("chen", "operator", claim=("operator", "opr_1"))
    refused(await county.client.post(f"/v1/holds/{hold['hold_id']}/decisions", json=body, headers=headers), 403, "scope.missing")
    refused(await county.client.get("/v1/rulings", headers=headers), 403, "scope.missing")
