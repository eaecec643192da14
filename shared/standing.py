"""Standing: what a station was at a moment, for a brand. One pure function over registry snapshots, used by registry and subsidy.

A `Directory` is what was known at one registry revision: the newest snapshot of each record at or below it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from shared.contracts.programme import Inspection, Programme
from shared.contracts.registry import (
    FILED,
    RURAL_KINDS,
    AnyRecord,
    Division,
    DivisionSegment,
    Filing,
    FilingSegment,
    FilingStatus,
    Incident,
    Merchant,
    MerchantSegment,
    Operator,
    Station,
    StationSegment,
)
from shared.identity import parcel_key
from shared.sites import site_id

# The best filing of a station is the one whose status stands first here.
FILING_ORDER = (
    FilingStatus.FILED,
    FilingStatus.CHANGE_PENDING,
    FilingStatus.SUSPENDED,
    FilingStatus.RESUBMITTED,
    FilingStatus.SUBMITTED,
    FilingStatus.CORRECTION_REQUESTED,
    FilingStatus.DRAFT,
    FilingStatus.LAPSED,
    FilingStatus.EXPIRED,
    FilingStatus.CANCELLED,
)


class _Dated(Protocol):
    @property
    def valid_from(self) -> datetime: ...
    @property
    def valid_to(self) -> datetime | None: ...


D = TypeVar("D", bound=_Dated)


def holds(dated: _Dated, at: datetime) -> bool:
    """Ranges take `from` (inclusive) and `to` (exclusive)."""
    return dated.valid_from <= at and (dated.valid_to is None or at < dated.valid_to)


def at(segments: Iterable[D], moment: datetime) -> D | None:
    """The segment that holds at a moment; segments do not overlap."""
    return next((s for s in segments if holds(s, moment)), None)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a station was from `valid_from` to `valid_to` (exclusive, null: still), for one brand."""

    station_id: str
    station_version: int
    level: str
    name: str
    division_code: str
    division_kind: str
    township_code: str | None
    rural: bool  # its division is a village, or a township's own (a community is urban)
    operator_id: str | None
    operating_status: str
    filed: bool  # a filing that covers the brand is `filed` or `change_pending`
    filing_id: str | None  # that filing
    filing_status: str | None  # of the best filing, of any brand; null: none
    valid_from: datetime
    valid_to: datetime | None


@dataclass
class Directory:
    """Everything that the registry had said by one revision."""

    stations: dict[str, Station] = field(default_factory=dict)
    divisions: dict[str, Division] = field(default_factory=dict)
    operators: dict[str, Operator] = field(default_factory=dict)
    merchants: dict[str, Merchant] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    _sites: dict[bytes, list[tuple[datetime, datetime | None, str]]] = field(default_factory=dict)
    _standings: dict[tuple[str, str], list[Standing]] = field(default_factory=dict)
    _naming: dict[bytes, set[str]] = field(default_factory=dict)  # parcel key → ids of the incidents that name it
    _about: dict[str, set[str]] = field(default_factory=dict)  # station → ids of the incidents that are about it

    @classmethod
    def of(cls, records: Iterable[AnyRecord]) -> "Directory":
        directory = cls()
        for record in records:
            directory.put(record)
        return directory

    def put(self, record: AnyRecord) -> None:
        """Take a newer snapshot. Derived answers are forgotten: a division or operator stands behind many stations."""
        self._standings.clear()
        match record:
            case Division():
                self.divisions[record.code] = record
            case Operator():
                self.operators[record.operator_id] = record
            case Merchant():
                self.merchants[record.merchant_id] = record
            case Incident():
                self._put_incident(record)
            case Programme() | Inspection():
                pass  # no part of a standing
            case Station():
                old = self.stations.get(record.station_id)
                for known in sites_of(old) if old else ():
                    self._sites[known] = [claim for claim in self._sites[known] if claim[2] != record.station_id]
                self.stations[record.station_id] = record
                for alias in record.aliases:
                    if site := site_id(alias.namespace, alias.site_code, alias.site_name):
                        self._sites.setdefault(site, []).append((alias.valid_from, alias.valid_to, record.station_id))

    def _put_incident(self, incident: Incident) -> None:
        """No part of a standing: only found by what it names."""
        old = self.incidents.get(incident.incident_id)
        for known, note in (old, set.discard), (incident, set.add):
            for parcel in known.parcels if known else ():
                note(self._naming.setdefault(parcel_key(parcel.brand, parcel.waybill_no), set()), incident.incident_id)
            if known and known.station_id:
                note(self._about.setdefault(known.station_id, set()), incident.incident_id)
        self.incidents[incident.incident_id] = incident

    def incidents_naming(self, key: bytes) -> tuple[Incident, ...]:
        """The incidents that name a parcel (`key`: shared.identity.parcel_key), by id."""
        return tuple(self.incidents[i] for i in sorted(self._naming.get(key, ())))

    def incidents_about(self, station_id: str) -> tuple[Incident, ...]:
        """The incidents that are about a station, at whatever time, by id."""
        return tuple(self.incidents[i] for i in sorted(self._about.get(station_id, ())))

    def station_at(self, site: bytes | None, moment: datetime) -> str | None:
        """Which registered station a sender's site was at that moment; an alias is claimed by one station at a time."""
        for valid_from, valid_to, station_id in self._sites.get(site, ()) if site else ():
            if valid_from <= moment and (valid_to is None or moment < valid_to):
                return station_id
        return None

    def merchant_at(self, merchant_id: str, moment: datetime) -> MerchantSegment | None:
        """What the applicant was at a moment; None where it is not registered then."""
        merchant = self.merchants.get(merchant_id)
        return at(merchant.segments, moment) if merchant else None

    def claims(self) -> Iterator[tuple[bytes, datetime, datetime | None]]:
        """Which sites are some station's, and when: (site, from, to)."""
        return ((site, valid_from, valid_to) for site, claims in self._sites.items() for valid_from, valid_to, _ in claims)

    def standing(self, station_id: str, brand: str, moment: datetime) -> Standing | None:
        """The station's standing for the brand at a moment; None where it is not registered then."""
        key = station_id, brand
        if (timeline := self._standings.get(key)) is None:
            station = self.stations.get(station_id)
            timeline = self._standings[key] = _timeline(station, self.divisions, brand) if station else []
        i = bisect_right(timeline, moment, key=lambda s: s.valid_from) - 1
        return timeline[i] if i >= 0 and holds(timeline[i], moment) else None


