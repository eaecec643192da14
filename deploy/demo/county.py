"""The demo's county: 1 hub, 11 township and 71 village stations on the real divisions, and what happened to some of them in July.

Divisions are real (National Bureau of Statistics, 2023). Stations, operators, filings and everything that befalls them are invented.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared.calendar import SHANGHAI, rfc3339

OPENED_AT = datetime(2023, 3, 1, tzinfo=SHANGHAI)
JULY = datetime(2023, 7, 1, tzinfo=SHANGHAI)
COUNTY_CODE = "140827000000"
HUB_NAME = "垣曲县统仓共配中心"
AUTHORITY = "运城市邮政管理局"
GONGPEI = "gongpei-yuanqu"  # the scanners' feed, and the namespace of their site codes
BRANDS = ("zto", "yto", "sto", "yunda", "jt")
LEAD, NORTH = "垣曲县农村寄递牵头运营企业（演示）", "垣曲北部山区共配合作社（演示）"  # 演示: invented
NORTHERN = ("140827101000", "140827104000", "140827202000")  # townships whose village stations the cooperative runs

# Villages with a story, by their place in the order of division codes.
FILED_FROM_START = (0, 9, 18, 27)
FILED_IN_JULY = {5: 4, 23: 10, 33: 14, 47: 19, 58: 24, 66: 28}  # village -> day of July; with the four above, ten as the notice asks
LAPSED = 27  # recorded as lapsed on 11 July; the postal administration later finds that the licence had been renewed in time
OTHER_NAME = 3  # ZTO knows this station by the name of the shop that it stands in
UNMAPPED = 12  # YTO's name of this station reaches the registry only after the parcels
NOT_OPEN = {15: "suspended", 31: "closed", 44: "planned"}
ORDINARY = range(34, 44)  # villages where nothing happens: the parcels with a story go there
HUB_ZTO_CODE = "35910"  # ZTO tells its own sites by code, stations by name
OTHER_NAME_IS, UNMAPPED_NAME_IS = "兔喜生活·老槐树超市", "寨里老张小卖部"


@dataclass(frozen=True, slots=True)
class Station:
    """A station as the demo registers it; `filed_at`: when its filing takes effect, null without one."""

    level: str
    division_code: str
    township_code: str | None
    name: str
    site_code: str  # of the joint-distribution scanners
    operator: str
    status: str = "open"
    filed_at: datetime | None = None
    known_as: tuple[tuple[str, str], ...] = ()  # (brand, the name that this brand gives it)

    def name_for(self, brand: str) -> str:
        return dict(self.known_as).get(brand, self.name)


@dataclass(frozen=True, slots=True)
class County:
    hub: Station
    townships: tuple[Station, ...]
    villages: tuple[Station, ...]

    @property
    def stations(self) -> tuple[Station, ...]:
        return (self.hub, *self.townships, *self.villages)


def plan(divisions: Iterable[dict[str, Any]]) -> County:
    """From the items of `GET /v1/divisions`."""
    ordered = sorted(divisions, key=lambda d: d["code"])
    towns = [d for d in ordered if d["kind"] in ("town", "township")]
    villages = [d for d in ordered if d["kind"] == "village"]
    hub = Station("county_hub", COUNTY_CODE, None, HUB_NAME, "YQ000000", LEAD, filed_at=OPENED_AT)
    return County(hub, tuple(map(_township, towns)), tuple(_village(i, d) for i, d in enumerate(villages)))


def _township(division: dict[str, Any]) -> Station:
    code: str = division["code"]
    name = f"{division['name']}快递综合服务站"
    return Station("township", code, code, name, f"YQ{code[6:]}", LEAD, filed_at=OPENED_AT)


def _village(i: int, division: dict[str, Any]) -> Station:
    code: str = division["code"]
    operator = NORTH if division["parent_code"] in NORTHERN else LEAD
    station = Station("village", code, division["parent_code"], f"{division['name']}便民服务点", f"YQ{code[6:]}", operator)
    filed_at = OPENED_AT + timedelta(days=40) if i in FILED_FROM_START else None
    if i in FILED_IN_JULY:
        filed_at = JULY + timedelta(days=FILED_IN_JULY[i] - 1)
    known_as = {OTHER_NAME: (("zto", OTHER_NAME_IS),), UNMAPPED: (("yto", UNMAPPED_NAME_IS),)}.get(i, ())
    return replace(station, status=NOT_OPEN.get(i, "open"), filed_at=filed_at, known_as=known_as)


def aliases(station: Station, unmapped: Station) -> list[dict[str, Any]]:
    """How each sender names it: brands by name, the scanners by code. What YTO calls the `unmapped` one is not known yet."""
    found = [(brand, None, station.name_for(brand)) for brand in BRANDS if not (brand == "yto" and station is unmapped)]
    codes = [(GONGPEI, station.site_code, None)] + ([("zto", HUB_ZTO_CODE, None)] if station.level == "county_hub" else [])
    return [alias(*names) for names in [*found, *codes]]


def alias(namespace: str, site_code: str | None, site_name: str | None) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "site_code": site_code,
        "site_name": site_name,
        "valid_from": rfc3339(OPENED_AT),
        "valid_to": None,
    }
