"""`/v1/revisions`: every write with its author, and nothing else."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.conftest import MakeDatabase
from tests.registry_api import Registry, day, running


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


async def test_who_recorded_what_when_and_why(registry: Registry) -> None:
    operator = await registry.operator()
    station = await registry.station(operator_id=operator)
    filing = await registry.filing(station, operator, status="submitted")
    moved = {"to": "filed", "effective_at": day(6, 12), "receipt_no": "YQ-1", "note": "回执已收"}
    await registry.call("POST", f"/v1/filings/{filing}/transitions", moved, role="postal")
    told = (await registry.get("/v1/revisions"))["items"]
    assert [(i["actor"], i["reason"], [(r["kind"], r["id"], r["version"]) for r in i["records"]]) for i in told[:4]] == [
        ("test:postal", "回执已收", [("station", station, 3)]),
        ("test:coordinator", None, [("station", station, 2)]),
        ("test:coordinator", None, [("station", station, 1)]),
        ("test:coordinator", None, [("operator", operator, 1)]),
    ]
    assert [i["revision"] for i in told] == sorted((i["revision"] for i in told), reverse=True)
    assert told[-1]["actor"] == "system", "the divisions, when it was installed"
    assert {r["kind"] for r in told[-1]["records"]} == {"division", "programme"}
    for query, expected in (
        ({"record_id": station}, told[:3]),
        ({"actor": "test:postal"}, told[:1]),
        ({"record_id": operator, "actor": "test:coordinator"}, [told[3]]),
        ({"from": told[1]["recorded_at"]}, told[:2]),
        ({"to": told[3]["recorded_at"]}, told[4:]),
        ({"known_at": told[3]["recorded_at"]}, told[3:]),
        ({"record_id": "stn_999"}, []),
    ):
        assert (await registry.get("/v1/revisions", **query))["items"] == expected, query
    paged: list[Any] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await registry.get("/v1/revisions", limit=2, **cursor)
        paged += page["items"]
        await registry.operator()  # what is recorded meanwhile moves nothing
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == told


@pytest.mark.parametrize(
    "query", [{"from": "2023-07-02T00:00:00Z", "to": "2023-07-01T00:00:00Z"}, {"cursor": "AAAA"}, {"record_id": "a b"}]
)
async def test_a_wrong_question_is_told(registry: Registry, query: dict[str, str]) -> None:
    await registry.get("/v1/revisions", expect=422, **query)


async def test_nobody_changes_what_was_recorded(registry: Registry) -> None:
    for statement in (
        "update revision set actor = 'x'",
        "delete from revision",
        "update snapshot set document = '{}'",
        "delete from snapshot",
    ):
        async with registry.database.write() as tx:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await tx.execute(statement)
