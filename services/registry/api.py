"""`python -m services.registry.api`: the registry's HTTP API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI

from services.registry import health
from services.registry.routes import divisions, filings, log, operators, standing, stations
from services.registry.schemas import MAX_BODY_BYTES
from services.registry.settings import Settings
from services.registry.starting import listen, look_at, one_line
from shared.auth import Verifier
from shared.db import Database
from shared.http import create_app
from shared.settings import load
from shared.telemetry import configure

TITLE = "Tongcun registry 通村登记"
DESCRIPTION = (
    "Stations, aliases and filings 站点、别名与末端备案, as they were and as they were known; each write is a position of the log."
)
DRAIN_S = 10  # for requests under way when the process is told to stop
ROUTERS = (divisions.router, operators.router, stations.router, filings.router, standing.router, log.router)


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
        checks={"database": lambda: health.check_migrations(database)},
        max_body_bytes=MAX_BODY_BYTES,
    )
    app.state.verifier = Verifier(settings.jwks)
    return app


async def serve(settings: Settings) -> None:
    """Until a signal; requests under way are answered first."""
    app = build(settings)
    await look_at(settings.database_url)
    listening = listen(settings.host, settings.port)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_S)
    await uvicorn.Server(config).serve(sockets=[listening])


def main() -> None:
    settings = load(Settings)
    configure("registry-api", settings.log_level)
    with one_line():
        asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
