"""`registry.*`: reads of 100,000 stations with 10 versions each, as of past moments, against the same reads of a register that has never
changed: one version of each, asked for as it is now. By HTTP, one request at a time, in turns.

A hundred counties of ten townships and a thousand villages, a station in each. What is asked: one standing, a page of a township's stations
or of all of them, a county's map, the progress of the targets.
"""

import itertools
import statistics
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec

from deploy.embedded.installation import Dsns
from services.registry.migrate import install
from services.registry.service.recording import terms_of
from shared import keyring
from shared.auth import generate_keys, issue
from shared.contracts import programme as plan
from shared.contracts.registry import (
    AnyRecord,
    Division,
    DivisionSegment,
    Filing,
    FilingSegment,
    FilingStatus,
    Level,
    OperatingStatus,
    Station,
    StationSegment,
    record_id,
)
from shared.db import Database
from tests.bench.explain import served

COUNTIES, TOWNSHIPS, VILLAGES, STATIONS = 100, 10, 100, 1  # of the whole, of a county, of a township, of a village
TOTAL = COUNTIES * TOWNSHIPS * VILLAGES * STATIONS
VERSIONS = 10
BATCH = 20_000
BEGAN = datetime(2023, 1, 1, tzinfo=UTC)
STEP = timedelta(days=30)  # between two versions of a station, in both times
BRANDS = ("zto", "yto", "sto", "jt")
ASKED = {"standing": 1_000, "list": 600, "geojson": 60, "targets": 300}
WARM = 10


def county(n: int) -> str:
    return f"15{n:04d}000000"


def township(c: int, t: int) -> str:
    return f"15{c:04d}{t + 1:03d}000"


def village(c: int, t: int, v: int) -> str:
    return f"15{c:04d}{t + 1:03d}{v + 200:03d}"


def divisions() -> Iterator[Division]:
    def division(code: str, kind: str, parent: str | None) -> Division:
        segment = DivisionSegment(valid_from=BEGAN, valid_to=None, name=code, name_en=code, kind=kind, parent_code=parent, edition=2023)
        return Division(version=1, code=code, segments=(segment,))

    for c in range(COUNTIES):
        yield division(county(c), "county", None)
        for t in range(TOWNSHIPS):
            yield division(township(c, t), "town", county(c))
            yield from (division(village(c, t, v), "village", township(c, t)) for v in range(VILLAGES))


def station(number: int, versions: int) -> Station:
    """As it was at that version: opened, filed step by step, renamed, with other people and other brands; with one, as it is now."""
    place, _ = divmod(number, STATIONS)
    rest, v = divmod(place, VILLAGES)
    c, t = divmod(rest, TOWNSHIPS)
    level = Level.VILLAGE
    if number % (VILLAGES * STATIONS) == 0:
        level = Level.COUNTY_HUB if t == 0 else Level.TOWNSHIP

    def segment(n: int, end: datetime | None) -> StationSegment:
        return StationSegment(
            valid_from=BEGAN + n * STEP, valid_to=end, name=f"站点{number}" + ("新" if n > 5 else ""), division_code=village(c, t, v),
            township_code=township(c, t), operator_id=f"opr_{c + 1}", brands=BRANDS[: 1 + n % 4], operating_status=OperatingStatus.OPEN,
            lat=35.0 + c / 100, lng=111.0 + v / 100, staff=1 + n % 3,
        )  # fmt: skip

    def filing(n: int, end: datetime | None) -> FilingSegment:
        status = (FilingStatus.SUBMITTED, FilingStatus.FILED, FilingStatus.CHANGE_PENDING)[min(n, 5) // 2]
        return FilingSegment(valid_from=BEGAN + n * STEP, valid_to=end, status=status, receipt_no=f"R{number}" if n > 1 else None)

    own = [n for n in range(versions) if n % 2 == 0] or [0]
    filed = [n for n in range(versions) if n % 2] or [3]  # never changed: filed, since then
    ends = [[*(BEGAN + n * STEP for n in steps[1:]), None] for steps in (own, filed)]
    return Station(
        version=versions, station_id=f"stn_{number + 1}", level=level, aliases=(),
        segments=tuple(map(segment, own, ends[0])),
        filings=(
            Filing(
                filing_id=f"fil_{number + 1}", filer_id=f"opr_{c + 1}", covers_brands=BRANDS, authority="邮政管理局",
                opened_on=BEGAN.date(), submitted_at=None, decided_at=None, segments=tuple(map(filing, filed, ends[1])),
            ),
        ),
    )  # fmt: skip


def revisions(versions: int) -> Iterator[tuple[int, datetime, AnyRecord]]:
    """-> (revision, recorded_at, what it changed): every station's first version, then every station's second …"""
    for number, (version, n) in enumerate(itertools.product(range(1, versions + 1), range(TOTAL)), start=1):
        yield number, BEGAN + (version - 1) * STEP + timedelta(seconds=n + 1), station(n, version)


def inspections(versions: int) -> Iterator[tuple[int, plan.Inspection]]:
    """Of the first county's hub and townships -> (revision, the inspection), both signatures and all."""
    for i in range(4):
        statuses = [plan.InspectionStatus.RECORDED, plan.InspectionStatus.SIGNED, plan.InspectionStatus.PASSED][-min(versions, 3) :]
        for version in range(1, len(statuses) + 1):
            starts = [BEGAN + 3 * STEP + timedelta(days=n) for n in range(version)]
            yield version * TOTAL if versions > 1 else TOTAL, plan.Inspection(
                version=version, inspection_id=f"ins_{i + 1}", client_id=f"bench-{i:04d}", station_id=f"stn_{i * VILLAGES * STATIONS + 1}",
                checklist="county-2024" if i == 0 else "township-2024", round=plan.Round.JUNE, inspector="bench", follows=None, items=(),
                signatures=(),
                segments=tuple(
                    plan.InspectionSegment(valid_from=start, valid_to=end, status=status, rectify_by=None, reason=None)
                    for start, end, status in zip(starts, [*starts[1:], None], statuses, strict=False)
                ),
            )  # fmt: skip


def nominations() -> tuple[plan.Nomination, ...]:
    places = [(Level.COUNTY_HUB, township(0, 0)), *((Level.TOWNSHIP, township(0, t)) for t in (1, 2, 3))]
    places += [(Level.VILLAGE, village(0, t, 5)) for t in range(10)]
    return tuple(
        plan.Nomination(
            nomination_id=f"nom_{n}", level=level, division_code=code, station_id=None, valid_from=BEGAN, valid_to=None, reason=None
        )
        for n, (level, code) in enumerate(places)
    )


async def run(few: Dsns, many: Dsns, directory: Path) -> list[dict[str, Any]]:
    """Two databases of the registry, empty; `directory`: an empty one."""
    private, jwks = generate_keys()
    (directory / "jwks.json").write_text(jwks, encoding="utf-8")
    keyring.create(directory / "keyring.json")
    token = issue(private, subject="bench", roles=["auditor"], ttl_s=7200)
    for dsns, versions in (few, 1), (many, VERSIONS):
        await fill(dsns, versions)
    keys = {"KEYRING": str(directory / "keyring.json")}
    async with (
        served(few.app, directory / "jwks.json", "registry", **keys) as first,
        served(many.app, directory / "jwks.json", "registry", **keys) as second,
        httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60) as http,
    ):
        return [await figure(http, first, second, name) for name in ASKED]


