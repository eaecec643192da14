"""The whole platform on one machine: keys, databases, migrations, three APIs and three workers under one supervisor.

Nothing here knows what a parcel is. `kill -9` of anything, of this process too, loses nothing: what an API acknowledged is in PostgreSQL,
what a worker had not committed it does again, and the next start sweeps up and recovers.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.embedded.installation import HOST, SERVICES, Installation, is_free, write_whole
from deploy.embedded.runtime import Runtime, embedded
from deploy.embedded.supervisor import CannotStart, Child, last_words, leashed, open_log
from shared import auth, keyring

ROOT = Path(__file__).resolve().parent.parent
PORT_BASE = 8101
PARTITIONS = 8  # of the scans log; fixed when the installation is made
READY_WITHIN_S = 60.0
MIGRATED_WITHIN_S = 120.0
DAY_S = 86_400
ISSUER_KEY = "TONGCUN_ISSUER_KEY"
WITH_KEYRING = ("ingest", "registry")  # they keep what is encrypted
READY_TOKENS = ("auditor", "coordinator", "dashboard", "admin")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Elsewhere:
    """A platform that this program did not start: the APIs' addresses by service, and the issuer's key."""

    urls: dict[str, str]
    issuer: Path

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Elsewhere | None":
        """From TONGCUN_ISSUER_KEY and TONGCUN_INGEST_URL, …_REGISTRY_URL, …_SUBSIDY_URL. Raises CannotStart where some are missing."""
        if ISSUER_KEY not in environ:
            return None
        names = {service: f"TONGCUN_{service.upper()}_URL" for service in SERVICES}
        if missing := [name for name in names.values() if name not in environ]:
            raise CannotStart(f"{ISSUER_KEY} is set and {missing[0]} is not: give both / 请同时设置 {missing[0]}")
        return cls({service: environ[name].rstrip("/") for service, name in names.items()}, Path(environ[ISSUER_KEY]))


@dataclass(frozen=True)
class Access:
    """How to reach a platform from here: its addresses and the issuer's key, those of `elsewhere` or of the installation on this machine.

    Raises CannotStart where it has none. `installation`: where we keep what we are told, like a feed's secret.
    """

    installation: Installation
    elsewhere: Elsewhere | None = None

    @property
    def urls(self) -> dict[str, str]:
        if self.elsewhere:
            return self.elsewhere.urls
        ports = self.installation.ports
        if missing := [s for s in SERVICES if s not in ports]:
            raise CannotStart(
                f"nothing was ever started in {self.installation.var} (no {missing[0]}): run ./tongcun up / 尚未启动过,请先启动"
            )
        return {service: f"http://{HOST}:{ports[service]}" for service in SERVICES}

    def token(self, role: str, *, subject: str | None = None, ttl_s: int = DAY_S, claim: tuple[str, str] | None = None) -> str:
        """`subject`: who acts; by default somebody of that role here, so that two roles are two persons."""
        path = self.elsewhere.issuer if self.elsewhere else self.installation.secrets / "issuer.pem"
        try:
            pem = path.read_text()
        except OSError:
            raise CannotStart(f"no issuer key in {path.parent}: ./tongcun up makes it at its first start / 没有签发密钥,请先启动") from None
        return auth.issue(pem, subject=subject or f"local-{role}", roles=[role], ttl_s=ttl_s, claim=claim)

    def bearer(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role)}"}


def make_keys(installation: Installation) -> None:
    """At the first start: the issuer's key pair and the keyring. Afterwards a missing keyring is a reason to stop, not to make another."""
    issuer, keys, done = installation.secrets / "issuer.pem", keyring_path(installation), installation.var / "installed"
    if done.exists() and not keys.exists():
        raise CannotStart(
            f"the keyring {keys} is missing, and what is stored cannot be read without it: restore it from your backup, or begin anew "
            "with ./tongcun reset / 密钥环丢失,请从备份恢复;若要重新开始,请运行 ./tongcun reset"
        )
    if not keys.exists():
        keyring.create(keys)
    if not issuer.exists():
        private, public = auth.generate_keys()
        write_whole(jwks_path(installation), public)
        write_whole(issuer, private, mode=0o600)
    keyring.Keyring.load(keys)
    write_whole(done, "1")


def keyring_path(installation: Installation) -> Path:
    return installation.secrets / "keyring.json"


def jwks_path(installation: Installation) -> Path:
    return installation.var / "jwks.json"


