"""PostgreSQL and the broker, running, with the services' databases and roles: `async with embedded(var, say) as runtime`."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.broker import Broker
from deploy.embedded.installation import SERVICES, Installation, create_database
from deploy.embedded.postgres import Postgres
from deploy.embedded.supervisor import Supervisor


@dataclass(frozen=True)
class Runtime:
    """`supervisor` takes the services' processes, too; whatever it runs ends, in reverse order, when the block does."""

    installation: Installation
    supervisor: Supervisor
    postgres: Postgres
    broker: Broker


@contextlib.asynccontextmanager
async def embedded(var: Path, say: Callable[[str], None] = print) -> AsyncIterator[Runtime]:
    """Raises CannotStart, whose text is one line for the operator. `say` gets one line for each event worth knowing."""
    installation = Installation(var)
    installation.make_directories()
    with installation.locked():
        supervisor = Supervisor(installation.run, say)
        await supervisor.sweep()
        runtime = Runtime(installation, supervisor, Postgres(installation, supervisor), Broker(installation, supervisor))
        try:
            await runtime.postgres.start()
            await runtime.broker.start()
            for service in SERVICES:
                await create_database(installation, service, service)
            yield runtime
        finally:
            await supervisor.close()
