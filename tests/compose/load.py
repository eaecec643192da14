"""A sender that sends on while the platform is killed under it: each batch again, until it is acknowledged."""

import asyncio
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from deploy.client import Api
from deploy.demo.recompute import Report, recompute
from deploy.platform import Access

BATCH = 20
PAUSE_S = 0.2
ACKNOWLEDGED_WITHIN_S = 180.0
SETTLED_WITHIN_S = 120.0
FIRST_SCAN = datetime.fromisoformat("2023-07-20T08:00:00+08:00")
JULY = {"from": "2023-07-01", "to": "2023-08-01"}


@dataclass
class Sender:
    """Parcels of one village station, two scans each. `sent`: distinct scans that were acknowledged."""

    access: Access
    http: httpx.AsyncClient
    feed: str
    brand: str
    site_name: str
    numbers: "itertools.count[int]"
    sent: int = 0
    retries: int = 0

    @classmethod
    async def ready(cls, access: Access, http: httpx.AsyncClient, feed: str, first_number: int) -> "Sender":
        """With a feed of its own, and the name by which a brand knows an open village station of the demo."""
        admin = Api(http, access.urls["ingest"], access.token("admin"))
        registry = Api(http, access.urls["registry"], access.token("auditor"))
        stations = [s async for s in registry.pages("/v1/stations", level="village", operating_status="open")]
        alias = next(a for s in stations for a in s["aliases"] if a["site_name"])
        made = {"feed": feed, "format": "canonical", "brands": [alias["namespace"]], "site_namespace": None, "mode": "live"}
        await admin.post("/v1/feeds", made)
        return cls(access, http, feed, alias["namespace"], alias["site_name"], itertools.count(first_number))

    async def send(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._acknowledged([scan for _ in range(BATCH // 2) for scan in self._parcel(next(self.numbers))])
            await asyncio.sleep(PAUSE_S)

    def _parcel(self, number: int) -> list[dict[str, Any]]:
        shared = {"brand": self.brand, "waybill_no": f"88{number:010}", "site_name": self.site_name}
        scanned = [("station_inbound", "INBOUND", FIRST_SCAN), ("station_pickup", "PICKUP", FIRST_SCAN + timedelta(hours=3))]
        return [shared | {"action": action, "raw_action": raw, "scanned_at": at.isoformat()} for action, raw, at in scanned]

    async def _acknowledged(self, scans: list[dict[str, Any]]) -> None:
        """Sent again whatever went wrong: a sender cannot know whether it was taken. A repeat is a duplicate."""
        headers = {"Authorization": f"Bearer {self.access.token('brand', claim=('feed', self.feed))}"}
        deadline = asyncio.get_running_loop().time() + ACKNOWLEDGED_WITHIN_S
        while True:
            try:
                answer = await self.http.post(f"{self.access.urls['ingest']}/v1/scans", json={"events": scans}, headers=headers)
                if answer.is_success:
                    self.sent += len(scans)
                    return
                assert answer.status_code in (500, 502, 503), answer.text
            except httpx.TransportError:
                pass
            assert asyncio.get_running_loop().time() < deadline, "never acknowledged"
            self.retries += 1
            await asyncio.sleep(PAUSE_S)


async def settled(access: Access) -> None:
    """Until the books have passed this moment."""
    now, deadline = datetime.now(UTC), asyncio.get_running_loop().time() + SETTLED_WITHIN_S
    async with httpx.AsyncClient(timeout=10) as http:
        subsidy = Api(http, access.urls["subsidy"], access.token("auditor"))
        while True:
            as_of = (await subsidy.get("/v1/summary", **JULY, limit=1))["as_of"]
            if as_of["watermark"] and datetime.fromisoformat(as_of["watermark"]) >= now and not as_of["pending_reassessments"]:
                return
            assert asyncio.get_running_loop().time() < deadline, as_of
            await asyncio.sleep(0.5)


async def audited(access: Access) -> Report:
    """The independent recomputation, once the books are settled: from the logs alone, every parcel, to the fen."""
    await settled(access)
    urls = access.urls
    report = await asyncio.to_thread(recompute, urls["ingest"], urls["registry"], urls["subsidy"], access.token("auditor"))
    assert report.differences == []
    return report
