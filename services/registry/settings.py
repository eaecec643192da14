"""What the registry's processes are told, by the environment only (`TONGCUN_…`)."""

from pydantic import BaseModel, ConfigDict, Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The API and the relay."""

    pool_size: int = Field(8, ge=2, le=64, description="connections to PostgreSQL; writes take turns, reads use the others")


class MigrateSettings(BaseModel):
    """The migrate step."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # it may share an environment with the service it prepares

    owner_database_url: str = Field(description="PostgreSQL, as the service's owner role: postgresql://user:password@host:port/name")
