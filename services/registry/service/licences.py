"""Writes about licences, and the filings that end with them: at once with a cancellation, and by the worker when a term is over."""

import asyncio
import contextlib
from datetime import datetime

import asyncpg
import structlog

from services.registry import repository, schemas
from services.registry import schemas_licences as bodies
from services.registry.domain import licences as rules
from services.registry.domain.segments import check_ahead
from services.registry.service import shown
from services.registry.service.access import no_operator
from services.registry.service.recording import Recording, recording
from services.registry.service.stations import existing_operator
from shared.contracts.registry import Licence, Operator, Station
from shared.db import LOST, Database
from shared.problems import Problem, not_found

logger = structlog.get_logger(__name__)

SYSTEM = "system"
WHY = "许可到期或终止（《快递末端网点备案暂行规定》第八、十条） the licence ran out or ended"
FAILED: tuple[type[BaseException], ...] = (*LOST, asyncpg.PostgresError, Problem)
EVERY_S = 300.0  # that the worker looks; a filing ends at the very moment all the same, whenever it is noticed


async def add_licence(database: Database, actor: str, operator_id: str, body: bodies.NewLicence) -> schemas.OperatorAnswer:
    async with recording(database, actor) as draft:
        check_ahead(body.valid_from, draft.recorded_at, "/valid_from")
        operator = await existing_operator(draft, operator_id)
        licence = Licence(
            licence_id=f"lic_{draft.revision}",
            number=body.number,
            authority=body.authority,
            holder=body.holder,
            areas=tuple(dict.fromkeys(body.areas)),
            scope=tuple(dict.fromkeys(body.scope)),
            valid_from=body.valid_from,
            valid_to=body.valid_to,
            ended_at=None,
            reason=None,
        )
        others = [other for other, _ in await repository.every(draft.tx, Operator, draft.known)]
        return _answer(draft, draft.put(rules.added(operator, licence, others)))


async def end_licence(database: Database, actor: str, operator_id: str, licence_id: str, body: bodies.LicenceEnd) -> schemas.OperatorAnswer:
    """What was filed under it alone lapses in the same write, from that moment on."""
    async with recording(database, actor, body.reason) as draft:
        check_ahead(body.effective_at, draft.recorded_at, "/effective_at")
        operator = rules.ended(await existing_operator(draft, operator_id), licence_id, body.effective_at, body.reason)
        if operator is None:
            raise not_found("许可", "licence", "licence.not_found")
        operator = draft.put(operator)
        for station in await _lapsed(draft, [operator]):
            draft.put(station)
        return _answer(draft, operator)


async def lapse(database: Database) -> int:
    """Record which filings have ended with their licences -> of how many stations."""
    async with database.read() as read:
        newest = await repository.newest(read)
        if newest is None:
            return 0
        operators = [o for o, _ in await repository.every(read, Operator, newest.revision) if o.licences]
        stations = [s for s, _ in await repository.every(read, Station, newest.revision)]
        now: datetime = await read.fetchval("select now()")
    if not any(rules.lapsed(o, s, now) for o in operators for s in stations):
        return 0
    async with recording(database, SYSTEM, WHY) as draft:
        found = [o for o, _ in await repository.every(draft.tx, Operator, draft.known) if o.licences]
        changed = await _lapsed(draft, found)
        for station in changed:
            draft.put(station)
        draft.unchanged = not changed
    return len(changed)


async def run(database: Database, stop: asyncio.Event) -> None:
    """Until `stop`; a database that is away is asked again the next time."""
    while not stop.is_set():
        try:
            if count := await lapse(database):
                logger.info("licences.lapsed", stations=count)
        except FAILED as e:
            logger.warning("licences.not_looked_at", error=type(e).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY_S)


async def _lapsed(draft: Recording, operators: list[Operator]) -> list[Station]:
    """The stations as they are now that filings of these operators have ended; each once, whoever filed it."""
    changed = []
    for station, _ in await repository.every(draft.tx, Station, draft.known):
        now = station
        for operator in operators:
            now = rules.lapsed(operator, now, draft.recorded_at) or now
        if now is not station:
            changed.append(now)
    return changed


def _answer(draft: Recording, operator: Operator) -> schemas.OperatorAnswer:
    item = shown.operator_item(operator, draft.recorded_at, draft.recorded_at)
    if item is None:
        raise no_operator()  # it is not registered now; then nobody can license it either
    return schemas.OperatorAnswer(**dict(item), as_of=draft.as_of(draft.recorded_at))
