"""Settings of the registry's processes; each is a variable TONGCUN_<NAME>."""

from pydantic import Field

from shared import settings
from shared.settings import Connections, ServiceSettings


class Settings(ServiceSettings):
    """The API and the relay."""

    pool_size: Connections = Field(8, ge=2, description="connections to PostgreSQL; writes take turns, reads use the others")


class MigrateSettings(settings.MigrateSettings):
    """The migrate step."""
