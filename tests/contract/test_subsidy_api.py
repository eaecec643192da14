"""The examples of api.md §4, held against the running API: same fields, same meaning; and what a client may get wrong."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from services.subsidy import schemas
from services.subsidy.service.policies import activate, read_policies
from services.subsidy.settings import POLICIES
from shared.contracts.scan import ScanEvent
from shared.db import Database
from shared.http import encode_cursor
from shared.identity import parcel_id, parcel_key
from tests.integration.subsidy_books import Books, alias, at, bearer, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)
AS_OF = {"valid_at", "known_at", "watermark", "revision", "registry_revision", "pending_reassessments"}
JULY = {"from": "2023-07-01", "to": "2023-08-01"}

# The examples, as api.md prints them.
SUMMARY_TOTALS = json.loads("""{"parcels": 1240, "payable": 1102, "pending": 31, "held": 6, "refused": 101, "accrued_fen": 52896,
    "held_fen": 288, "approved_fen": 0, "paid_fen": 0, "clawed_back_fen": 0}""")
PAYOUT = json.loads("""{"payout_id": "pay_b2", "revision": 18230, "registry_revision": 412, "parcel_id": "pcl_b1", "brand": "zto",
    "waybill_no": "73100196611386", "scheme": "downlink", "kind": "accrual", "amount_fen": 48, "reverses": null, "stage": "accrued",
    "beneficiary_id": "opr_1", "station_id": "stn_42", "service_date": "2023-07-14", "posted_at": "2023-07-14T09:12:05+08:00",
    "period": "2023-07", "policy_version": "yuanqu-2023.1", "rates_status": "sample", "reason_codes": ["rate.village.filed"]}""")
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
           "pending_reassessment", "text", "as_of"}  # fmt: skip
HOLD = {"hold_id", "reason_code", "placed_at", "placed_by", "released_at"}
POLICY = {"policy_version", "county_code", "valid_from", "valid_to", "status", "sha256", "rates_status", "documents", "clauses", "tiers",
          "tables", "ceilings", "as_of"}  # fmt: skip


UNREAL = ["0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00"]  # before and after PostgreSQL's and anybody's calendar
FORGED: list[dict[str, Any]] = [  # of all forms, none ours
    {"r": 10**30, "o": 0}, {"r": 1, "o": 10**30}, {"r": 1, "o": float("inf")}, {"r": float("nan"), "o": 0}, {"r": 1.5, "o": 0},
    {"r": 1, "o": -1}, {"r": 1, "a": [10**30, "", 0]}, {"r": 1, "a": [float("inf"), "", 0]}, {"r": 1, "a": [1, "\x00", 0]},
    {"r": 1, "a": [1, "\ud800", 0]}, {"r": 1, "a": [1, "zz", 0]}, {"r": 1, "a": [1, "", 2**31]}, {"r": True, "a": {}}, {},
]  # fmt: skip


OUT_OF_FORCE = at(14).replace(year=2022)  # no policy was in force; its alias and station neither
# Told a year earlier, too, by a version with a smaller and one with a larger content, since the smaller one is shown.
ELSEWHEN = [
    next(s for n in range(1, 99) if ((s := scan(ref="A", scanned_at=OUT_OF_FORCE, weight_g=n)).content < scan(ref="A").content) is smaller)
    for smaller in (True, False)
]


async def get(client: httpx.AsyncClient, path: str, shape: type[BaseModel], **params: Any) -> dict[str, Any]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    shape.model_validate(body)
    assert set(body["as_of"]) == AS_OF
    return body


async def problem(client: httpx.AsyncClient, path: str, status: int, **params: Any) -> dict[str, Any]:
    answer = await client.get(path, params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "code", "detail", "errors", "trace_id"}
    return body


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


async def test_payouts_are_lines_with_their_reversals(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan())
    await books.change(station(filings=[filing(at(1))], version=2))
    body = await get(client, "/v1/payouts", schemas.Payouts, **JULY)
    assert all(set(item) == set(PAYOUT) for item in body["items"])
    accrual, reversal, again = body["items"]
    assert (accrual["amount_fen"], reversal["amount_fen"], again["amount_fen"]) == (36, -36, 44)
    assert (accrual["reverses"], reversal["reverses"], again["reverses"]) == (None, accrual["payout_id"], None)
    assert (accrual["registry_revision"], again["registry_revision"]) == (0, 1)
    assert accrual["posted_at"].endswith("+08:00")


async def test_pages_of_payouts_keep_their_revision_while_the_books_grow(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(*(scan(f"W{n}") for n in range(7)))
    seen, cursor = [], None
    for n in range(20):
        body = await get(client, "/v1/payouts", schemas.Payouts, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["waybill_no"] for item in body["items"]]
        await books.send(scan(f"LATE{n}"))
        if (cursor := body["next_cursor"]) is None:
            break
    assert sorted(seen) == [f"W{n}" for n in range(7)]
    newer = await get(client, "/v1/payouts", schemas.Payouts, after_revision=body["as_of"]["revision"])
    assert {item["waybill_no"] for item in newer["items"]} == {f"LATE{n}" for n in range(n + 1)}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"brand": "zto"}, 1), ({"brand": "yto,sto"}, 0), ({"direction": "downlink"}, 1), ({"direction": "uplink"}, 0),
        ({"kind": "accrual"}, 1), ({"kind": "reversal"}, 0), ({"stage": "accrued"}, 1), ({"station_id": "stn_42"}, 1),
        ({"station_id": "stn_1"}, 0), ({"beneficiary_id": "opr_1"}, 1), ({"period": "2023-07, 2023-08"}, 1), ({"period": "2023-08"}, 0),
        ({"from": "2023-07-15"}, 0), ({"to": "2023-07-14"}, 0), (JULY | {"date_basis": "posted"}, 0),
        ({"from": "2024-01-01", "date_basis": "posted"}, 1),
    ],
)  # fmt: skip
async def test_payouts_are_filtered(books: Books, client: httpx.AsyncClient, filters: dict[str, str], found: int) -> None:
    await books.send(scan())
    assert len((await get(client, "/v1/payouts", schemas.Payouts, **filters))["items"]) == found


async def test_a_summary_reads_like_the_example(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan("W1"), scan("W2"), scan("W3", site="陌生地方"), scan("W4"), scan("W4", "returned", at(15), None))
    body = await get(client, "/v1/summary", schemas.Summary, group_by="township,direction", **JULY)
    assert set(body["totals"]) == set(SUMMARY_TOTALS)
    assert body["totals"] == SUMMARY_TOTALS | {
        "parcels": 4,
        "payable": 2,
        "pending": 1,
        "held": 0,
        "refused": 1,
        "accrued_fen": 72,
        "held_fen": 0,
    }
    mapped, unmapped = body["items"]
    assert mapped["key"] == {"township_code": "140827100000", "direction": "downlink"}
    assert mapped["label"] == {"zh": "新城镇", "en": "Xincheng"}
    assert unmapped["key"]["township_code"] is None
    assert body["ceilings"] == [{"policy_version": "yuanqu-2023.1", "limit_fen_per_parcel": 50, "headroom_fen": 28, "enforced": "at_close"}]
    assert body["rates_status"] == "sample"
    assert (await get(client, "/v1/summary", schemas.Summary, brand="yto", **JULY))["ceilings"] == body["ceilings"]


async def test_the_posted_basis_counts_where_the_money_is(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan("W1"), scan("W2"), scan("W3", site="陌生地方"))
    await books.send(scan("W2", "returned", at(15), None))
    body = await get(
        client, "/v1/summary", schemas.Summary, date_basis="posted", group_by="month", **{"from": "2024-01-01", "to": "2030-01-01"}
    )
    zero = {"pending": 0, "held": 0, "refused": 0, "held_fen": 0}
    assert body["totals"] == SUMMARY_TOTALS | zero | {"parcels": 1, "payable": 1, "accrued_fen": 36}
    assert [item["accrued_fen"] for item in body["items"]] == [36]


async def test_pages_of_a_summary_keep_their_revision(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(*(scan(f"W{d}", scanned_at=at(d)) for d in range(1, 8)))
    seen, cursor = [], None
    for n in range(10):
        params = JULY | {"group_by": "day", "limit": "3"} | ({"cursor": cursor} if cursor else {})
        body = await get(client, "/v1/summary", schemas.Summary, **params)
        seen += [item["key"]["day"] for item in body["items"]]
        assert body["totals"]["parcels"] == 7
        await books.send(scan(f"LATE{n}", scanned_at=at(1, 1)))
        if (cursor := body["next_cursor"]) is None:
            break
    assert seen == [f"2023-07-0{d}" for d in range(1, 8)]


async def test_known_at_gives_again_what_was_answered_then(books: Books, client: httpx.AsyncClient) -> None:
    posted = {"from": "2024-01-01", "to": "2030-01-01", "date_basis": "posted", "group_by": "station,brand"}
    asked: list[tuple[str, type[BaseModel], dict[str, str]]] = [
        ("/v1/summary", schemas.Summary, JULY | {"group_by": "day,station,outcome"}),
        ("/v1/summary", schemas.Summary, posted),
        ("/v1/parcels/zto/W1", schemas.Parcel, {}),
        ("/v1/parcels/zto/W1/explain", schemas.Explanation, {}),
        ("/v1/parcels/zto/W1/evidence", schemas.Evidence, {}),
    ]
    answers: list[tuple[str, type[BaseModel], dict[str, str], dict[str, Any]]] = []

    async def ask() -> None:
        for path, shape, params in asked:
            answers.append((path, shape, params, await get(client, path, shape, **params)))

    await books.send(scan(), scan("W2", site="陌生地方"))
    await ask()
    await books.send(scan("W1", "station_pickup", at(15)), scan("W3", "signed", at(16)))
    await ask()
    await books.change(station(filings=[filing(at(1))], aliases=[alias("上王村便民服务点"), alias("陌生地方")], version=2), drain=False)
    await ask()
    await books.drain()
    await ask()
    await books.send(scan("W1", "returned", at(20), None), scan("W3", "transferred", at(16), None))
    await ask()
    await books.send(scan("W9"))
    for path, shape, params, then in answers:
        again = await get(client, path, shape, known_at=then["as_of"]["known_at"], **params)
        assert again | {"as_of": None} == then | {"as_of": None}
        assert again["as_of"] | {"watermark": None} == then["as_of"] | {"watermark": None}


async def test_before_anything_was_known_there_is_nothing(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan())
    body = await get(client, "/v1/summary", schemas.Summary, known_at="2001-01-01T00:00:00+08:00", **JULY)
    assert (body["totals"]["parcels"], body["as_of"]["revision"], body["as_of"]["known_at"]) == (0, 0, None)
    await problem(client, "/v1/parcels/zto/W1", 404, known_at="2001-01-01T00:00:00+08:00")


async def test_the_watermark_is_the_older_one_of_the_two_topics(books: Books, client: httpx.AsyncClient) -> None:
    assert (await get(client, "/v1/policies", schemas.Policies))["as_of"]["watermark"] is None
    async with books.database.write() as tx:
        await tx.execute(
            "insert into watermark values ('tongcun.scans.v1', '2023-08-01 00:00Z'), ('tongcun.registry.v1', '2023-08-01 00:01Z')"
        )
    assert (await get(client, "/v1/policies", schemas.Policies))["as_of"]["watermark"] == "2023-08-01T08:00:00+08:00"


async def test_holds_are_listed_with_their_release(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan(), scan("W1", "transferred", at(13), None))
    (item,) = (await get(client, "/v1/holds", schemas.Holds, reason_code="transfer.unlinked"))["items"]
    assert set(item) >= HOLD
    assert (item["placed_by"], item["released_at"], item["station_id"]) == ("rule", None, "stn_42")
    parcel = await get(client, "/v1/parcels/zto/W1", schemas.Parcel)
    assert parcel["holds"] == [{name: item[name] for name in parcel["holds"][0]}]
    await books.send(scan("W1", "returned", at(15), None))
    (item,) = (await get(client, "/v1/holds", schemas.Holds, station_id="stn_42"))["items"]
    assert item["released_at"] is not None
    assert (await get(client, "/v1/holds", schemas.Holds, station_id="stn_1"))["items"] == []


async def test_unmapped_sites_show_what_mapping_them_would_free(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan("W1", site="寨里点"), scan("W2", site="寨里"), scan("W3", "departed", site="杭州"))
    assert list((await unmapped(client, namespace="zto")).values()) == [2], "nobody has to map 杭州: no parcel was closed there"
    await books.change(station("stn_44", aliases=[alias("寨里点")]))
    assert await unmapped(client) == {}


async def unmapped(client: httpx.AsyncClient, **params: str) -> dict[str, int]:
    return {i["site_name"]: i["parcels"] for i in (await get(client, "/v1/unmapped-sites", schemas.UnmappedSites, **params))["items"]}


async def test_a_site_is_unmapped_when_it_was_at_the_time_of_the_scan(books: Books, client: httpx.AsyncClient) -> None:
    """An alias that begins later, or has ended, leaves scans for which the fold finds no station: they are on the list, too."""
    await books.change(station("stn_44", aliases=[alias("寨里点", at(10), at(20))]))
    await books.send(scan("W1", scanned_at=at(9), site="寨里点"), scan("W2", scanned_at=at(10), site="寨里点"))
    await books.send(scan("W3", scanned_at=at(20), site="寨里点"), scan("W3", "station_pickup", at(21), "寨里点"), scan("W4"))
    body = await get(client, "/v1/unmapped-sites", schemas.UnmappedSites)
    (site,) = body["items"]
    assert (site["site_name"], site["parcels"]) == ("寨里点", 2)
    assert (site["first_seen_at"], site["last_seen_at"]) == ("2023-07-09T09:00:00+08:00", "2023-07-21T09:00:00+08:00")
    pending = await books.rows("select waybill_no from parcel where outcome = 'pending' order by 1")
    assert [p["waybill_no"] for p in pending] == ["W1", "W3"]
    await books.change(station("stn_44", aliases=[alias("寨里点")], version=2))
    assert await unmapped(client) == {}


async def test_pages_of_unmapped_sites_begin_with_what_frees_most(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(*(scan(f"W{s}{n}", site=f"无名{s}") for s in range(4) for n in range(s + 1)))
    seen, cursor = [], None
    for _ in range(5):
        body = await get(client, "/v1/unmapped-sites", schemas.UnmappedSites, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [i["parcels"] for i in body["items"]]
        await books.send(scan(f"LATE{len(seen)}", site="无名0"))
        if (cursor := body["next_cursor"]) is None:
            break
    assert seen == [4, 3, 2, 1]
    assert await unmapped(client, namespace="sf") == {}


async def test_policies_are_read_as_they_were_activated(client: httpx.AsyncClient) -> None:
    body = await get(client, "/v1/policies/yuanqu-2023.1", schemas.Policy)
    assert set(body) == POLICY
    assert (body["status"], body["valid_from"], body["valid_to"]) == ("active", "2023-01-01T00:00:00+08:00", "2024-01-01T00:00:00+08:00")
    (listed,) = (await get(client, "/v1/policies", schemas.Policies))["items"]
    assert listed == {k: v for k, v in body.items() if k != "as_of"}
    assert (await problem(client, "/v1/policies/nowhere", 404))["code"] == "policy.not_found"


async def test_policies_come_in_pages(client: httpx.AsyncClient, subsidy_dsns: tuple[str, str], tmp_path: Path) -> None:
    text = (POLICIES / "yuanqu-2023.1.toml").read_text(encoding="utf-8").replace('"yuanqu-2023.1"', '"yuanqu-2024.1"')
    text = text.replace("valid_to = 2024-01-01", "valid_to = 2025-01-01").replace("valid_from = 2023-01-01", "valid_from = 2024-01-01")
    (tmp_path / "yuanqu-2024.1.toml").write_text(text, encoding="utf-8")
    owner = await Database(subsidy_dsns[0], max_size=1).open()
    try:
        await activate(owner, read_policies(tmp_path))
    finally:
        await owner.close()
    first = await get(client, "/v1/policies", schemas.Policies, limit=1)
    last = await get(client, "/v1/policies", schemas.Policies, limit=1, cursor=first["next_cursor"])
    assert [p["policy_version"] for p in first["items"] + last["items"]] == ["yuanqu-2023.1", "yuanqu-2024.1"]
    assert last["next_cursor"] is None


async def test_an_unchanged_answer_is_304(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan())
    first = await client.get("/v1/parcels/zto/W1")
    await books.send(scan("W2"))  # as_of moves, the parcel does not
    again = await client.get("/v1/parcels/zto/W1", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1/summary", {}),
        ("/v1/summary", {"from": "2023-08-01", "to": "2023-07-01"}),
        ("/v1/summary", {"from": "0001-01-01", "to": "9999-12-31"}),
        ("/v1/summary", {"from": "2023-13-01", "to": "2023-07-01"}),
        ("/v1/summary", JULY | {"group_by": "reason"}),
        ("/v1/summary", JULY | {"group_by": "day,station,brand,direction"}),
        ("/v1/summary", JULY | {"group_by": "day,month"}),
        ("/v1/summary", JULY | {"group_by": "day); drop table payout; --"}),
        ("/v1/summary", JULY | {"known_at": "2023-07-01T00:00:00"}),
        ("/v1/summary", JULY | {"cursor": "AAAA"}),
        ("/v1/summary", JULY | {"cursor": "eyJyIjo5OTk5OTk5LCJvIjowfQ"}),
        ("/v1/summary", JULY | {"township": "140827100000"}),
        ("/v1/summary", JULY | {"brand": "a\x00"}),
        ("/v1/payouts", {"limit": "0"}),
        ("/v1/payouts", {"limit": "1001"}),
        ("/v1/payouts", {"after_revision": "9" * 30}),
        ("/v1/payouts", {"date_basis": "accepted"}),
        ("/v1/payouts", {"cursor": "eyJyIjoxfQ"}),
        ("/v1/payouts", {"cursor": "eyJyIjoxLCJhIjpbMSwienoiLDFdfQ"}),
        ("/v1/parcels/zto/W1%00", {}),
        ("/v1/parcels/ZTO!/W1", {}),
        ("/v1/parcels/zto/" + "9" * 65, {}),
        ("/v1/holds", {"known_at": "2023-07-01T00:00:00+08:00"}),
        *(
            (path, dict(base, known_at=at))
            for at in UNREAL
            for path, base in [
                ("/v1/summary", JULY),
                ("/v1/parcels/zto/W1", {}),
                ("/v1/parcels/zto/W1/explain", {}),
                ("/v1/parcels/zto/W1/evidence", {}),
            ]
        ),
        *(
            (path, dict(base, cursor=encode_cursor(state)))
            for state in FORGED
            for path, base in [
                ("/v1/summary", JULY),
                ("/v1/payouts", {}),
                ("/v1/holds", {}),
                ("/v1/unmapped-sites", {}),
                ("/v1/policies", {}),
            ]
        ),
        ("/v1/summary", JULY | {"outcome": "payed"}),
        ("/v1/summary", JULY | {"direction": "Downlink"}),
        ("/v1/payouts", {"kind": "accrual,accural"}),
        ("/v1/payouts", {"stage": "payed"}),
        ("/v1/payouts", {"brand": "ZTO"}),
        ("/v1/policies", {"limit": "0"}),
        ("/v1/policies", {"state": "active"}),
        ("/v1/policies/yuanqu-2023.1", {"known_at": "2023-07-01T00:00:00+08:00"}),
        ("/v1/payouts", {"from": "2023-08-01", "to": "2023-07-01"}),
        ("/v1/payouts", {"from": "2023-07-01", "to": "2023-07-01"}),
        ("/v1/payouts", {"period": "2023-13"}),
        ("/v1/payouts", {"period": "2023-07,July"}),
        ("/v1/payouts", {"station_id": "42"}),
        ("/v1/payouts", {"station_id": "stn_42,opr_1"}),
        ("/v1/payouts", {"beneficiary_id": "stn_42"}),
        ("/v1/holds", {"station_id": "station 42"}),
        ("/v1/summary", JULY | {"township_code": "1408271"}),
    ],
)
async def test_what_cannot_be_asked_is_422_with_a_sentence(client: httpx.AsyncClient, path: str, params: dict[str, str]) -> None:
    body = await problem(client, path, 422, **params)
    assert body["code"] == "request.invalid"
    assert body["errors"]


async def test_a_dashboard_sees_payouts_without_waybill_numbers(books: Books, client: httpx.AsyncClient, keys: tuple[str, str]) -> None:
    await books.send(scan())
    client.headers.update(bearer(keys[0], "dashboard"))
    body = await get(client, "/v1/payouts", schemas.Payouts)
    assert [item["waybill_no"] for item in body["items"]] == [None]
    assert body["redacted"] == ["waybill_no"]
    await problem(client, "/v1/parcels/zto/W1", 403)


@pytest.mark.parametrize(
    ("role", "claim", "payouts", "parcel"),
    [
        ("operator", ("operator", "opr_1"), 1, 200),
        ("operator", ("operator", "opr_2"), 0, 404),
        ("merchant", ("merchant", "mer_1"), 0, 404),
        ("township", ("township", "140827100000"), 1, 403),
        ("township", ("township", "140827101000"), 0, 403),
        ("brand", ("brand", "zto"), None, 200),
        ("brand", ("brand", "yto"), None, 404),
        ("brand", ("feed", "zto-yuanqu"), None, 404),
        ("finance", None, 1, 200),
    ],
)
async def test_a_tenant_sees_its_own_rows_only(
    books: Books,
    client: httpx.AsyncClient,
    keys: tuple[str, str],
    role: str,
    claim: tuple[str, str] | None,
    payouts: int | None,
    parcel: int,
) -> None:
    await books.send(scan())
    client.headers.update(bearer(keys[0], role, claim))
    for path in ("", "/explain", "/evidence"):
        assert (await client.get(f"/v1/parcels/zto/W1{path}")).status_code == parcel
    if payouts is None:
        await problem(client, "/v1/payouts", 403)
        return
    assert len((await get(client, "/v1/payouts", schemas.Payouts))["items"]) == payouts
    assert (await get(client, "/v1/summary", schemas.Summary, group_by="brand", **JULY))["totals"]["payable"] == payouts


async def test_a_token_is_needed_and_health_needs_none(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    await problem(client, "/v1/policies", 401)
    assert (await client.get("/readyz")).json() == {"status": "ok", "checks": {"database": "ok"}}


async def test_every_operation_declares_its_scope(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    assert len(operations) == 9
    assert all(next(iter(operation["security"][0].values())) for operation in operations)
