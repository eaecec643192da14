"""PostgreSQL and the broker, running, with the services' databases and roles: `async with embedded(var, say) as runtime`."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.broker import Broker
from deploy.embedded.installation import SERVICES, Installation, create_database
from deploy.embedded.postgres import Postgres
from deploy.embedded.supervisor import CannotStart, Supervisor
from deploy.kafka.broker import ApacheKafka

BROKERS = {"embedded": Broker, "kafka": ApacheKafka}


@dataclass(frozen=True)
class Runtime:
    """`supervisor` takes the services' processes, too; whatever it runs ends, in reverse order, when the block does."""

    installation: Installation
    supervisor: Supervisor
    postgres: Postgres
    broker: Broker


def chosen_broker() -> type[Broker]:
    """The one that TONGCUN_BROKER names; the embedded one where nothing does."""
    name = os.environ.get("TONGCUN_BROKER") or "embedded"
    if name not in BROKERS:
        raise CannotStart(f"TONGCUN_BROKER={name}: one of {' '.join(BROKERS)} / 可选 {' '.join(BROKERS)}")
    return BROKERS[name]


@contextlib.asynccontextmanager
async def embedded(var: Path, say: Callable[[str], None] = print, broker: type[Broker] | None = None) -> AsyncIterator[Runtime]:
    """Raises CannotStart, whose text is one line for the operator. `say` gets one line for each event worth knowing."""
    make_broker = broker or chosen_broker()
    installation = Installation(var)
    installation.make_directories()
    with installation.locked():
        supervisor = Supervisor(installation.run, say)
        await supervisor.sweep()
        runtime = Runtime(installation, supervisor, Postgres(installation, supervisor), make_broker(installation, supervisor))
        try:
            await runtime.postgres.start()
            await runtime.broker.start()
            for service in SERVICES:
                await create_database(installation, service, service)
            yield runtime
        finally:
            await supervisor.close()
