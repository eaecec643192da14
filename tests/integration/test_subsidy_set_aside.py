"""What nobody can read is set aside: the honest rest is paid to the fen, and what is mended is read again. Audited after each test."""

from typing import Any

import httpx
import msgspec
import pytest

from services.subsidy import schemas_set_aside as schemas
from services.subsidy.schemas import Summary
from services.subsidy.service.evidence import Unreadable, read_value
from shared.contracts.scan import TOPIC
from shared.identity import parcel_key, partition_of
from tests.contract.subsidy_api import get, problem
from tests.integration.subsidy_books import Books, bearer, scan
from tests.poison import KINDS

pytest_plugins = ("tests.integration.subsidy_fixtures",)
SOUND = 40  # parcels between two values that cannot be read


async def tell(books: Books, values: list[tuple[int, bytes]]) -> None:
    for partition in range(books.partitions):
        if of_it := [value for p, value in values if p == partition]:
            await books.take(TOPIC, partition, of_it)


def value_of(waybill: str, action: str = "station_inbound") -> tuple[int, bytes]:
    return partition_of(parcel_key("zto", waybill), 8), msgspec.json.encode(scan(waybill, action))


async def poisoned(books: Books) -> dict[str, str]:
    """Every kind once, among parcels that are sound -> {detail of the kind's position: reason}."""
    values = []
    for n, (make, _) in enumerate(KINDS.values()):
        values += [value_of(f"W{n}-{i}") for i in range(SOUND)]
        partition, sound = value_of(f"P{n}")
        values.insert(len(values) - n % SOUND, (partition, make(sound)))
    await tell(books, values)
    return {name: reason for name, (_, reason) in KINDS.items()}


async def test_every_kind_is_set_aside_and_the_rest_is_paid(books: Books, client: httpx.AsyncClient) -> None:
    reasons = await poisoned(books)
    parcels = await books.rows("select outcome, net_fen, count(*)::int as n from parcel group by 1, 2")
    assert parcels == [{"outcome": "payable", "net_fen": 36, "n": SOUND * len(KINDS)}]
    items: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        body = await get(client, "/v1/set-aside", schemas.Values, limit=20, **cursor)
        items += body["items"]
        if body["next_cursor"] is None:
            break
        cursor = {"cursor": body["next_cursor"]}
    assert sorted(i["reason_code"] for i in items) == sorted(reasons.values())
    assert all(i["zh"] and i["en"] and i["read_revision"] is None for i in items)
    assert body["as_of"]["set_aside"] == len(KINDS)
    taken = await books.rows("select sum(next_position)::int as n from consumed where topic = $1", TOPIC)
    assert taken == [{"n": (SOUND + 1) * len(KINDS)}]
    only = await get(client, "/v1/set-aside", schemas.Values, reason_code="value.empty,value.time")
    assert {i["reason_code"] for i in only["items"]} == {"value.empty", "value.time"}


async def test_what_a_mended_reader_can_read_becomes_evidence_and_the_rest_stays(
    books: Books, client: httpx.AsyncClient, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A return that an older reader could not read: the next one can, and the payout that stood without it falls."""
    await tell(books, [value_of("A"), value_of("B"), (value_of("C")[0], b"nobody will ever read this")])
    old_reader(monkeypatch, b'"action":"returned"')
    await tell(books, [value_of("A", "returned")])
    monkeypatch.undo()
    before = await get(client, "/v1/set-aside", schemas.Values)
    assert [i["reason_code"] for i in before["items"]] == ["value.not_json", "value.contract"]
    assert await books.balance("A") == 36

    admin = bearer(keys[0], "admin")
    assert (await client.post("/v1/set-aside/read")).status_code == 403
    asked = await client.post("/v1/set-aside/read", headers=admin)
    assert asked.status_code == 200, asked.text
    assert asked.json()["partitions"] == len({value_of("A")[0], value_of("C")[0]})
    assert asked.json()["as_of"]["pending_reassessments"] == asked.json()["partitions"]
    await books.drain()

    assert (await books.balance("A"), await books.balance("B")) == (0, 36)
    after = await get(client, "/v1/set-aside", schemas.Values)
    assert [i["read_revision"] is not None for i in after["items"]] == [False, True]
    assert after["as_of"]["set_aside"] == 1
    then = await get(client, "/v1/summary", Summary, **{"from": "2023-07-01", "to": "2023-08-01"}, known_at=before["as_of"]["known_at"])
    assert then["as_of"]["set_aside"] == 2
    again = await client.post("/v1/set-aside/read", headers=admin)
    assert again.json()["partitions"] == 1
    await books.drain()
    assert await books.balance("A") == 0


def old_reader(monkeypatch: pytest.MonkeyPatch, unknown: bytes) -> None:
    def read(value: bytes) -> Any:
        return Unreadable("value.contract", "of another time") if unknown in value else read_value(value)

    monkeypatch.setattr("tests.integration.subsidy_books.read_value", read)


async def test_bad_questions(client: httpx.AsyncClient) -> None:
    for query in {"cursor": "abc"}, {"limit": 0}, {"reason": "value.empty"}:
        await problem(client, "/v1/set-aside", 422, **query)
