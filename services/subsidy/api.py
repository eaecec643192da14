"""`python -m services.subsidy.api`: parcels, payouts, totals, holds, policies; what people decide of them; closing, budgets."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from services.subsidy.domain.declaration_file import MAX_BYTES
from services.subsidy.routes import books, budgets, declarations, holds, parcels, periods, set_aside
from services.subsidy.service.budgets import Budgets
from services.subsidy.service.closing import Closings
from services.subsidy.service.declarations import Declarations
from services.subsidy.service.holds import Holds
from services.subsidy.service.known import Books, cursor_key
from services.subsidy.service.lists import Lists
from services.subsidy.service.parcels import Parcels
from services.subsidy.service.set_aside import SetAside
from services.subsidy.service.summary import Summaries
from services.subsidy.settings import Settings
from shared import process, telemetry
from shared.auth import Verifier
from shared.cursors import Cursors
from shared.db import Database
from shared.http import create_app
from shared.settings import load

MAX_BODY_BYTES = 16_384
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
            app.state.cursors = Cursors(await cursor_key(database))
            app.state.parcels, app.state.lists, app.state.summaries = Parcels(shared), Lists(shared), Summaries(shared)
            app.state.holds, app.state.set_aside = Holds(shared), SetAside(shared)
            app.state.declarations = Declarations(shared)
            app.state.closings, app.state.budgets = Closings(shared), Budgets(shared)
            yield
        finally:
            await database.close()

    app = create_app(
        service="subsidy", title="Tongcun subsidy", description=DESCRIPTION, lifespan=lifespan,
        routers=[parcels.router, books.router, holds.router, periods.router, budgets.router, set_aside.router,
                 declarations.router],
        checks={"database": lambda: process.check_schema(database, "subsidy")}, max_body_bytes=MAX_BODY_BYTES,
        larger={declarations.PATH: MAX_BYTES}, writes_to=database,
    )  # fmt: skip
    app.state.verifier = Verifier(settings.jwks, settings.issuer)
    return app


async def main() -> None:
    settings = load(Settings)
    telemetry.configure("subsidy-api", settings.log_level)
    app = build(settings)
    await process.first(settings.database_url, lambda database: process.check_schema(database, "subsidy"))
    await process.serve(app, settings)


if __name__ == "__main__":
    process.run(main)
