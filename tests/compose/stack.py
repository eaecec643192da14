"""The stack of docker-compose.yml as an operator runs it: `docker compose …` from the root, in a project of the test's own."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.databases import SERVICES
from deploy.embedded.installation import Installation, free_port
from deploy.platform import Access, Elsewhere

ROOT = Path(__file__).parents[2]
SERVERS = (
    "postgres", "kafka", "ingest-api", "registry-api", "subsidy-api", "ingest-relay", "registry-relay", "subsidy-worker",
)  # fmt: skip
COMMAND_WITHIN_S = 300.0
TOPICS = "/opt/kafka/bin/kafka-topics.sh"
GROUPS = "/opt/kafka/bin/kafka-consumer-groups.sh"


NOT_POSSIBLE = 69  # EX_UNAVAILABLE: no failure of a test ends like this


def require_engine() -> None:
    """Ends the whole run, in one line, where nothing of it can be tested."""
    asked = subprocess.run(["deploy/compose/possible"], cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.exit(asked.stderr.strip(), NOT_POSSIBLE)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass
class Stack:
    """`home`: where its secrets, its .env and what we keep of it are."""

    home: Path
    project: str
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, home: Path) -> "Stack":
        ports: set[int] = set()
        for _ in SERVICES:
            ports.add(free_port(ports))
        chosen = {f"TONGCUN_{service.upper()}_PORT": str(port) for service, port in zip(SERVICES, sorted(ports), strict=True)}
        (home / "env").touch()
        return cls(
            home,
            f"tongcun-test-{os.getpid()}",
            chosen | {"TONGCUN_SECRETS": str(home / "secrets"), "COMPOSE_ENV_FILES": str(home / "env")},
        )

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def access(self) -> Access:
        urls = {service: f"http://127.0.0.1:{self.environment[f'TONGCUN_{service.upper()}_PORT']}" for service in SERVICES}
        return Access(Installation(self.home), Elsewhere(urls, self.secrets / "issuer.pem"))

    def run(self, *command: str, within_s: float = COMMAND_WITHIN_S, environment: dict[str, str] | None = None) -> Ran:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TONGCUN_")}
        ours = {"COMPOSE_PROJECT_NAME": self.project, "COMPOSE_PROGRESS": "quiet"} | self.environment
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env=kept | ours | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def compose(self, *arguments: str, **changed: str) -> Ran:
        return self.run("docker", "compose", *arguments, environment=changed)

    def must(self, *arguments: str, **changed: str) -> str:
        """-> its output; the command has to succeed."""
        ran = self.compose(*arguments, **changed)
        assert ran.code == 0, f"docker compose {' '.join(arguments)}: {ran.said}"
        return ran.out

    def up(self, *arguments: str) -> None:
        """As the README says it."""
        ran = self.compose("up", "-d", "--wait", *arguments)
        assert ran.code == 0, ran.said + self.compose("ps", "-a").out + self.compose("logs", "--tail=20").out

    def refused(self, service: str, **changed: str) -> str:
        """`up` must fail because `service` does -> the one line that it left."""
        since = self.run("date", "-u", "+%Y-%m-%dT%H:%M:%S.%NZ").out.strip()
        ran = self.compose("up", "-d", "--wait", **changed)
        assert ran.code != 0, "it started all the same"
        assert f'service "{service}" didn\'t complete successfully: exit 2' in ran.said, ran.said
        lines = self.must("logs", "--no-log-prefix", "--since", since, service, **changed).strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def container(self, service: str, number: int = 1) -> dict[str, Any]:
        """What `docker inspect` says."""
        found: list[dict[str, Any]] = json.loads(self.run("docker", "inspect", f"{self.project}-{service}-{number}").out)
        return found[0]

    def running(self) -> set[str]:
        return set(self.must("ps", "--services", "--status", "running").split())

    def topics(self, *arguments: str) -> str:
        return self.must("exec", "-T", "kafka", TOPICS, "--bootstrap-server", "kafka:9092", *arguments)

    def groups(self, *arguments: str) -> str:
        return self.must("exec", "-T", "kafka", GROUPS, "--bootstrap-server", "kafka:9092", *arguments)

    def in_volume(self, volume: str, script: str) -> Ran:
        """A shell command beside the data of a volume, which is at /data."""
        mount = f"{self.project}_{volume}:/data"
        return self.run("docker", "run", "--rm", "--network", "none", "--user", "0:0", "-v", mount, "tongcun:0.1.0", "sh", "-c", script)

    def remove(self) -> None:
        """The whole of it, volumes too; `.env` is needed to say so."""
        self.compose("--profile", "tools", "down", "--volumes", "--remove-orphans", "--timeout", "20", TONGCUN_CLUSTER_ID="removed")
