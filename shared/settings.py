"""Settings come from the environment (`TONGCUN_…`) or, for each one, from a file (`TONGCUN_…_FILE`); a mistake is one clear line."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "TONGCUN_"
# Read by the launcher, the tests and the failpoints, not by a service.
OTHERS = ("TONGCUN_VAR", "TONGCUN_FAILPOINT", "TONGCUN_TEST_", "TONGCUN_BENCH_")


class ServiceSettings(BaseModel):
    """What every process needs. Field names are the variables' names, lower case, without the prefix."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database_url: str = Field(description="PostgreSQL, as the service's app role: postgresql://user:password@host:port/name")
    kafka_bootstrap: str = Field(description="Kafka brokers, host:port[,host:port]")
    partitions: int = Field(8, ge=1, le=1024, description="partitions of the scans log; fixed when the installation is made")
    jwks: str = Field(description="public keys that tokens are verified with: a file, or an https URL of an OIDC issuer's key set")
    issuer: str = Field("tongcun-local", description="`iss` that tokens must carry")
    host: str = Field("127.0.0.1", description="address that the API listens on")
    port: int = Field(
        0, ge=0, le=65535, description="TCP port that the API listens on; a worker serves its health and metrics there (0: none)"
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="lowest level that is logged")


class SettingsError(Exception):
    """One line that says which variable is wrong and what to do."""


S = TypeVar("S", bound=BaseModel)


def read(cls: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Build the settings from an environment. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    values: dict[str, str] = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name.startswith(OTHERS):
            continue
        field = name.removeprefix(PREFIX).lower()
        if field.endswith("_file") and field not in cls.model_fields:
            field, value = field.removesuffix("_file"), _content(name, value)
        if field in values:
            raise SettingsError(f"{PREFIX}{field.upper()} is given twice, as a value and as a file: keep one of them")
        values[field] = value
    try:
        return cls.model_validate(values)
    except ValidationError as e:
        first = e.errors()[0]
        variable = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        if first["type"] == "missing":
            raise SettingsError(f"{variable} is not set: {cls.model_fields[str(first['loc'][0])].description}") from None
        if first["type"] == "extra_forbidden":
            raise SettingsError(f"{variable} is no setting of this service: remove it or check its spelling") from None
        raise SettingsError(f"{variable}: {first['msg']}") from None


def _content(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"{variable} names a file that cannot be read: {path} ({e.__class__.__name__})") from None


def load(cls: type[S]) -> S:
    """The settings, or one line on standard error and exit code 2."""
    try:
        return read(cls)
    except SettingsError as e:
        sys.stderr.write(f"{e}\n")
        raise SystemExit(2) from None