async def figure(http: httpx.AsyncClient, first: str, second: str, name: str) -> dict[str, Any]:
    """Both are asked for the same; the one with a history as of moments in it, in both times."""
    dice = Random(name)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(WARM + ASKED[name]):
        path, params = question(name, dice)
        known = BEGAN + dice.randint(2, VERSIONS - 1) * STEP + timedelta(days=dice.randint(2, 29))
        as_of = {"valid_at": (known - timedelta(days=dice.randint(0, 20))).isoformat(), "known_at": known.isoformat()}
        for url, took, given in ((first, times[0], {}), (second, times[1], as_of)):
            started = time.perf_counter()
            answer = (await http.get(f"{url}{path}", params=params | given)).raise_for_status()
            took.append(time.perf_counter() - started)
            check(name, answer.json())
    floor, value = (statistics.quantiles(took[WARM:], n=100)[98] * 1000 for took in times)
    return {
        "name": f"registry.{name}.p99",
        "value": round(value, 2),
        "unit": "ms",
        "floor": round(floor, 2),
        "ratio": round(value / floor, 2),
    }


def question(name: str, dice: Random) -> tuple[str, dict[str, str]]:
    match name:
        case "standing":
            return "/v1/standing", {"station_id": f"stn_{dice.randint(1, TOTAL)}", "brand": dice.choice(BRANDS)}
        case "list":
            some = {"township_code": township(dice.randrange(COUNTIES), dice.randrange(TOWNSHIPS))}
            return "/v1/stations", dice.choice(({}, some, some | {"filing_status": "filed,change_pending,submitted", "brand": "zto"}))
        case "geojson":
            return "/v1/stations.geojson", {"county_code": county(dice.randrange(COUNTIES))}
        case _:
            return "/v1/targets", {"programme_id": "prg_0"}


def check(name: str, answer: dict[str, Any]) -> None:
    """What is fast because it found nothing is no figure."""
    match name:
        case "standing":
            assert answer["operating_status"] == "open"
        case "list":
            assert len(answer["items"]) == 100
        case "geojson":
            assert len(answer["features"]) == TOWNSHIPS * VILLAGES * STATIONS
        case _:
            assert [level["nominated"] for level in answer["levels"]] == [1, 3, 10]


async def fill(dsns: Dsns, versions: int) -> None:
    await install(dsns.owner)
    database = await Database(dsns.owner, max_size=1, command_s=600).open()
    try:
        async with database.write() as tx:
            await tx.execute("update revision set recorded_at = $1", BEGAN)  # what is installed was known from the beginning
            document = await tx.fetchval("select document::text from snapshot where id = 'prg_0'")
            programme = msgspec.structs.replace(msgspec.json.decode(document, type=plan.Programme), nominations=nominations())
            await tx.execute("update snapshot set document = $1::text::jsonb where id = 'prg_0'", msgspec.json.encode(programme).decode())
            await _copy(tx, ((0, d) for d in divisions()))
        written = revisions(versions)
        while batch := list(itertools.islice(written, BATCH)):
            async with database.write() as tx:
                await tx.copy_records_to_table(
                    "revision",
                    records=((n, at, "bench", None) for n, at, _ in batch),
                    columns=("revision", "recorded_at", "actor", "reason"),
                )
                await _copy(tx, ((n, record) for n, _, record in batch))
        async with database.write() as tx:
            await _copy(tx, inspections(versions))
        await database.pool.execute("vacuum (analyze)")
    finally:
        await database.close()


async def _copy(tx: Any, changed: Iterable[tuple[int, AnyRecord]]) -> None:
    rows, traces = [], set()
    for revision, record in changed:
        kind, id_ = record_id(record)
        rows.append((kind, id_, revision, msgspec.json.encode(record).decode()))
        traces |= {(term, id_) for term in terms_of(record)}
    await tx.copy_records_to_table("snapshot", records=rows, columns=("kind", "id", "revision", "document"))
    await tx.execute(
        "insert into trace select term, id from unnest($1::text[], $2::text[]) t(term, id) on conflict do nothing",
        *map(list, zip(*traces, strict=True)),
    )
