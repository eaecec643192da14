"""`summary.p99`: `GET /v1/summary` by HTTP over a month of 1,000,000 parcels, against the same questions over 10,000, in the same run.

Both are a county of 71 stations; the books' own writer has made them, and yesterday's cells are merged, as they are in the morning. What a
dashboard asks: by township, station, day, brand, reason, operator and policy, with and without filters, one request at a time, in turns.
"""

import statistics
import time
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec

from deploy.embedded.installation import Dsns
from services.subsidy.migrate import install
from services.subsidy.service.merging import merge
from services.subsidy.settings import POLICIES
from shared import identity
from shared.auth import generate_keys, issue
from shared.contracts.scan import TOPIC
from shared.db import Database
from tests.bench.explain import served
from tests.bench.subsidy_worker import STATIONS, registry
from tests.integration import subsidy_books as county

PARTITIONS = 8
FEW, MANY = 10_000, 1_000_000
BATCH = 5_000
ASKED, WARM = 1_200, 50
GROUPS = (
    "township",
    "station",
    "day",
    "brand",
    "reason",
    "beneficiary",
    "policy_version",
    "month,township",
    "day,outcome",
    "station,reason",
)
FILTERS: tuple[dict[str, str], ...] = ({}, {}, {"outcome": "payable"}, {"brand": "zto"}, {"station_id": "stn_7,stn_8,stn_9"})


async def run(few: Dsns, many: Dsns, directory: Path) -> list[dict[str, Any]]:
    """Two databases of subsidy, empty; `directory`: an empty one, for the public key."""
    private, jwks = generate_keys()
    (directory / "jwks.json").write_text(jwks, encoding="utf-8")
    token = issue(private, subject="bench", roles=["auditor"], ttl_s=3600)
    for dsns, parcels in (few, FEW), (many, MANY):
        await fill(dsns, parcels)
    dice = Random(7)
    times: tuple[list[float], list[float]] = ([], [])
    async with (
        served(few.app, directory / "jwks.json") as first,
        served(many.app, directory / "jwks.json") as second,
        httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http,
    ):
        for _ in range(WARM + ASKED):
            asked = {"from": "2023-07-01", "to": "2023-08-01", "group_by": dice.choice(GROUPS), "limit": "1000", **dice.choice(FILTERS)}
            for url, took in zip((first, second), times, strict=True):
                started = time.perf_counter()
                (await http.get(f"{url}/v1/summary", params=asked)).raise_for_status()
                took.append(time.perf_counter() - started)
    floor, value = (statistics.quantiles(took[WARM:], n=100)[98] * 1000 for took in times)
    return [{"name": "summary.p99", "value": round(value, 2), "unit": "ms", "floor": round(floor, 2), "ratio": round(value / floor, 2)}]


async def fill(dsns: Dsns, parcels: int) -> None:
    await install(dsns.owner, PARTITIONS, POLICIES)
    database = await Database(dsns.app, max_size=4).open()
    try:
        books = county.Books(database, PARTITIONS)
        await books.change(*registry(), drain=False)
        dice = Random(parcels)
        waiting: dict[int, list[bytes]] = {p: [] for p in range(PARTITIONS)}
        for n in range(parcels):
            moment = county.at(dice.randint(1, 28), dice.randint(6, 20)) + timedelta(seconds=dice.randint(0, 3599))
            waybill = f"S{n:09d}"
            partition = identity.partition_of(identity.parcel_key("zto", waybill), PARTITIONS)
            waiting[partition].append(msgspec.json.encode(county.scan(waybill, "station_inbound", moment, dice.choice(STATIONS))))
            if len(waiting[partition]) == BATCH:
                await books.take(TOPIC, partition, waiting[partition])
                waiting[partition] = []
        for partition, values in waiting.items():
            if values:
                await books.take(TOPIC, partition, values)
        row = await database.pool.fetchrow("select max(posted_date) as day from rollup")
        assert row, "an aggregate is one row"
        await merge(database, row["day"] + timedelta(days=1))
    finally:
        await database.close()
    owner = await Database(dsns.owner, max_size=1).open()
    await owner.pool.execute("vacuum (analyze)")
    await owner.close()
