"""`push_to_payout.p99`: seconds from a push's acknowledgement to its payout visible over HTTP, at half of what the chain sustains.

All seven processes run, as `tongcun up` starts them. What the chain sustains is measured first: as many pushes as the senders can send,
until every payout is visible.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from deploy.client import Api
from deploy.platform import Access, platform

FEED = "bench"
STATIONS = 20
PARCELS_A_PUSH = 25
ACTIONS = ("picked_up", "arrived", "out_for_delivery", "station_inbound")
EVENTS_A_PUSH = PARCELS_A_PUSH * len(ACTIONS)
SENDERS = 8
BURST_PUSHES = 600
PACED_S = 20.0
POLL_S = 0.02
WITHIN_S = 120.0


def bodies() -> Iterator[dict[str, Any]]:
    """Pushes without end, every parcel a new one, delivered to one of the stations."""
    number = itertools.count(73_000_000_000_000)
    while True:
        events = []
        for _ in range(PARCELS_A_PUSH):
            waybill_no = next(number)
            for hour, action in enumerate(ACTIONS, 8):
                site = f"站点{waybill_no % STATIONS}号" if action == "station_inbound" else f"{action}·外地"
                events.append(
                    {
                        "event_ref": None, "brand": "zto", "waybill_no": str(waybill_no), "action": action, "raw_action": action.upper(),
                        "scanned_at": f"2023-07-{1 + waybill_no % 28:02d}T{hour:02d}:00:00+08:00", "site_code": None, "site_name": site,
                        "origin": None, "destination": None, "goods": None, "order_no": None, "weight_g": 500, "retracts": None,
                    }
                )  # fmt: skip
        yield {"events": events}


async def seed(access: Access, http: httpx.AsyncClient) -> None:
    registry = Api(http, access.urls["registry"], access.token("coordinator"))
    opened = "2023-01-01T00:00:00+08:00"
    operator = (await registry.post("/v1/operators", {"name": "基准运营企业", "effective_at": opened}))["operator_id"]
    villages = (await registry.get("/v1/divisions", kind="village"))["items"][:STATIONS]
    for n, village in enumerate(villages):
        alias = {"namespace": "zto", "site_code": None, "site_name": f"站点{n}号", "valid_from": opened, "valid_to": None}
        station = {
            "name": village["name"], "level": "village", "division_code": village["code"], "location": None, "operator_id": operator,
            "brands": ["zto"], "operating_status": "open", "aliases": [alias], "effective_at": opened,
        }  # fmt: skip
        await registry.post("/v1/stations", station)
    ingest = Api(http, access.urls["ingest"], access.token("admin"))
    await ingest.post("/v1/feeds", {"feed": FEED, "format": "canonical", "brands": ["zto"], "mode": "live"})


class Chain:
    """A sender and a reader at the two ends of the platform."""

    def __init__(self, access: Access, http: httpx.AsyncClient) -> None:
        self._push = Api(http, access.urls["ingest"], access.token("brand", claim=("feed", FEED)))
        self._read = Api(http, access.urls["subsidy"], access.token("auditor"))
        self._bodies = bodies()
        self._revision = 0
        self.acknowledged_at: dict[str, float] = {}
        self.latencies_s: list[float] = []

    async def push(self) -> None:
        body = next(self._bodies)
        counts = (await self._push.post("/v1/scans", body))["counts"]
        assert counts["accepted"] == EVENTS_A_PUSH, counts
        now = time.perf_counter()
        self.acknowledged_at |= {event["waybill_no"]: now for event in body["events"]}

    async def look(self) -> None:
        """Take note of every payout that has become visible."""
        cursor: dict[str, str] = {}
        while True:
            page = await self._read.get("/v1/payouts", after_revision=self._revision, limit=1000, **cursor)
            now = time.perf_counter()
            self.latencies_s += [max(now - at, 0.0) for p in page["items"] if (at := self.acknowledged_at.pop(p["waybill_no"], None))]
            if page["next_cursor"] is None:
                self._revision = page["as_of"]["revision"]
                return
            cursor = {"cursor": page["next_cursor"]}

    async def until_paid(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.acknowledged_at:
                await self.look()
                await asyncio.sleep(POLL_S)

    async def sustained(self) -> float:
        """-> events/s through the whole chain."""
        left = iter(range(BURST_PUSHES))

        async def sender() -> None:
            for _ in left:
                await self.push()

        started = time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(SENDERS)))
        await self.until_paid()
        return BURST_PUSHES * EVENTS_A_PUSH / (time.perf_counter() - started)

    async def paced(self, events_per_s: float) -> None:
        """Pushes at a steady rate, while the reader looks."""
        every_s, started, pushes = EVENTS_A_PUSH / events_per_s, time.perf_counter(), set[asyncio.Task[None]]()

        async def watch() -> None:
            while True:
                await self.look()
                await asyncio.sleep(POLL_S)

        watching = asyncio.create_task(watch())
        try:
            for n in range(int(PACED_S / every_s)):
                await asyncio.sleep(max(0.0, started + n * every_s - time.perf_counter()))
                pushes.add(asyncio.create_task(self.push()))
            await asyncio.gather(*pushes)
            async with asyncio.timeout(WITHIN_S):
                while self.acknowledged_at:
                    await asyncio.sleep(POLL_S)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def run(var: Path) -> list[dict[str, Any]]:
    """`var`: an empty directory, which PostgreSQL's user can reach. Takes about a minute."""
    async with platform(var, say=lambda _line: None) as access, httpx.AsyncClient(timeout=30) as http:
        await seed(access, http)
        chain = Chain(access, http)
        await chain.push()
        await chain.until_paid()
        sustained = await chain.sustained()
        chain.latencies_s.clear()
        await chain.paced(sustained / 2)
    ordered = sorted(chain.latencies_s)
    p99 = ordered[int(len(ordered) * 0.99)]
    return [
        {"name": "push_to_payout.p99", "value": round(p99, 3), "unit": "s", "floor": None, "ratio": None},
        {"name": "chain.sustained", "value": round(sustained), "unit": "events/s", "floor": None, "ratio": None},
    ]
