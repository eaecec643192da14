"""Endless tasks: each ends with an exception on any fault and begins anew from what PostgreSQL says."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import ParamSpec, TypeVar

import structlog

from shared.log.errors import Stalled
from shared.log.metrics import RESTARTS

log = structlog.get_logger(__name__)

RESTART_S = 0.5
T = TypeVar("T")
P = ParamSpec("P")


def over(stop: asyncio.Event) -> bool:
    """Stopped, or cancelled: a library may swallow the cancellation (asyncio.wait_for before Python 3.12), and not the count of it."""
    task = asyncio.current_task()
    return stop.is_set() or (task is not None and task.cancelling() > 0)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not past the stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def guarded(work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """A future that a client cancels must not end us in silence: a task group ignores children that were cancelled."""
    try:
        return await work(*args, **kwargs)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        raise RuntimeError("a client has cancelled what we waited for") from None


async def supervise(stop: asyncio.Event, sessions: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    """Run all of them until the stop. Raises Stalled, and nothing else."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for name, session in sessions.items():
                tasks.create_task(_forever(name, session, stop))
    except* Stalled as group:
        raise group.exceptions[0] from None


async def _forever(name: str, session: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    while not over(stop):
        try:
            await guarded(session)
        except Stalled:
            raise
        except Exception as fault:  # whatever it was, nothing that counts stood in memory
            await again(name, fault, stop)
        else:
            await pause(stop, RESTART_S)


async def again(name: str, fault: BaseException, stop: asyncio.Event) -> None:
    """Say why something begins anew, and wait a little."""
    RESTARTS.labels(name).inc()
    log.warning("log.restarts", task=name, faults=_reasons(fault))
    await pause(stop, RESTART_S)


def _reasons(fault: BaseException) -> list[str]:
    if isinstance(fault, BaseExceptionGroup):
        return [reason for inner in fault.exceptions for reason in _reasons(inner)]
    return [repr(fault)[:300]]