def has_shop(segment: MerchantSegment, platform: str) -> bool:
    """Whether the applicant had a shop on the platform that a reviewer has seen."""
    return any(shop.approved and shop.platform == platform for shop in segment.shops)


def sites_of(station: Station) -> set[bytes]:
    """Every site that a station claims or has claimed."""
    found = (site_id(a.namespace, a.site_code, a.site_name) for a in station.aliases)
    return {site for site in found if site}


def standing_at(station: Station, divisions: dict[str, Division], brand: str, moment: datetime) -> Standing | None:
    """The same of one station at one moment, for whoever asks once."""
    cuts = _cuts(station, divisions)
    i = bisect_right(cuts, moment)
    return _piece(station, divisions, brand, cuts[i - 1], cuts[i] if i < len(cuts) else None) if i else None


def _timeline(station: Station, divisions: dict[str, Division], brand: str) -> list[Standing]:
    """The station's life cut at every moment at which anything about it changes."""
    cuts = _cuts(station, divisions)
    ends: list[datetime | None] = [*cuts[1:], None]
    pieces = (_piece(station, divisions, brand, start, end) for start, end in zip(cuts, ends, strict=True))
    return [p for p in pieces if p]


def _cuts(station: Station, divisions: dict[str, Division]) -> list[datetime]:
    dated: list[_Dated] = [*station.segments, *(s for f in station.filings for s in f.segments)]
    for code in {s.division_code for s in station.segments}:
        dated += divisions[code].segments if code in divisions else ()
    return sorted({d.valid_from for d in dated} | {d.valid_to for d in dated if d.valid_to})


def _piece(station: Station, divisions: dict[str, Division], brand: str, start: datetime, end: datetime | None) -> Standing | None:
    segment = at(station.segments, start)
    if not segment:
        return None
    division = _division(divisions, segment, start)
    covering = next((f for f in station.filings if brand in f.covers_brands and (s := at(f.segments, start)) and s.status in FILED), None)
    best = best_filing(station.filings, start)
    kind = division.kind if division else "unknown"
    return Standing(
        station_id=station.station_id,
        station_version=station.version,
        level=station.level,
        name=segment.name,
        division_code=segment.division_code,
        division_kind=kind,
        township_code=segment.township_code,
        rural=kind in RURAL_KINDS,
        operator_id=segment.operator_id,
        operating_status=segment.operating_status,
        filed=covering is not None,
        filing_id=covering.filing_id if covering else None,
        filing_status=best[1].status if best else None,
        valid_from=start,
        valid_to=end,
    )


def _division(divisions: dict[str, Division], segment: StationSegment, moment: datetime) -> DivisionSegment | None:
    division = divisions.get(segment.division_code)
    return at(division.segments, moment) if division else None


def best_filing(filings: Iterable[Filing], moment: datetime) -> tuple[Filing, FilingSegment] | None:
    """The filing whose status stands first in FILING_ORDER at a moment, and its segment then."""
    then = [(f, s) for f in filings if (s := at(f.segments, moment))]
    rank: Callable[[tuple[Filing, FilingSegment]], tuple[int, str]] = lambda pair: (FILING_ORDER.index(pair[1].status), pair[0].filing_id)  # noqa: E731
    return min(then, key=rank, default=None)
