"""Whatever clients write over HTTP: earlier revisions stay readable, and the log alone gives the same standings."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.registry.domain.transitions import WITH_RECEIPT
from shared.contracts.registry import FilingStatus, decode_change
from shared.standing import Directory
from tests.conftest import MakeDatabase
from tests.registry_api import OTHER_VILLAGE, VILLAGE, Registry, day, filing_body, running, station_body

MOMENTS = [day(3, 1), day(4, 1), day(5, 1), day(6, 1), day(7, 1)]
BRANDS = ("zto", "yto")

moments = st.sampled_from(MOMENTS)
writes = st.lists(
    st.one_of(
        st.tuples(st.just("status"), st.sampled_from(("planned", "open", "suspended", "closed")), moments),
        st.tuples(st.just("division"), st.sampled_from((VILLAGE, OTHER_VILLAGE)), moments),
        st.tuples(st.just("file"), st.sampled_from(BRANDS), moments),
        st.tuples(st.just("move"), st.sampled_from(list(FilingStatus)), moments),
        st.tuples(st.just("correct"), st.sampled_from(list(FilingStatus)), moments),
    ),
    min_size=2,
    max_size=7,
)


@pytest.fixture(scope="module")
async def registry(make_database: MakeDatabase) -> AsyncIterator[Registry]:
    async with running(make_database) as started:
        yield started


async def write(registry: Registry, station: str, filer: str, filings: list[str], step: tuple[str, str, str]) -> None:
    """One write; what the rules refuse (409, 422) leaves no trace."""
    kind, value, moment = step
    receipt = {"receipt_no": f"R-{station}-{len(filings)}"} if value in WITH_RECEIPT else {}
    path, body = f"/v1/stations/{station}", {"effective_at": moment}
    method = "PATCH"
    match kind:
        case "status":
            body["operating_status"] = value
        case "division":
            body["division_code"] = value
        case "file":
            method, path = "POST", f"{path}/filings"
            body = filing_body(filer_id=filer, covers_brands=[value], status="submitted", opened_on="2023-03-01", effective_at=moment)
        case "move" if filings:
            method, path, body = "POST", f"/v1/filings/{filings[-1]}/transitions", {"to": value, "effective_at": moment} | receipt
        case "correct" if filings:
            method, path = "POST", f"/v1/filings/{filings[-1]}/corrections"
            body = {"valid_from": moment, "status": value, "reason": "误记"} | receipt
        case _:
            return
    answer = await registry.client.request(method, path, json=body, headers=registry.token("admin"))
    assert answer.status_code in (200, 201, 409, 422), answer.text
    if kind == "file" and answer.is_success:
        filings.append(answer.json()["filing_id"])


async def seen(registry: Registry, station: str, revision: int) -> list[dict[str, Any]]:
    """Every standing of the station at a revision."""
    asked: list[dict[str, Any]] = [
        {"station_id": station, "brand": b, "valid_at": m, "known_revision": revision} for b in BRANDS for m in MOMENTS
    ]
    return [await registry.get("/v1/standing", **query) for query in asked]


async def log_up_to(registry: Registry) -> list[Directory]:
    """For each revision, what the snapshots of the log say at it."""
    found, directory, position = [], Directory(), 0
    while (page := await registry.get("/v1/log/0", from_position=position, limit=1000))["items"]:
        for item in page["items"]:
            for record in decode_change(item["value"].encode()).records:
                directory.put(record)
            found.append(Directory.of([*directory.divisions.values(), *directory.operators.values(), *directory.stations.values()]))
        position = page["next_position"]
    return found


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(steps=writes)
async def test_earlier_revisions_stay_and_the_log_says_the_same(registry: Registry, steps: list[tuple[str, str, str]]) -> None:
    filer = await registry.operator(effective_at=day(1, 1))
    created = await registry.call("POST", "/v1/stations", station_body(effective_at=MOMENTS[0], operator_id=filer, brands=list(BRANDS)))
    station, revision, filings = created["station_id"], created["as_of"]["revision"], list[str]()
    believed = {revision: await seen(registry, station, revision)}
    for step in steps:
        await write(registry, station, filer, filings, step)
        revision = (await registry.get(f"/v1/stations/{station}", valid_at=MOMENTS[-1]))["as_of"]["revision"]
        believed.setdefault(revision, await seen(registry, station, revision))
    directories = await log_up_to(registry)
    for revision, answers in believed.items():
        assert await seen(registry, station, revision) == answers
        for answer in answers:
            assert shown(directories[revision], answer) == {k: v for k, v in answer.items() if k != "as_of"}


def shown(directory: Directory, answer: dict[str, Any]) -> dict[str, Any]:
    """The standing by the shared function, in the words of the API."""
    found = directory.standing(answer["station_id"], answer["brand"], datetime.fromisoformat(answer["as_of"]["valid_at"]))
    assert found is not None
    segment = {"valid_from": _text(found.valid_from), "valid_to": _text(found.valid_to)}
    names = ("station_id", "level", "division_code", "operator_id", "operating_status", "filed", "filing_id")
    nobody_came = {"standard": False, "inspection_id": None}
    return {name: getattr(found, name) for name in names} | {"brand": answer["brand"], "segment": segment} | nobody_came


def _text(at: datetime | None) -> str | None:
    return at.astimezone(datetime.fromisoformat(day(1, 1)).tzinfo).isoformat() if at else None
