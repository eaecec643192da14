"""Settings of the registry's processes; each is a variable TONGCUN_<NAME>."""

from pydantic import Field

from shared import settings
from shared.settings import Connections, PathOfFile, ServiceSettings


class WorkerSettings(ServiceSettings):
    """The relay of the registry's log, and the end of filings."""


class Settings(ServiceSettings):
    """The API."""

    keyring: PathOfFile = Field(description="keys that photographs and papers are encrypted with; ingest's may be the same file")
    pool_size: Connections = Field(8, ge=2, description="connections to PostgreSQL; writes take turns, reads use the others")


class MigrateSettings(settings.MigrateSettings):
    """The migrate step."""

    keyring: PathOfFile | None = Field(None, description="the API's keyring; given, it must be the one that the database was written with")
