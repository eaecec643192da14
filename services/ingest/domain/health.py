"""How a feed is doing, told from its last hour. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple

LEAST_PUSHES = 5  # of which half refused is a failure
LEAST_EVENTS = 20
FAILING, DEGRADED = 0.5, 0.05
AHEAD = timedelta(minutes=5)


class LastHour(NamedTuple):
    """`skew`: the newest scan of a push before its receipt, at most; None: nothing could be read."""

    pushes: int
    refused: int
    events: int
    rejected: int
    skew: timedelta | None


def status_of(mode: str, last_push_at: datetime | None, silence_after_s: int, hour: LastHour, now: datetime) -> tuple[str, list[str]]:
    """-> (ok, silent, degraded or failing; reason codes)."""
    if mode == "paused":
        return "ok", ["paused"]
    failing = [
        *(["refused"] if hour.pushes >= LEAST_PUSHES and hour.refused > FAILING * hour.pushes else []),
        *(["rejected"] if hour.events >= LEAST_EVENTS and hour.rejected > FAILING * hour.events else []),
    ]
    if failing:
        return "failing", failing
    if last_push_at is None or now - last_push_at > timedelta(seconds=silence_after_s):
        return "silent", ["silence"]
    degraded = [
        *(["refused"] if hour.refused > DEGRADED * hour.pushes else []),
        *(["rejected"] if hour.rejected > DEGRADED * hour.events else []),
        *(["clock_ahead"] if hour.skew is not None and hour.skew > AHEAD else []),
    ]
    return ("degraded", degraded) if degraded else ("ok", [])
