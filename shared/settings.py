"""Settings: `TONGCUN_<NAME>` in the environment, or `TONGCUN_<NAME>_FILE`, the path of a file that holds the value. A mistake is one line.

docs/configuration.md lists them all, generated from the classes of every process by deploy/configuration.py.
"""

import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

PREFIX, IN_FILE = "TONGCUN_", "_FILE"
MAX_FILE_BYTES = 65_536
# Every setting of any process. They may all be given one environment: a process passes over its neighbours' settings and refuses what
# no process has. A test holds this to the classes.
NAMES = frozenset(
    (
        "backlog_events", "database_url", "host", "ingest_url", "issuer", "jwks", "kafka_bootstrap", "keep_bodies_days", "keyring",
        "log_level", "owner_database_url", "partitions", "policies", "pool_size", "port", "processes", "read_pool_size", "registry_url",
        "scan_partitions", "service_token", "trusted_proxies",
    )
)  # fmt: skip
# What other programs read in the same environment, and what for.
OTHERS = {
    "TONGCUN_VAR": "`./tongcun`: directory of the installation on this machine; default `var/`",
    "TONGCUN_BROKER": "`./tongcun`: what carries the logs there, `embedded` (default) or `kafka`",
    "TONGCUN_ISSUER_KEY": "`./tongcun`: file of the issuer's key, to reach a platform that it did not start; with the APIs' addresses",
    "TONGCUN_SUBSIDY_URL": "`./tongcun`: base URL of that platform's subsidy API; the other two are the settings of the same names above",
    "TONGCUN_CLUSTER_ID": "compose: id of the Kafka cluster, made by `deploy/compose/setup`",
    "TONGCUN_SECRETS": "compose: directory of the secrets; default `var/compose/secrets`",
    "TONGCUN_INGEST_PORT": "compose: ingest's port on the host's loopback; default 8101",
    "TONGCUN_REGISTRY_PORT": "compose: registry's; default 8102",
    "TONGCUN_SUBSIDY_PORT": "compose: subsidy's; default 8103",
    "TONGCUN_FAILPOINT": "tests of crashes: `name:n` kills the process at the n-th passage of a failpoint",
}
OF_TESTS = "TONGCUN_TEST_"


class SettingsError(Exception):
    """One line that says which variable is wrong and what to do."""


@dataclass(frozen=True)
class Is:
    """What the documentation says of a field beside its type and its description."""

    kind: str = ""
    unit: str = ""
    secret: bool = False


def _database(url: str) -> str:
    if not re.match(r"postgres(ql)?://", url):
        raise ValueError("write postgresql://user:password@host:port/name")
    return url


def _http(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", url):
        raise ValueError("write http://host:port or https://host:port")
    return url


def _brokers(text: str) -> str:
    if not all(re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]]+):[0-9]{1,5}", broker) for broker in text.split(",")):
        raise ValueError("write host:port, or several with commas and no space between them")
    return text


DatabaseUrl = Annotated[str, Is("URL", secret=True), AfterValidator(_database)]
HttpUrl = Annotated[str, Is("URL"), AfterValidator(_http)]
PathOfFile = Annotated[str, Is("path of a file")]
Partitions = Annotated[
    int, Is(unit="partitions"), Field(ge=1, le=1024, description="partitions of the scans log; fixed when the installation is made")
]
Connections = Annotated[int, Is(unit="connections"), Field(le=64)]


class Settings(BaseModel):
    """Field names are the variables' names, lower case, without the prefix."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServiceSettings(Settings):
    """Every API and every worker."""

    database_url: DatabaseUrl = Field(description="PostgreSQL, as the service's app role: postgresql://user:password@host:port/name")
    kafka_bootstrap: Annotated[str, Is("host:port, …"), AfterValidator(_brokers)] = Field(
        description="Kafka brokers, host:port[,host:port]"
    )
    partitions: Partitions = 8
    jwks: Annotated[str, Is("path of a file, or URL")] = Field(
        description="public keys that tokens are verified with: a JWKS file, or the https URL of an OIDC issuer's key set"
    )
    issuer: str = Field("tongcun-local", description="`iss` that tokens must carry")
    host: Annotated[str, Is("address")] = Field("127.0.0.1", description="address that the process listens on")
    port: Annotated[int, Is(unit="TCP port")] = Field(
        0, ge=0, le=65535, description="port that an API listens on, and that a worker serves its health and metrics on (0: none)"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")


class MigrateSettings(Settings):
    """Of every migrate step."""

    owner_database_url: DatabaseUrl = Field(
        description="PostgreSQL, as the service's owner role: postgresql://user:password@host:port/name"
    )


S = TypeVar("S", bound=Settings)


def variable(name: str) -> str:
    return PREFIX + name.upper()


def read(cls: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Build the settings from an environment. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    refuse_unknown(environ)
    values = {name: value for name in cls.model_fields if (value := _given(variable(name), environ)) is not None}
    try:
        return cls.model_validate(values)
    except ValidationError as e:
        raise SettingsError(_line(cls, e)) from None  # without the cause, which holds the values


def refuse_unknown(environ: Mapping[str, str]) -> None:
    """A misspelt name would otherwise leave the default in force, in silence. Raises SettingsError."""
    known = {variable(name) for name in NAMES}
    known |= {name + IN_FILE for name in known} | OTHERS.keys()
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and not name.startswith(OF_TESTS):
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.8)
            raise SettingsError(f"{name} is no setting of Tongcun: " + (f"did you mean {near[0]}?" if near else "remove it"))


def _given(name: str, environ: Mapping[str, str]) -> str | None:
    """The value, from either place; None where it is in neither."""
    source = name + IN_FILE
    if name in environ and source in environ:
        raise SettingsError(f"{name} is given twice, as a value and as a file ({source}): keep one of them")
    value = _content(source, environ[source]) if source in environ else environ.get(name)
    if value == "":
        raise SettingsError(f"{source if source in environ else name} is empty: give it a value, or remove it")
    return value


def _content(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise SettingsError(f"{name} names a file of more than {MAX_FILE_BYTES} bytes, which is no setting: {path}")
        return content.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"{name} names a file that cannot be read: {path} ({e.__class__.__name__})") from None


def _line(cls: type[Settings], invalid: ValidationError) -> str:
    """The first mistake; never the value, which may be a secret."""
    mistake = invalid.errors()[0]
    said = str(mistake["ctx"]["error"]) if mistake["type"] == "value_error" else mistake["msg"]
    if not mistake["loc"]:  # two settings that contradict each other
        return said
    name = str(mistake["loc"][0])
    about = cls.model_fields[name].description
    return f"{variable(name)} is not set: {about}" if mistake["type"] == "missing" else f"{variable(name)}: {said} ({about})"


def load(cls: type[S]) -> S:
    """The settings, or one line on standard error and exit code 2."""
    try:
        return read(cls)
    except SettingsError as e:
        sys.stderr.write(f"{e}\n")
        raise SystemExit(2) from None
