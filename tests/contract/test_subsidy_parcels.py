"""A parcel, its explanation and its evidence: the examples of api.md §4 held against the running API."""

import json

import httpx
import pytest

from services.subsidy import schemas
from shared.contracts.scan import ScanEvent
from shared.identity import parcel_id, parcel_key
from tests.contract.subsidy_api import get, problem
from tests.integration.subsidy_books import Books, at, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)

# The examples, as api.md prints them.
PARCEL = json.loads("""{"parcel_id": "pcl_b1", "brand": "zto", "waybill_no": "73100196611386", "first_seen_at": "2023-07-14T07:40:11+08:00",
    "direction": "downlink", "outcome": "payable", "stage": "accrued", "reason_codes": ["rate.village.filed"], "net_fen": 48,
    "beneficiary_id": "opr_1", "station_id": "stn_42", "service_date": "2023-07-14", "policy_version": "yuanqu-2023.1",
    "rates_status": "sample", "payout_ids": ["pay_b2"], "holds": [], "related": [], "redacted": [], "as_of": {}}""")
EVIDENCE = json.loads("""{"event_id": "6f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e", "content": "9d41", "verdict": "accepted",
    "receipt_id": "rcp_a3", "feed": "gongpei-yuanqu", "partition": 3, "position": 811, "action": "station_inbound", "raw_action": "INBOUND",
    "scanned_at": "2023-07-14T09:12:03+08:00", "received_at": "2023-07-14T09:12:04+08:00", "site_namespace": "zto", "site_code": null,
    "site_name": "上王村便民服务点", "station_id": "stn_42", "mapped_by": "site_name", "verified": "hmac", "payload_sha256": "x",
    "role": "deciding", "retracts": null, "corroborates": null}""")
STEP = {"clause_id", "basis", "document", "section", "quote", "result", "reason_code", "facts"}
EXPLAIN = {"parcel_id", "trace_version", "outcome", "net_fen", "policy_version", "rates_status", "steps", "arithmetic", "alternatives",
           "rulings", "pending_reassessment", "text", "as_of"}  # fmt: skip
OUT_OF_FORCE = at(14).replace(year=2022)  # no policy was in force; its alias and station neither
# Told a year earlier, too, by a version with a smaller and one with a larger content, since the smaller one is shown.
ELSEWHEN = [
    next(s for n in range(1, 99) if ((s := scan(ref="A", scanned_at=OUT_OF_FORCE, weight_g=n)).content < scan(ref="A").content) is smaller)
    for smaller in (True, False)
]


async def test_a_parcel_reads_like_the_example(books: Books, client: httpx.AsyncClient) -> None:
    await books.change(station(filings=[filing(at(1))], version=2))
    await books.send(scan("W1", "arrived", at(14, 7), "县城"), scan())
    body = await get(client, "/v1/parcels/zto/w1", schemas.Parcel)
    assert set(PARCEL) <= set(body)
    assert body | {"as_of": {}} == body | PARCEL | {
        "parcel_id": parcel_id(parcel_key("zto", "W1")), "waybill_no": "W1", "first_seen_at": "2023-07-14T07:00:00+08:00", "net_fen": 44,
        "reason_codes": ["rate.village.filed.near"], "payout_ids": body["payout_ids"],
    }  # fmt: skip
    assert body["as_of"]["registry_revision"] == 1
    assert body["as_of"]["pending_reassessments"] == 0


async def test_a_parcel_in_transit_has_no_outcome_and_one_never_seen_is_404(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan("W1", "departed"))
    body = await get(client, "/v1/parcels/zto/W1", schemas.Parcel)
    assert (body["outcome"], body["direction"], body["payout_ids"], body["stage"]) == (None, "downlink", [], None)
    explained = await get(client, "/v1/parcels/zto/W1/explain", schemas.Explanation)
    assert (explained["outcome"], explained["net_fen"]) == (None, 0)
    assert (await problem(client, "/v1/parcels/zto/W2", 404))["code"] == "parcel.not_found"
    assert (await problem(client, "/v1/parcels/yto/W1", 404))["code"] == "parcel.not_found"


