"""Settings of the subsidy service's processes; each is a variable TONGCUN_<NAME>."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from shared import settings
from shared.settings import HttpUrl, Is, ServiceSettings

POLICIES = Path(__file__).parent / "policies"
GROUP = "group"  # as partitions: those that Kafka's consumer group gives


def parse_partitions(text: str) -> list[int]:
    """'0-3' or '0,2,5' -> [0, 1, 2, 3]."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{text!r} is no list of partitions: write 0-7 or 0,2,5")
        low, high = int(first), int(last or first)
        if high < low or high >= 4096:
            raise ValueError(f"{part.strip()!r} is no range of partitions")
        found.update(range(low, high + 1))
    return sorted(found)


def _readable(text: str) -> str:
    if text != GROUP:
        parse_partitions(text)
    return text


class Settings(ServiceSettings):
    """The API."""


class WorkerSettings(ServiceSettings):
    """A worker."""

    ingest_url: HttpUrl = Field(description="base URL of the ingest API, for the log report: http://host:port")
    registry_url: HttpUrl = Field(description="base URL of the registry API, for the log report: http://host:port")
    service_token: Annotated[str, Is(secret=True)] = Field(
        description="token of the role `service` for the log report (`tongcun token --role service`)"
    )
    scan_partitions: Annotated[str, Is("group, 0-3 or 0,2,5"), AfterValidator(_readable)] = Field(
        GROUP,
        description="partitions of the scans log that are this worker's; `group`: all workers share them by Kafka's consumer group, and "
        "whoever is killed is replaced by the others",
    )

    @model_validator(mode="after")
    def _within_the_log(self) -> Self:
        if self.owned and (last := self.owned[-1]) >= self.partitions:
            raise ValueError(
                f"TONGCUN_SCAN_PARTITIONS names partition {last}, TONGCUN_PARTITIONS says that there are {self.partitions}, 0 to "
                f"{self.partitions - 1}: correct one of them"
            )
        return self

    @property
    def owned(self) -> list[int] | None:
        """None: what the group gives."""
        return None if self.scan_partitions == GROUP else parse_partitions(self.scan_partitions)


class MigrateSettings(settings.MigrateSettings):
    """The migrate step."""

    partitions: settings.Partitions = 8
    policies: Annotated[Path, Is("path of a directory")] = Field(POLICIES, description="directory of policy files (*.toml) to activate")
