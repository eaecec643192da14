"""The summary: the example of api.md §4 held against the running API, and every answer given again as it was known then."""

import json
import time
from typing import Any

import httpx
from pydantic import BaseModel

from services.subsidy import schemas
from shared.cursors import TTL_S, Cursors
from tests.contract.subsidy_api import JULY, get, problem
from tests.integration.subsidy_books import Books, alias, at, filing, scan, station

pytest_plugins = ("tests.integration.subsidy_fixtures",)

# The totals of the example, as api.md prints them.
SUMMARY_TOTALS = json.loads("""{"parcels": 1240, "payable": 1102, "pending": 31, "held": 6, "refused": 101, "accrued_fen": 52896,
    "held_fen": 288, "approved_fen": 0, "paid_fen": 0, "clawed_back_fen": 0}""")


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


async def test_totals_by_reason_say_what_each_means(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan("W1"), scan("W2"), scan("W3", site="陌生地方"), scan("W4"), scan("W4", "returned", at(15), None))
    body = await get(client, "/v1/summary", schemas.Summary, group_by="reason", **JULY)
    assert {item["key"]["reason_code"]: (item["parcels"], item["accrued_fen"]) for item in body["items"]} == {
        "rate.village.unfiled.near": (2, 72),
        "site.unmapped": (1, 0),
        "parcel.returned": (1, 0),
    }
    labels = {item["key"]["reason_code"]: item["label"] for item in body["items"]}
    assert labels["rate.village.unfiled.near"] == {"zh": "村级、未备案、近", "en": "village, not filed, near"}
    assert labels["parcel.returned"] == {"zh": "快件已退回寄件方", "en": "The parcel was returned to its sender"}
    assert labels["site.unmapped"]["zh"] == "扫描中的站点名称或编码还没有对应到登记站点"


async def test_totals_by_beneficiary_and_policy(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan("W1"), scan("W2", site="陌生地方"))
    body = await get(client, "/v1/summary", schemas.Summary, group_by="beneficiary,policy_version", **JULY)
    paid, waiting = body["items"]
    assert paid["key"] == {"beneficiary_id": "opr_1", "policy_version": "yuanqu-2023.1"}
    assert paid["label"] == {"zh": "垣曲快递", "en": "垣曲快递"}
    assert waiting["key"] == {"beneficiary_id": None, "policy_version": None}
    assert waiting["label"] == {"zh": "无补贴对象", "en": "No beneficiary"}


async def test_a_reason_that_changes_moves_the_parcel_although_its_outcome_stays(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(scan("W1", site="陌生地方"))
    await books.send(scan("W1", "returned", at(15), None))
    await books.send(scan("W2", "signed", at(14), None))
    body = await get(client, "/v1/summary", schemas.Summary, group_by="reason,outcome", **JULY)
    assert {(item["key"]["reason_code"], item["key"]["outcome"], item["parcels"]) for item in body["items"]} == {
        ("parcel.returned", "refused", 1),
        ("evidence.no_station", "pending", 1),
    }
    await books.send(scan("W2", "station_pickup", at(15), "陌生地方"))
    body = await get(client, "/v1/summary", schemas.Summary, group_by="reason,outcome", **JULY)
    assert ("site.unmapped", "pending", 1) in {(i["key"]["reason_code"], i["key"]["outcome"], i["parcels"]) for i in body["items"]}


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


async def test_a_cursor_is_good_for_its_own_question_and_for_a_day(books: Books, client: httpx.AsyncClient) -> None:
    await books.send(*(scan(f"W{d}", scanned_at=at(d)) for d in range(1, 4)))
    asked = JULY | {"group_by": "day", "limit": "1"}
    cursor = (await get(client, "/v1/summary", schemas.Summary, **asked))["next_cursor"]
    assert (await get(client, "/v1/summary", schemas.Summary, cursor=cursor, **asked | {"limit": "2"}))["items"]
    other = await problem(client, "/v1/summary", 422, cursor=cursor, brand="zto", **asked)
    assert other["errors"][0]["code"] == "cursor.invalid"
    await problem(client, "/v1/payouts", 422, cursor=cursor)
    (row,) = await books.rows("select key from cursor_key")
    asked_for = repr(("/v1/summary", sorted((JULY | {"group_by": "day"}).items())))
    old = Cursors(row["key"], lambda: time.time() - 2 * TTL_S).seal(asked_for, cursor.split(".")[0])
    assert (await problem(client, "/v1/summary", 410, cursor=old, **asked))["code"] == "cursor.expired"


async def test_known_at_gives_again_what_was_answered_then(books: Books, client: httpx.AsyncClient) -> None:
    posted = {"from": "2024-01-01", "to": "2030-01-01", "date_basis": "posted", "group_by": "station,brand"}
    asked: list[tuple[str, type[BaseModel], dict[str, str]]] = [
        ("/v1/summary", schemas.Summary, JULY | {"group_by": "day,station,outcome"}),
        ("/v1/summary", schemas.Summary, JULY | {"group_by": "reason,beneficiary,policy_version"}),
        ("/v1/summary", schemas.Summary, posted),
        ("/v1/summary", schemas.Summary, posted | {"group_by": "reason,beneficiary,policy_version"}),
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
