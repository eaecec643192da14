"""Settings of ingest's processes; every one comes from the environment (`TONGCUN_…`)."""

from pydantic import BaseModel, ConfigDict, Field

from shared.settings import ServiceSettings


class WorkerSettings(ServiceSettings):
    """The relay of the scans log."""


class Settings(ServiceSettings):
    """The API process."""

    keyring: str = Field(description="file of the keys that bodies and feed secrets are encrypted with")
    backlog_events: int = Field(
        2_000_000, ge=1_000, description="events acknowledged and not yet in Kafka beyond which pushes get the retry answer"
    )
    pool_size: int = Field(4, ge=2, le=64, description="connections to PostgreSQL for taking pushes")
    read_pool_size: int = Field(
        4, ge=1, le=64, description="connections to PostgreSQL for everybody else: a reader never holds up a sender"
    )


class MigrateSettings(BaseModel):
    """The migrate step."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # it may share an environment with the service it prepares

    owner_database_url: str = Field(description="PostgreSQL, as the database's owner role: postgresql://user:password@host:port/name")
    partitions: int = Field(8, ge=1, le=1024, description="partitions of the scans log; fixed when the installation is made")
    keyring: str | None = Field(None, description="the API's keyring; given, it must be the one that the database was written with")
