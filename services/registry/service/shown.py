"""From records to what the API shows at a moment."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from services.registry import repository, schemas, schemas_documents, schemas_filings
from services.registry.domain import materials
from services.registry.domain.divisions import county_of, short_name
from services.registry.domain.history import Row
from shared.contracts.registry import RURAL_KINDS, Alias, Division, Licence, Operator, Station, StationSegment
from shared.db import Read
from shared.standing import at, holds, standing_at

NO_BRAND = ""  # a standing is for a brand; what does not depend on one is the same for all


Divisions = dict[str, Division]


async def divisions_of(read: Read, stations: Iterable[Station], revision: int) -> Divisions:
    """Those that the stations refer to."""
    codes = {segment.division_code for station in stations for segment in station.segments}
    return {d.code: d for d in await repository.some(read, Division, codes, revision)}


def feature(item: schemas.StationItem) -> schemas.StationFeature:
    point = schemas.Point(coordinates=(item.location.lng, item.location.lat)) if item.location else None
    return schemas.StationFeature(id=item.station_id, geometry=point, properties=item)


def station_item(divisions: Divisions, station: Station, recorded_at: datetime, moment: datetime) -> schemas.StationItem | None:
    """None: it was not registered then."""
    segment, standing = at(station.segments, moment), standing_at(station, divisions, NO_BRAND, moment)
    if segment is None or standing is None:
        return None
    return schemas.StationItem(
        station_id=station.station_id,
        name=segment.name,
        level=station.level,
        division_code=segment.division_code,
        township_code=segment.township_code,
        county_code=county_of(segment.division_code),
        location=location(segment),
        operator_id=segment.operator_id,
        brands=list(segment.brands),
        operating_status=segment.operating_status,
        opened_on=segment.opened_on,
        services_per_week=segment.services_per_week,
        staff=segment.staff,
        filing_status=standing.filing_status or "none",
        aliases=[alias_item(a) for a in station.aliases if holds(a, moment)],
        photos=list(station.photos),
        valid_from=standing.valid_from,
        valid_to=standing.valid_to,
        recorded_at=recorded_at,
        version=station.version,
    )


def location(segment: StationSegment) -> schemas.Location | None:
    return None if segment.lat is None or segment.lng is None else schemas.Location(lat=segment.lat, lng=segment.lng)


def alias_item(alias: Alias) -> schemas.AliasItem:
    return schemas.AliasItem(
        alias_id=alias.alias_id,
        namespace=alias.namespace,
        site_code=alias.site_code,
        site_name=alias.site_name,
        valid_from=alias.valid_from,
        valid_to=alias.valid_to,
    )


def filing_item(row: Row) -> schemas_filings.FilingItem:
    return schemas_filings.FilingItem(
        filing_id=row.filing.filing_id,
        filer_id=row.filing.filer_id,
        covers_brands=list(row.filing.covers_brands),
        authority=row.filing.authority,
        receipt_no=row.segment.receipt_no,
        status=row.segment.status,
        opened_on=row.filing.opened_on,
        submitted_at=row.filing.submitted_at,
        decided_at=row.filing.decided_at,
        filer_type=row.filing.filer_type,
        scope=list(row.filing.scope),
        materials=[schemas_documents.Material(kind=m.kind, document_id=m.document_id) for m in row.filing.materials],
        missing_materials=materials.missing(row.filing),
        valid_from=row.segment.valid_from,
        valid_to=row.segment.valid_to,
        recorded_at=row.recorded_at,
        superseded_at=row.superseded_at,
        actor=row.actor,
        reason=row.reason,
    )


def operator_item(operator: Operator, recorded_at: datetime, moment: datetime) -> schemas.OperatorItem | None:
    segment = at(operator.segments, moment)
    if segment is None:
        return None
    return schemas.OperatorItem(
        operator_id=operator.operator_id,
        name=segment.name,
        status=segment.status,
        reason=segment.reason,
        licences=[licence_item(licence, moment) for licence in operator.licences],
        valid_from=segment.valid_from,
        valid_to=segment.valid_to,
        recorded_at=recorded_at,
        version=operator.version,
    )


def licence_item(licence: Licence, moment: datetime) -> schemas.LicenceItem:
    status: Literal["planned", "valid", "expired", "ended"] = "valid"
    if moment < licence.valid_from:
        status = "planned"
    elif licence.ended_at is not None and moment >= licence.ended_at:
        status = "ended"
    elif licence.valid_to is not None and moment >= licence.valid_to:
        status = "expired"
    return schemas.LicenceItem(
        licence_id=licence.licence_id,
        number=licence.number,
        authority=licence.authority,
        holder=licence.holder,
        areas=list(licence.areas),
        scope=list(licence.scope),
        valid_from=licence.valid_from,
        valid_to=licence.valid_to,
        ended_at=licence.ended_at,
        reason=licence.reason,
        status=status,
    )


def division_item(division: Division, moment: datetime) -> schemas.DivisionItem | None:
    segment = at(division.segments, moment)
    if segment is None:
        return None
    name = short_name(segment.name, segment.kind)
    return schemas.DivisionItem(
        code=division.code,
        name=name,
        label=schemas.Label(zh=name, en=segment.name_en),
        kind=segment.kind,
        parent_code=segment.parent_code,
        rural=segment.kind in RURAL_KINDS,
        edition=segment.edition,
    )
