"""What the two logs and `GET /v1/rulings` hold, read as plain JSON: scans, stations and who claims which site, what people said.

Written from docs/design.md §4 and docs/rules.md for the recomputation (recompute.py); it imports the standard library alone.
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

Json = dict[str, Any]
Site = tuple[str, str, str]  # namespace, "code" or "name", normalised text

FACTS = [
    "brand", "waybill_no", "raw_action", "scanned_at", "site_namespace", "site_code", "site_name",
    "origin", "destination", "goods", "order_no", "weight_g",
]  # fmt: skip
SHANGHAI = timezone(timedelta(hours=8))
RECEIPTS = frozenset({"station_pickup", "signed", "signed_by_agent"})
CLOSING = RECEIPTS | {"station_inbound", "returning", "returned", "refused"}
KNOWN = CLOSING | {
    "picked_up", "departed", "arrived", "out_for_delivery", "taken_back", "delivery_failed", "transferred", "retracted", "unknown",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scan:
    """One version of one event, as the scans log holds it."""

    event_id: str
    content: str
    mapping_version: int
    feed: str
    action: str
    at: datetime
    site: Site | None
    origin: str | None = None
    retracts_id: str | None = None
    retracts_action: str | None = None
    destination: str | None = None
    order_no: str | None = None

    @property
    def is_retraction(self) -> bool:
        return self.retracts_id is not None or self.retracts_action is not None


def site_of(namespace: str, code: str | None, name: str | None) -> Site | None:
    """A scan's site is its code if it has one, else its name; NFKC, no white space, lower case, one trailing 店, 站 or 点 dropped."""
    text = "".join(unicodedata.normalize("NFKC", code or name or "").split()).lower()
    plain = text[:-1] if len(text) > 1 and text[-1] in "店站点" else text
    return (namespace, "code" if code else "name", plain) if plain else None


def content_of(value: Json) -> str:
    """SHA-256 of the scan facts as sent (docs/design.md §4): an RFC 8785 array; the sender's own action only where mapping version is 0."""
    retracts = value.get("retracts") or {}
    facts = [value[name] for name in FACTS]
    facts += [retracts.get("event_id"), retracts.get("previous_action"), None if value["mapping_version"] else value["action"]]
    return sha256(json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def partition_of(brand: str, waybill_no: str, partitions: int) -> int:
    return int.from_bytes(sha256(f"{brand}|{waybill_no}".encode()).digest()[:4], "big") % partitions


def scan_of(value: Json) -> Scan:
    retracts = value.get("retracts") or {}
    return Scan(
        event_id=value["event_id"],
        content=value["content"],
        mapping_version=value["mapping_version"],
        feed=value["feed"],
        action=value["action"] if value["action"] in KNOWN else "unknown",  # rule 1
        at=datetime.fromisoformat(value["scanned_at"]),
        site=site_of(value["site_namespace"], value["site_code"], value["site_name"]),
        origin=value["origin"],
        retracts_id=retracts.get("event_id"),
        retracts_action=retracts.get("previous_action"),
        destination=value["destination"],
        order_no=value["order_no"],
    )


def holds(dated: Json, at: datetime) -> bool:
    """From (inclusive) and to (exclusive; null: still)."""
    end = dated["valid_to"]
    return datetime.fromisoformat(dated["valid_from"]) <= at and (end is None or at < datetime.fromisoformat(end))


def segment(segments: Iterable[Json], at: datetime) -> Json | None:
    return next((s for s in segments if holds(s, at)), None)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a person said of a parcel, as `GET /v1/rulings` lists it (rule 14)."""

    revision: int
    decision: str
    reason_code: str
    subject: str | None = None  # hex
    choices: tuple[tuple[str, str, str], ...] = ()  # event_id, content, among


def ruling_of(item: Json) -> Ruling:
    choices = tuple((c["event_id"], c["content"], c["among"]) for c in item["choices"])
    return Ruling(item["revision"], item["decision"], item["reason_code"], item["subject"], choices)


@dataclass(frozen=True, slots=True)
class Declared:
    """The row by which a merchant has declared a parcel, as `GET /v1/declarations/{id}/rows` lists it (rule 15)."""

    merchant_id: str
    platform: str
    order_no: str
    product: str
    destination: str
    freight_fen: int


@dataclass(slots=True)
class Registry:
    """The newest snapshot of every station, division, merchant and incident, and who claims which site."""

    stations: dict[str, Json] = field(default_factory=dict)
    merchants: dict[str, Json] = field(default_factory=dict)
    divisions: dict[str, Json] = field(default_factory=dict)
    incidents: dict[str, Json] = field(default_factory=dict)
    claims: dict[Site, list[tuple[Json, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, changes: Iterable[Json]) -> "Registry":
        """From the values of the registry log, in order: each holds full-history snapshots of what it changed."""
        registry = cls()
        for change in changes:
            for record in change["records"]:
                if record["type"] == "station":
                    registry.stations[record["station_id"]] = record
                elif record["type"] == "division":
                    registry.divisions[record["code"]] = record
                elif record["type"] == "merchant":
                    registry.merchants[record["merchant_id"]] = record
                elif record["type"] == "incident":
                    registry.incidents[record["incident_id"]] = record
        for station_id, station in registry.stations.items():
            for alias in station["aliases"]:
                site = site_of(alias["namespace"], alias["site_code"], alias["site_name"])
                if site:
                    registry.claims.setdefault(site, []).append((alias, station_id))
        return registry

    def station_at(self, scan: Scan) -> str | None:
        """The station whose alias claims exactly this scan's site at the scan's time."""
        claims = self.claims.get(scan.site, []) if scan.site else []
        return next((station_id for alias, station_id in claims if holds(alias, scan.at)), None)

    def level(self, station_id: str) -> str:
        return str(self.stations[station_id]["level"])

    def standing(self, station_id: str, at: datetime) -> Json | None:
        """What the station was then; null where it was not registered."""
        return segment(self.stations[station_id]["segments"], at)

    def filed(self, station_id: str, brand: str, at: datetime) -> bool:
        filings = (f for f in self.stations[station_id]["filings"] if brand in f["covers_brands"])
        return any((now := segment(f["segments"], at)) and now["status"] in ("filed", "change_pending") for f in filings)

    def rural(self, division_code: str, at: datetime) -> bool:
        division = self.divisions.get(division_code)
        now = segment(division["segments"], at) if division else None
        return now is not None and now["kind"] in ("village", "town", "township")


def shanghai_day(at: datetime) -> date:
    return at.astimezone(SHANGHAI).date()
