"""One Apache Kafka node (KRaft: broker and controller in one process) on loopback: its directory, its settings, its command.

directory/server.properties   written anew at each start
directory/data/               formatted once; what was acknowledged is there again after a kill
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.installation import HOST
from deploy.embedded.supervisor import CannotStart
from deploy.kafka import jars

HEAP_MB = 512
TOOL_HEAP_MB = 128
FORMATTED = ("meta.properties", "bootstrap.checkpoint")  # what formatting leaves in data/; all else has happened since
TOOL_WITHIN_S = 60

# Everything that these do not name is Kafka's default, `auto.create.topics.enable=true` too: a client that still asks for a deleted topic
# then makes one with too few partitions, and the log must bear that.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "BROKER",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # one node can hold one copy
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # one machine: less to create and load at the first commit of an offset, and to hold in a small heap
    "offsets.topic.num.partitions": "1",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "group.initial.rebalance.delay.ms": "0",  # nobody else is on the way
    # a node that was killed may come back when the controller has given up its predecessor: 9 s by default
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
}


@dataclass(frozen=True)
class Node:
    """What it needs to be started; not whether it runs. `cluster_id`: 32 hexadecimal digits."""

    directory: Path
    cluster_id: str
    port: int
    controller_port: int

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def command(self) -> list[str]:
        """To be run as a child; SIGTERM ends it in order, a kill loses nothing that was acknowledged."""
        return [*java(HEAP_MB), "kafka.Kafka", str(self._properties)]

    def prepare(self) -> None:
        """Settings for these ports, and a formatted data directory. Takes a second or two the first time. Raises CannotStart."""
        self._data.mkdir(parents=True, exist_ok=True)
        ours = {
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "listeners": f"BROKER://{self.bootstrap},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"BROKER://{self.bootstrap}",
            "log.dirs": str(self._data),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in (SETTINGS | ours).items()))
        if not (self._data / FORMATTED[0]).exists():
            run("kafka.tools.StorageTool", "format", f"--cluster-id={self.cluster_id}", "--config", str(self._properties))

    def forget(self) -> None:
        """Empty when it starts again, with the same cluster id. Only while it does not run."""
        for path in self._data.iterdir():
            if path.name not in FORMATTED:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"


def group_lag(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """What `kafka-consumer-groups.sh --describe --group` shows (its class, without the script) -> lag by topic and partition."""
    table = run(
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", bootstrap, "--describe", "--group", group
    )
    rows = [line.split() for line in table.splitlines() if line.strip()]
    header = next((row for row in rows if "LAG" in row), [])
    if not header:
        raise CannotStart(f"no lag of {group} in: {table.strip() or 'nothing'}")
    topic, partition, lag = (header.index(name) for name in ("TOPIC", "PARTITION", "LAG"))
    return {(row[topic], int(row[partition])): int(row[lag]) for row in rows if row[0] == group}


def java(heap_mb: int, *options: str) -> list[str]:
    """The command up to the class, with what it logs on standard error: warnings and worse."""
    program = shutil.which("java") or "java"
    return [program, f"-Xmx{heap_mb}m", *options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", jars.class_path()]


def run(main_class: str, *arguments: str) -> str:
    """One of Kafka's own tools, to its end -> what it printed. Raises CannotStart with its last line."""
    tool = subprocess.run(
        [*java(TOOL_HEAP_MB, "-XX:TieredStopAtLevel=1"), main_class, *arguments],  # it lives for a second: not worth a second compiler
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TOOL_WITHIN_S, check=False,
    )  # fmt: skip
    if tool.returncode:
        said = (tool.stderr.strip() or tool.stdout.strip() or "it said nothing").splitlines()
        raise CannotStart(f"{main_class} {arguments[0]}: {said[-1]}")
    return tool.stdout