async def test_explain_says_what_was_posted_clause_by_clause(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan())
    body = await get(client, "/v1/parcels/zto/W1/explain", schemas.Explanation)
    assert set(body) == EXPLAIN
    assert all(set(step) == STEP for step in body["steps"])
    assert body["net_fen"] == sum(line["amount_fen"] for line in body["arithmetic"]) == await books.balance()
    (first, *_) = body["steps"]
    assert (first["document"], first["section"], first["quote"]) == ("垣发改字〔2023〕30号", "六", "下行快件给予差异化补贴")
    opened = next(s for s in body["steps"] if s["clause_id"] == "downlink.station_open")
    assert (opened["basis"], opened["quote"]) == ("assumption", None)
    assert [f["value"] for f in opened["facts"]] == ["open"]
    assert "项目假设" in body["text"]["zh"]
    assert body["alternatives"] != []
    assert body["pending_reassessment"] is False


async def test_explain_is_of_the_assessment_and_says_that_another_is_due(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan())
    before = await get(client, "/v1/parcels/zto/W1/explain", schemas.Explanation)
    await books.change(station(filings=[filing(at(1))], version=2), drain=False)
    waiting = await get(client, "/v1/parcels/zto/W1/explain", schemas.Explanation)
    assert waiting["pending_reassessment"] is True
    assert waiting["as_of"]["pending_reassessments"] == 8
    assert (waiting["net_fen"], waiting["steps"]) == (before["net_fen"], before["steps"])
    await books.drain()
    after = await get(client, "/v1/parcels/zto/W1/explain", schemas.Explanation)
    assert (after["net_fen"], after["pending_reassessment"]) == (44, False)


@pytest.mark.parametrize(
    ("told", "held_fen"),
    [
        ((scan(ref="A"), scan(ref="A", site="陌生地方")), 36),
        ((scan(ref="A", site="陌生地方"), scan(ref="A", scanned_at=OUT_OF_FORCE)), 0),
        *(((scan(ref="A"), other), 36) for other in ELSEWHEN),
        ((scan(), scan("W1", "transferred", at(13), None)), 36),
        ((scan(),), 0),
        ((scan(site="陌生地方"),), 0),
    ],
)
async def test_no_amount_stands_without_the_status_of_its_rates(
    books: Books, client: httpx.AsyncClient, told: tuple[ScanEvent, ...], held_fen: int
) -> None:
    """Whatever the content hashes of a contested scan's versions: the parcel and its explanation name the same policy."""
    await books.send(*told)
    parcel = await get(client, "/v1/parcels/zto/W1", schemas.Parcel)
    explained = await get(client, "/v1/parcels/zto/W1/explain", schemas.Explanation)
    assert parcel["held_fen"] == held_fen
    policy = parcel["policy_version"], parcel["rates_status"]
    assert policy == (explained["policy_version"], explained["rates_status"])
    if parcel["held_fen"] or parcel["net_fen"]:
        assert policy == ("yuanqu-2023.1", "sample")


async def test_evidence_shows_every_version_of_every_event(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan(ref="A"), scan(ref="A", weight_g=850), scan("W1", "station_inbound", at(14, 10), feed="gongpei-yuanqu"))
    body = await get(client, "/v1/parcels/zto/W1/evidence", schemas.Evidence)
    assert all(set(EVIDENCE) <= set(event) for event in body["events"])
    assert sorted(e["role"] for e in body["events"]) == ["contested", "corroborating", "deciding"]
    assert {e["station_id"] for e in body["events"]} == {"stn_42"}
    assert {e["mapped_by"] for e in body["events"]} == {"site_name"}


async def test_an_unchanged_answer_is_304(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan())
    first = await client.get("/v1/parcels/zto/W1")
    await books.send(scan("W2"))  # as_of moves, the parcel does not
    again = await client.get("/v1/parcels/zto/W1", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