@contextlib.asynccontextmanager
async def platform(
    var: Path, *, port_base: int | None = None, scan_partitions: str = f"0-{PARTITIONS - 1}", say: Say = print
) -> AsyncIterator[Access]:
    """Everything ready, until the block ends. `port_base`: ingest's port, registry and subsidy follow; None: free ports.

    Raises CannotStart, one line for the operator.
    """
    ports = [(service, port_base + i if port_base else None) for i, service in enumerate(SERVICES)]
    for service, port in ports:  # before anything is started
        if port and not is_free(port):
            raise CannotStart(
                f"{service}: port {port} is taken; stop what listens there, or choose others with --port-base "
                f"/ 端口 {port} 已被占用,可用 --port-base 另选"
            )
    async with embedded(var, say) as runtime:
        installation = runtime.installation
        make_keys(installation)
        for service, port in ports:
            installation.choose_port(service, port)
            installation.choose_port(f"{service}-worker")
        await asyncio.gather(*(_migrate(runtime, service) for service in SERVICES))
        for child in _children(runtime, scan_partitions):
            await runtime.supervisor.start(child)
        async with httpx.AsyncClient(timeout=5) as client:
            names = [f"{service}-{kind}" for service in SERVICES for kind in ("api", "worker")]
            await asyncio.gather(*(_ready(runtime, client, name) for name in names))
        yield Access(installation)


async def _migrate(runtime: Runtime, service: str) -> None:
    """Schema and first contents, as the owner role; its last line says why not."""
    log_path = runtime.installation.log / f"{service}-migrate.log"
    with open_log(log_path) as log:
        start = log.tell()
        process = await asyncio.create_subprocess_exec(
            *leashed([sys.executable, "-m", f"services.{service}.migrate"], None, signal.SIGKILL),
            env=_environment(runtime, service)
            | {"TONGCUN_OWNER_DATABASE_URL": runtime.installation.dsn(service, "owner")}
            | ({"TONGCUN_KEYRING": str(keyring_path(runtime.installation))} if service in WITH_KEYRING else {}),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(MIGRATED_WITHIN_S):
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if code:
        raise CannotStart(f"{service}: the database could not be prepared: {last_words(log_path, start)} (log / 日志: {log_path})")


def _environment(runtime: Runtime, service: str) -> dict[str, str]:
    """What each process of a service is told: of the caller's environment only where to find programs and how to die in a test."""
    installation = runtime.installation
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "TONGCUN_FAILPOINT") if name in os.environ}
    return kept | {
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "TONGCUN_DATABASE_URL": installation.dsn(service, "app"),
        "TONGCUN_KAFKA_BOOTSTRAP": runtime.broker.bootstrap,
        "TONGCUN_PARTITIONS": str(PARTITIONS),
        "TONGCUN_JWKS": str(jwks_path(installation)),
    }


def _children(runtime: Runtime, scan_partitions: str) -> list[Child]:
    """APIs first: the workers report to them."""
    access = Access(runtime.installation)
    service_token = access.token("service", subject="subsidy-worker", ttl_s=365 * DAY_S)
    write_whole(runtime.installation.secrets / "service-token", service_token, mode=0o600)
    extra: dict[str, dict[str, str]] = {
        **{f"{service}-api": {"TONGCUN_KEYRING": str(keyring_path(runtime.installation))} for service in WITH_KEYRING},
        "subsidy-worker": {
            "TONGCUN_INGEST_URL": access.urls["ingest"],
            "TONGCUN_REGISTRY_URL": access.urls["registry"],
            "TONGCUN_SERVICE_TOKEN_FILE": str(runtime.installation.secrets / "service-token"),
            "TONGCUN_SCAN_PARTITIONS": scan_partitions,
        },
    }
    return [_child(runtime, service, kind, extra.get(f"{service}-{kind}", {})) for kind in ("api", "worker") for service in SERVICES]


def _child(runtime: Runtime, service: str, kind: str, extra: dict[str, str]) -> Child:
    name = f"{service}-{kind}"
    port = runtime.installation.ports[service if kind == "api" else name]
    return Child(
        name=name,
        argv=[sys.executable, "-m", f"services.{service}.{kind}"],
        env=_environment(runtime, service) | {"TONGCUN_PORT": str(port)} | extra,
        log_path=runtime.installation.log / f"{name}.log",
        cwd=ROOT,
    )


async def _ready(runtime: Runtime, client: httpx.AsyncClient, name: str) -> None:
    service, _, kind = name.partition("-")
    url = f"http://{HOST}:{runtime.installation.ports[service if kind == 'api' else name]}"

    async def answers() -> bool:
        # somebody else may have taken the port since we looked, and be ready, too
        return (await readiness(client, url))[0] and (kind != "api" or (await client.get(f"{url}/")).json()["service"] == service)

    await runtime.supervisor.until(name, answers, READY_WITHIN_S)


async def readiness(client: httpx.AsyncClient, url: str) -> tuple[bool, str]:
    """Whether `/readyz` says yes, and if not, why."""
    try:
        answer = await client.get(f"{url}/readyz")
    except httpx.HTTPError:
        return False, "does not answer / 无应答"
    if answer.status_code == httpx.codes.OK:
        return True, ""
    with contextlib.suppress(json.JSONDecodeError, KeyError, AttributeError):
        return False, "; ".join(f"{name}: {why}" for name, why in answer.json()["checks"].items() if why != "ok")
    return False, f"HTTP {answer.status_code}"


@contextlib.contextmanager
def until_signal() -> Iterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets; a second one is left to the default, for whoever is in a hurry."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def first(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
