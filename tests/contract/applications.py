"""The three APIs over databases of their own: `await BUILT["ingest"](dsns, directory)` -> (application, the issuer's private key)."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI

from deploy.embedded.installation import Dsns
from services.ingest import api as ingest
from services.ingest.migrate import install as install_ingest
from services.registry import api as registry
from services.registry.migrate import install as install_registry
from services.registry.settings import Settings as RegistrySettings
from services.subsidy import api as subsidy
from services.subsidy.migrate import install as install_subsidy
from services.subsidy.settings import POLICIES
from services.subsidy.settings import Settings as SubsidySettings
from shared import auth, keyring
from tests.ingest_support import NOWHERE, PARTITIONS, configured


async def of_ingest(dsns: Dsns, directory: Path) -> tuple[FastAPI, str]:
    await install_ingest(dsns.owner, PARTITIONS)
    private, settings = configured(directory, dsns)
    return ingest.build(settings), private


async def of_registry(dsns: Dsns, directory: Path) -> tuple[FastAPI, str]:
    await install_registry(dsns.owner)
    private, jwks = keys(directory)
    ring = directory / "keyring.json"
    keyring.create(ring)
    return registry.build(RegistrySettings(database_url=dsns.app, kafka_bootstrap=NOWHERE, jwks=jwks, keyring=str(ring))), private


async def of_subsidy(dsns: Dsns, directory: Path) -> tuple[FastAPI, str]:
    await install_subsidy(dsns.owner, PARTITIONS, POLICIES)
    private, jwks = keys(directory)
    return subsidy.build(SubsidySettings(database_url=dsns.app, kafka_bootstrap=NOWHERE, jwks=jwks)), private


def keys(directory: Path) -> tuple[str, str]:
    private, jwks = auth.generate_keys()
    (directory / "jwks.json").write_text(jwks)
    return private, str(directory / "jwks.json")


BUILT: dict[str, Callable[[Dsns, Path], Awaitable[tuple[FastAPI, str]]]] = {
    "ingest": of_ingest,
    "registry": of_registry,
    "subsidy": of_subsidy,
}
