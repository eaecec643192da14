"""What every place had at the end of 2022, and has now."""

from services.registry import repository
from services.registry import schemas_inspections as schemas
from services.registry.domain import baseline as rules
from services.registry.domain.divisions import short_name
from services.registry.schemas import Label
from services.registry.service import reads
from shared.auth import Principal
from shared.contracts.registry import Division, Station
from shared.db import Database
from shared.values import parse_many


async def baseline(database: Database, principal: Principal, query: schemas.BaselineQuery) -> schemas.BaselineList:
    townships = parse_many(query.township_code)
    own = principal.tenant("township")
    async with database.read() as read:
        at = await reads.pin(read, query.valid_at, query.known_at)
        divisions = [d for d, _ in await repository.every(read, Division, at.revision.revision)]
        stations: list[Station] = [s for s, _ in await repository.every(read, Station, at.revision.revision)]
    items = [
        _item(found)
        for found in rules.found(divisions, stations, at.moment)
        if query.regressed in (None, found.regressed) and (township := _township(found)) and own in (None, township)
        if townships is None or township in townships
    ]
    return schemas.BaselineList(source=rules.SOURCE, measured_at=rules.MEASURED_AT, items=items, as_of=at.as_of())


def _township(found: rules.Found) -> str | None:
    return found.division_code if found.criterion == "township_station" else found.division.parent_code


def _item(found: rules.Found) -> schemas.BaselineItem:
    zh, en = rules.TITLES[found.criterion]
    return schemas.BaselineItem(
        criterion=found.criterion,
        label=Label(zh=zh, en=en),
        division_code=found.division_code,
        division_name=short_name(found.division.name, found.division.kind),
        then=found.then,
        now=found.now,
        regressed=found.regressed,
    )
