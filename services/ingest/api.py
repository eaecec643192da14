"""`python -m services.ingest.api`: where senders push and others look what became of it."""

import contextlib
import gc
from collections.abc import AsyncIterator

from fastapi import FastAPI

from services.ingest import feeds
from services.ingest.committer import COMMIT_S
from services.ingest.health import check_installation
from services.ingest.routes import feeds as feed_routes
from services.ingest.routes import files, log, manifests, pushes, quarantine, receipts
from services.ingest.service import Ingest
from services.ingest.settings import Settings
from shared import process, spread
from shared.auth import Verifier
from shared.db import Database
from shared.http import create_app
from shared.keyring import Keyring
from shared.settings import load
from shared.telemetry import configure

TITLE = "Tongcun ingest 通村接入"
DESCRIPTION = "Scan events from couriers, aggregators and the county's scanners, each in its own format: nothing acknowledged is ever lost."
MAX_REQUEST_BYTES = 4 << 20  # of an administrator's request, too; a push may have much less, and its sender's failure body says so


def build(settings: Settings) -> FastAPI:
    """The one place where the API's objects are made. Raises KeyringError."""
    database = Database(settings.database_url, max_size=settings.pool_size, application_name="ingest-api", command_s=COMMIT_S)
    reader = Database(settings.database_url, max_size=settings.read_pool_size, application_name="ingest-api-read")
    keyring = Keyring.load(settings.keyring)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await database.open()
        await reader.open()
        await check_start(database, settings)
        app.state.service = service = Ingest(database, reader, keyring, settings)
        await service.start()
        spread.end_with_parent()
        _calm_collector()
        yield
        await service.close()
        await reader.close()
        await database.close()

    async def committing() -> None:
        if not app.state.service.alive:
            raise process.CannotRun("nobody commits pushes or watches the backlog any more: start the process anew")

    app = create_app(
        service="ingest",
        title=TITLE,
        description=DESCRIPTION,
        lifespan=lifespan,
        routers=(pushes.router, files.router, receipts.router, manifests.router, quarantine.router, feed_routes.router, log.router),
        checks={"database": lambda: check_installation(database, settings.partitions), "committer": committing},
        max_body_bytes=MAX_REQUEST_BYTES,
        direct=pushes.direct,
        writes_to=database,
        sealing=keyring,
    )
    app.state.verifier = Verifier(settings.jwks, settings.issuer)
    return app


def _calm_collector() -> None:
    """A push makes a thousand objects that die by reference count; looking for cycles among them took an eighth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def application() -> FastAPI:
    """The API of one process."""
    settings = load(Settings)
    configure("ingest-api", settings.log_level)
    return build(settings)


async def main() -> None:
    settings = load(Settings)
    app = application()
    await process.first(settings.database_url, lambda database: check_start(database, settings))
    if settings.processes > 1:
        spread.serve(f"{application.__module__}:application", settings, settings.processes, settings.trusted_proxies)
    else:
        await process.serve(app, settings, settings.trusted_proxies)


async def check_start(database: Database, settings: Settings) -> None:
    """The installation is ours, and so is the keyring that its secrets were written with."""
    await check_installation(database, settings.partitions)
    async with database.read() as read:
        await feeds.refuse_foreign_keyring(read, Keyring.load(settings.keyring))


if __name__ == "__main__":
    process.run(main)
