"""Failpoints: a test makes a process kill itself at a named commit boundary, the n-th time that it passes there.

`TONGCUN_FAILPOINT=name:n` arms one; without it a failpoint costs one comparison. SIGKILL is the point: no handler, no flush.
"""

import os
import signal

_NAME, _, _COUNT = os.environ.get("TONGCUN_FAILPOINT", "").partition(":")
_left = int(_COUNT or 1)

# Every name that the code passes; tests iterate over this list, so that a new boundary is tested without being remembered.
NAMES = (
    "ingest.before_commit",
    "ingest.after_commit",
    "relay.before_send",
    "relay.after_send",
    "relay.after_advance",
    "worker.after_fetch",
    "worker.after_cas",
    "worker.before_commit",
    "worker.after_commit",
    "close.after_closing",
    "close.after_plan",
    "close.after_planned",
    "close.after_chunk",
    "close.after_step",
    "close.before_closed",
)


def hit(name: str) -> None:
    """Pass the boundary `name`; die here if the test has armed it and this is the n-th time."""
    global _left
    if name == _NAME:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
