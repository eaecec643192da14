"""Settings of the subsidy service's processes; each is an environment variable TONGCUN_<NAME>."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.settings import ServiceSettings

POLICIES = Path(__file__).parent / "policies"


class Settings(ServiceSettings):
    """Of the API."""


class WorkerSettings(ServiceSettings):
    """Of a worker."""

    ingest_url: str = Field(description="base URL of the ingest API, for the log report: http://host:port")
    registry_url: str = Field(description="base URL of the registry API, for the log report: http://host:port")
    service_token: str = Field(description="token of the role `service` for the log report (`tongcun token --role service`)")
    scan_partitions: str = Field("0-7", description="partitions of the scans log that this worker owns: 0-3 or 0,2,5")

    @field_validator("scan_partitions")
    @classmethod
    def _parse(cls, text: str) -> str:
        parse_partitions(text)
        return text

    @property
    def owned(self) -> list[int]:
        return parse_partitions(self.scan_partitions)


class MigrateSettings(BaseModel):
    """Of the migrate step."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # it may run in the environment of the other processes

    owner_database_url: str = Field(description="PostgreSQL, as the service's owner role: postgresql://user:password@host:port/name")
    partitions: int = Field(8, ge=1, le=1024, description="partitions of the scans log; fixed when the installation is made")
    policies: Path = Field(POLICIES, description="directory of policy files (*.toml) to activate")


def parse_partitions(text: str) -> list[int]:
    """'0-3' or '0,2,5' -> [0, 1, 2, 3]."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{text!r} is no list of partitions: write 0-7 or 0,2,5")
        low, high = int(first), int(last or first)
        if high < low or high >= 4096:
            raise ValueError(f"{part.strip()!r} is no range of partitions")
        found.update(range(low, high + 1))
    return sorted(found)
