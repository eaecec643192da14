"""`python -m services.registry.api`: the registry's HTTP API."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from services.registry.health import check_installation
from services.registry.routes import divisions, filings, log, merchants, operators, standing, stations
from services.registry.schemas import MAX_BODY_BYTES
from services.registry.settings import Settings
from shared import process
from shared.auth import Verifier
from shared.db import Database
from shared.http import create_app
from shared.settings import load
from shared.telemetry import configure

TITLE = "Tongcun registry 通村登记"
DESCRIPTION = (
    "Stations, aliases, filings and merchants 站点、别名、末端备案与申报主体, as they were and as they were known; "
    "each write is a position of the log."
)
ROUTERS = (divisions.router, operators.router, stations.router, filings.router, merchants.router, standing.router, log.router)


def build(settings: Settings) -> FastAPI:
    """The one place where the API's objects are made."""
    database = Database(settings.database_url, max_size=settings.pool_size, application_name="registry-api")

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.database = await database.open()
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
    )
    app.state.verifier = Verifier(settings.jwks, settings.issuer)
    return app


async def main() -> None:
    settings = load(Settings)
    configure("registry-api", settings.log_level)
    app = build(settings)
    await process.first(settings.database_url, check_installation)
    await process.serve(app, settings)


if __name__ == "__main__":
    process.run(main)
