"""`python -m services.subsidy.api`: parcels, payouts, totals, holds, policies; it only reads."""

import contextlib
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI

from services.subsidy.repository import reads
from services.subsidy.routes import books, parcels
from services.subsidy.service.known import Books
from services.subsidy.service.lists import Lists
from services.subsidy.service.parcels import Parcels
from services.subsidy.service.summary import Summaries
from services.subsidy.settings import Settings
from shared import telemetry
from shared.auth import Verifier
from shared.db import Database
from shared.http import create_app
from shared.settings import load

MAX_BODY_BYTES = 16_384  # no operation takes a body
DESCRIPTION = (
    "From parcels to subsidy lines: exact to the fen, explained, as of any revision. / 快件到补贴明细：精确到分，逐条说明，可查任一时点。"
)


def build(settings: Settings) -> FastAPI:
    """The application; its database opens with it."""
    database = Database(settings.database_url, application_name="subsidy-api")

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await database.open()
        try:
            shared = Books(database)
            app.state.verifier = Verifier(settings.jwks)
            app.state.parcels, app.state.lists, app.state.summaries = Parcels(shared), Lists(shared), Summaries(shared)
            yield
        finally:
            await database.close()

    async def installed() -> None:
        """The database answers, and the migration has run."""
        async with database.read() as read:
            await read.fetchrow(reads.LATEST)

    return create_app(
        service="subsidy", title="Tongcun subsidy", description=DESCRIPTION, lifespan=lifespan, routers=[parcels.router, books.router],
        checks={"database": installed}, max_body_bytes=MAX_BODY_BYTES,
    )  # fmt: skip


def main() -> None:
    settings = load(Settings)
    telemetry.configure("subsidy-api", settings.log_level)
    uvicorn.run(build(settings), host=settings.host, port=settings.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
