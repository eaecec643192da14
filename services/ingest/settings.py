"""Settings of ingest's processes; each is a variable TONGCUN_<NAME>."""

from typing import Annotated

from pydantic import Field, field_validator

from shared import settings
from shared.process import LOOPBACK
from shared.settings import Connections, Is, PathOfFile, ServiceSettings


class WorkerSettings(ServiceSettings):
    """The relay of the scans log, and the end of bodies."""

    keep_bodies_days: Annotated[int, Is(unit="days")] = Field(
        0, ge=0, le=36_500, description="that the encrypted bodies of pushes are kept; 0: for good. At least 31; hashes and receipts stay"
    )

    @field_validator("keep_bodies_days")
    @classmethod
    def _long_enough(cls, days: int) -> int:
        if 0 < days < 31:
            raise ValueError("0, or at least 31 days")
        return days


class Settings(ServiceSettings):
    """The API."""

    keyring: PathOfFile = Field(description="keys that bodies and feed secrets are encrypted with")
    backlog_events: Annotated[int, Is(unit="events")] = Field(
        2_000_000, ge=1_000, description="events acknowledged and not yet in Kafka beyond which pushes get the retry answer"
    )
    processes: Annotated[int, Is(unit="processes")] = Field(
        1, ge=1, le=64, description="that take pushes together, at one port: one takes what one core can; each has its own connections"
    )
    trusted_proxies: Annotated[str, Is("addresses, …")] = Field(
        LOOPBACK, description="of reverse proxies whose X-Forwarded-For tells where a push comes from, for feeds that name their networks"
    )
    pool_size: Connections = Field(4, ge=2, description="connections to PostgreSQL for taking pushes")
    read_pool_size: Connections = Field(
        4, ge=1, description="connections to PostgreSQL for everybody else: a reader never holds up a sender"
    )


class MigrateSettings(settings.MigrateSettings):
    """The migrate step."""

    partitions: settings.Partitions = 8
    keyring: PathOfFile | None = Field(None, description="the API's keyring; given, it must be the one that the database was written with")
