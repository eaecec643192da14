"""Apache Kafka in the place of the embedded broker, under the same supervisor: `TONGCUN_BROKER=kafka` (deploy/embedded/runtime.py)."""

import asyncio

from deploy.embedded.broker import NAME, Broker
from deploy.embedded.supervisor import GRACEFUL, Child
from deploy.kafka.node import Node

READY_WITHIN_S = 60.0


class ApacheKafka(Broker):
    """Unlike the embedded one it keeps what was acknowledged when it is killed and started anew; `restart` still bears it again empty."""

    keeps = True
    ready_within_s = READY_WITHIN_S
    _node: Node

    async def _child(self, port: int) -> Child:
        controller = self._installation.choose_port("broker-controller")
        self._node = Node(self._installation.var / "broker", self.cluster_id, port, controller)
        await asyncio.to_thread(self._node.prepare)
        return Child(
            name=NAME,
            argv=self._node.command,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            log_path=self._installation.log / "broker.log",
            cwd=self._installation.run,
            stop=GRACEFUL,
        )

    def _forget(self) -> None:
        self._node.forget()
