"""One API in several processes, for what one core cannot take: each listens at the same address, on a socket of its own.

uvicorn's supervisor starts, watches and replaces them. On one socket that all of them share, whoever wakes first would take every
connection; where each has its own, the kernel spreads them (`SO_REUSEPORT`; on macOS the last to come gets all).
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import tempfile
from typing import Any, cast

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from shared.process import DRAIN_S, CannotRun, listen
from shared.settings import ServiceSettings
from shared.telemetry import SHARED_METRICS


def serve(application: str, settings: ServiceSettings, processes: int, trusted_proxies: str) -> None:
    """Until a signal, as `process.serve`. `application`: `module:function` of what makes the API, in each process anew."""
    listen(settings.host, settings.port).close()  # somebody else's port is not to be shared
    config = uvicorn.Config(
        application,
        factory=True,
        workers=processes,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        forwarded_allow_ips=trusted_proxies,
    )
    with tempfile.TemporaryDirectory(prefix="tongcun-metrics-") as metrics:
        os.environ[SHARED_METRICS] = metrics
        supervisor = Multiprocess(config, cast(Any, [_Listening(settings.host, settings.port)]))
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise CannotRun("the application did not start: see the lines above")


class _Listening:
    """A socket that is made where it is unpickled: one that the parent had, too, would go on taking connections for a dead child."""

    def __init__(self, host: str, port: int) -> None:
        self._where = host, port

    def __reduce__(self) -> tuple[Any, ...]:
        return _listen_beside, self._where


def _listen_beside(host: str, port: int) -> socket.socket:
    return listen(host, port, beside_others=True)


def end_with_parent() -> None:
    """Called in each process: nobody would replace an orphan, and it would hold the port."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(parent.sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(parent.sentinel, end)
