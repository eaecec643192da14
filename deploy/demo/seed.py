"""The county into the registry and its senders into ingest, over HTTP like everybody else; and what becomes known only later."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from deploy.client import Api
from deploy.demo import county
from deploy.demo.county import GONGPEI, LAPSED, LEAD, NORTH, UNMAPPED, County, Station
from deploy.demo.generator import BRANDS_OF, FEEDS, ZTO
from deploy.demo.wire import FORMAT_OF
from deploy.welcome import SANDBOX_FEED
from shared.calendar import SHANGHAI, rfc3339

AT_ONCE = 4  # writes in flight; the registry takes them one by one
LAPSED_AT = datetime(2023, 7, 11, tzinfo=SHANGHAI)
CHANGED_AT = {"suspended": datetime(2023, 7, 8, tzinfo=SHANGHAI), "closed": datetime(2023, 7, 18, tzinfo=SHANGHAI)}
SUBMITTED_BEFORE = timedelta(days=9)


@dataclass(slots=True)
class Seeded:
    """Ids that the registry gave, and the senders' secrets as shown once."""

    county: County
    operators: dict[str, str] = field(default_factory=dict)
    stations: dict[str, str] = field(default_factory=dict)  # by site code
    filings: dict[str, str] = field(default_factory=dict)  # by site code of the station
    secrets: dict[str, bytes] = field(default_factory=dict)


async def seed(registry: Api, postal: Api, ingest: Api) -> Seeded:
    """`registry` as coordinator, `postal` as postal administration, `ingest` as admin."""
    divisions = [item async for item in registry.pages("/v1/divisions")]
    seeded = Seeded(county.plan(divisions))
    for name in (LEAD, NORTH):
        body = {"name": name, "effective_at": rfc3339(county.OPENED_AT)}
        seeded.operators[name] = (await registry.post("/v1/operators", body))["operator_id"]
    few = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, station: Station) -> None:
        async with few:
            await _station(registry, postal, seeded, station, number)

    await asyncio.gather(*(one(i, s) for i, s in enumerate(seeded.county.stations, 1)))
    for feed in FEEDS:
        seeded.secrets[feed] = await _feed(ingest, feed, feed, "live")
    seeded.secrets[SANDBOX_FEED] = await _feed(ingest, SANDBOX_FEED, ZTO, "sandbox")
    return seeded


async def _station(registry: Api, postal: Api, seeded: Seeded, station: Station, number: int) -> None:
    unmapped = seeded.county.villages[UNMAPPED]
    changed_at = CHANGED_AT.get(station.status)
    body = {
        "name": station.name,
        "level": station.level,
        "division_code": station.division_code,
        "operator_id": seeded.operators[station.operator],
        "brands": list(county.BRANDS),
        "operating_status": "open" if changed_at else station.status,
        "aliases": county.aliases(station, unmapped),
        "effective_at": rfc3339(county.OPENED_AT),
    }
    station_id = (await registry.post("/v1/stations", body))["station_id"]
    seeded.stations[station.site_code] = station_id
    if changed_at:
        await registry.patch(f"/v1/stations/{station_id}", {"operating_status": station.status, "effective_at": rfc3339(changed_at)})
    if station.filed_at:
        seeded.filings[station.site_code] = await _filing(registry, postal, seeded, station, station.filed_at, number)


async def _filing(registry: Api, postal: Api, seeded: Seeded, station: Station, filed_at: datetime, number: int) -> str:
    """Submitted by its operator, decided by the postal administration; one of them is later believed to have lapsed."""
    submitted_at = filed_at - SUBMITTED_BEFORE
    submitted = {
        "filer_id": seeded.operators[station.operator],
        "covers_brands": list(county.BRANDS),
        "authority": county.AUTHORITY,
        "status": "submitted",
        "opened_on": min(county.OPENED_AT, submitted_at).date().isoformat(),
        "effective_at": rfc3339(submitted_at),
    }
    answer = await registry.post(f"/v1/stations/{seeded.stations[station.site_code]}/filings", submitted)
    filing_id: str = answer["filing_id"]
    decided: dict[str, Any] = {"to": "filed", "effective_at": rfc3339(filed_at), "receipt_no": f"DEMO-{number}"}
    await postal.post(f"/v1/filings/{filing_id}/transitions", decided)
    if station is seeded.county.villages[LAPSED]:
        lapsed = {"to": "lapsed", "effective_at": rfc3339(LAPSED_AT), "note": "开办者许可证到期 / licence expired"}
        await postal.post(f"/v1/filings/{filing_id}/transitions", lapsed)
    return filing_id


async def _feed(ingest: Api, feed: str, like: str, mode: str) -> bytes:
    """-> its secret. `like`: the sender that it is a feed of."""
    body = {
        "feed": feed,
        "format": FORMAT_OF[like],
        "brands": list(BRANDS_OF[like]),
        "site_namespace": GONGPEI if like == GONGPEI else None,
        "mode": mode,
    }
    return str((await ingest.post("/v1/feeds", body))["secret"]).encode()


async def tell_what_was_unknown(registry: Api, postal: Api, seeded: Seeded) -> None:
    """Late truth of the registry: YTO's name of a station, and a licence that had been renewed in time."""
    village = seeded.county.villages
    named = county.alias("yto", None, county.UNMAPPED_NAME_IS)
    await registry.post(f"/v1/stations/{seeded.stations[village[UNMAPPED].site_code]}/aliases", named)
    correction = {
        "valid_from": rfc3339(LAPSED_AT),
        "valid_to": None,
        "status": "filed",
        "reason": "许可证已按期延续，此前误记为失效 / the licence had been renewed in time",
    }
    await postal.post(f"/v1/filings/{seeded.filings[village[LAPSED].site_code]}/corrections", correction)
