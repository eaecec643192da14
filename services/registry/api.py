"""`python -m services.registry.api`: the registry's HTTP API."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import structlog
from fastapi import FastAPI

from services.registry.domain import documents as document_rules
from services.registry.domain import editions as edition_rules
from services.registry.domain import working_days
from services.registry.domain.station_file import MAX_BYTES
from services.registry.health import check_installation
from services.registry.routes import (
    clocks,
    divisions,
    documents,
    filings,
    incidents,
    inspections,
    log,
    merchants,
    operators,
    revisions,
    standing,
    station_files,
    stations,
    tables,
    targets,
)
from services.registry.schemas import MAX_BODY_BYTES
from services.registry.service.documents import Vault, refuse_foreign_keyring
from services.registry.settings import Settings
from shared import process, telemetry
from shared.auth import Verifier
from shared.bodies import InTurns
from shared.calendar import day_start, shanghai_day
from shared.db import Database
from shared.http import create_app
from shared.keyring import Keyring
from shared.settings import load
from shared.telemetry import configure
from shared.writes import caller_of

logger = structlog.get_logger(__name__)

TITLE = "Tongcun registry 通村登记"
DESCRIPTION = (
    "Stations, aliases, filings and merchants 站点、别名、末端备案与申报主体, as they were and as they were known; "
    "each write is a position of the log."
)
ROUTERS = (
    divisions.router, operators.router, station_files.router, stations.router, filings.router, clocks.router, merchants.router,
    standing.router, incidents.router, targets.router, tables.router, inspections.router, documents.router, revisions.router,
    log.router,
)  # fmt: skip
UPLOADS_AT_ONCE = 2  # each takes some 25 MB of memory while it is on its way
CALENDAR_WARNS_BEFORE = timedelta(days=60)


def build(settings: Settings) -> FastAPI:
    """The one place where the API's objects are made. Raises KeyringError."""
    database = Database(settings.database_url, max_size=settings.pool_size, application_name="registry-api")
    keyring = Keyring.load(settings.keyring)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.database = await database.open()
        await check_start(database, keyring)
        _check_calendar()
        yield
        await database.close()

    app = create_app(
        service="registry",
        title=TITLE,
        description=DESCRIPTION,
        lifespan=lifespan,
        routers=ROUTERS,
        checks={"database": lambda: check_installation(database)},
        max_body_bytes=MAX_BODY_BYTES,
        larger={
            station_files.IMPORTS: MAX_BYTES,
            divisions.EDITIONS: edition_rules.MAX_BYTES,
            documents.DOCUMENTS: document_rules.MAX_BYTES,
        },
        writes_to=database,
    )
    app.add_middleware(InTurns, path=documents.DOCUMENTS, at_once=UPLOADS_AT_ONCE, caller=caller_of)
    app.state.verifier = Verifier(settings.jwks, settings.issuer)
    app.state.vault = Vault(keyring)
    return app


async def check_start(database: Database, keyring: Keyring) -> None:
    """The installation is ours, and so is the keyring that its documents were written with."""
    await check_installation(database)
    async with database.read() as read:
        await refuse_foreign_keyring(read, keyring)


def _check_calendar() -> None:
    """The next year is announced in November, and then takes a new version of the library."""
    telemetry.REGISTRY_CALENDAR_ENDS.set(day_start(working_days.ENDS).timestamp())
    if shanghai_day(datetime.now(UTC)) > working_days.ENDS - CALENDAR_WARNS_BEFORE:
        logger.warning("calendar.ends", on=working_days.ENDS.isoformat(), remedy="update chinesecalendar: locks, then a release")


async def main() -> None:
    settings = load(Settings)
    configure("registry-api", settings.log_level)
    app = build(settings)
    await process.first(settings.database_url, lambda database: check_start(database, app.state.vault.keyring))
    await process.serve(app, settings)


if __name__ == "__main__":
    process.run(main)
