"""Group commit: pushes that arrive while a commit is under way share the next one. One commit at a time: two would be smaller, not sooner.

When a shared commit fails its pushes are committed one by one, so that a bad one fails alone. When its outcome is unknown (the answer
to COMMIT was lost) the receipts are looked up, never run again.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from services.ingest import repository
from services.ingest.accept import Draft, Receipt, accept
from services.ingest.domain.receipts import Counts, Kept, read
from shared import failpoints, telemetry
from shared.db import BLOCKED_S, LOST, Database
from shared.log import Closed

logger = structlog.get_logger(__name__)

MAX_PUSHES = 64  # of one commit
MAX_EVENTS = 3_200  # of one commit: beyond it a commit takes longer than a sender should wait for others
CROWD, GATHER_S = 8, 0.005  # where so many came together, the next commit waits so long for more: each costs its round trips once
MAX_WAITING = 1_024  # pushes: bodies in memory are bounded, the next one is told to come later
COMMIT_S = BLOCKED_S + 2  # a commit that takes longer is given up: past the wait for a row that somebody stopped in his tracks holds
LOOK_UP_S = 1
BREAK_S = 1.0  # after the database was lost: answer "later" at once, instead of letting everybody find out
DRAIN_S = 10

NOT_FOUND_OUT: tuple[type[BaseException], ...] = (*LOST, asyncpg.PostgresError)


class Later(Exception):
    """Nothing was stored and the sender may come again; `code` says why."""

    @property
    def code(self) -> str:
        return str(self.args[0])


@dataclass
class _Waiting:
    draft: Draft
    done: "asyncio.Future[Receipt]"

    def answer(self, receipt: Receipt) -> None:
        if not self.done.done():  # the sender may have gone
            self.done.set_result(receipt)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Committer:
    """Every push of this process passes through `commit`."""

    def __init__(self, database: Database, partitions: int) -> None:
        self._database, self.partitions = database, partitions
        self._queue: deque[_Waiting] = deque()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._limits: set[asyncio.Timeout] = set()  # of the commits under way
        self._broken_until = 0.0
        self._closing = False
        self._crowded = False  # whether many had come together at last

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Commit what waits, then end."""
        self._closing = True
        self._work.set()
        if self._task and (await asyncio.wait([self._task], timeout=DRAIN_S))[1]:
            self._task.cancel()

    @property
    def alive(self) -> bool:
        """Whether somebody commits; a task that has ended met an error that nobody foresaw."""
        return self._task is not None and not self._task.done()

    async def commit(self, draft: Draft) -> Receipt:
        """Raises Later when nothing was stored."""
        self.refuse_early()
        waiting = _Waiting(draft, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._work.set()
        return await waiting.done

    def refuse_early(self) -> None:
        """Raises Later when a commit could not succeed now."""
        if self._closing:
            raise Later("service.stopping")
        if self.broken:
            raise Later("database.unavailable")
        if len(self._queue) >= MAX_WAITING:
            raise Later("service.busy")

    @property
    def broken(self) -> bool:
        """Whether the database was just lost: nobody needs to find out again."""
        return time.monotonic() < self._broken_until

    def hangs(self, for_s: float) -> None:
        """PostgreSQL takes connections and does not answer: everybody hears "later" for so long, whoever waits for a commit now."""
        self._broken_until = time.monotonic() + for_s
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(0)

    def answers(self) -> None:
        """PostgreSQL does."""
        self._broken_until = 0.0

    async def _run(self) -> None:
        while True:
            if self._crowded and len(self._queue) < MAX_PUSHES:
                await asyncio.sleep(GATHER_S)
            if batch := self._take():
                self._crowded = len(batch) >= CROWD
                await self._commit_or_refuse(batch)
            elif self._closing:
                return
            else:
                self._work.clear()
                await self._work.wait()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        events = 0
        while self._queue and len(batch) < MAX_PUSHES and (not batch or events + len(self._queue[0].draft.items) <= MAX_EVENTS):
            events += len(self._queue[0].draft.items)
            batch.append(self._queue.popleft())
        return batch

    async def _commit_or_refuse(self, batch: Sequence[_Waiting]) -> None:
        """Whoever has queued before the database was lost does not find out by himself."""
        if not self.broken:
            await self._commit(batch)
            return
        for waiting in batch:
            waiting.fail(Later("database.unavailable"))

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            receipts = await self._transaction([w.draft for w in batch])
        except LOST as e:
            logger.warning("commit.unknown", pushes=len(batch), error=type(e).__name__)
            await self._look_up(batch)
        except Exception as e:  # every waiter gets it, alone
            await self._one_by_one(batch, e)
        else:
            telemetry.INGEST_COMMIT.observe(len(batch))
            for waiting, receipt in zip(batch, receipts, strict=True):
                waiting.answer(receipt)

    async def _transaction(self, drafts: Sequence[Draft]) -> list[Receipt]:
        async with self._limited(), self._database.write() as tx:
            receipts = await accept(self._database, tx, drafts, self.partitions)
            failpoints.hit("ingest.before_commit")
        failpoints.hit("ingest.after_commit")
        return receipts

    @contextlib.asynccontextmanager
    async def _limited(self) -> AsyncIterator[None]:
        async with asyncio.timeout(COMMIT_S) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)

    async def _one_by_one(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if len(batch) > 1:
            for waiting in batch:
                await self._commit([waiting])
            return
        if isinstance(error, Closed):
            batch[0].fail(Later("log.closed"))
        elif isinstance(error, asyncpg.PostgresError):  # rolled back: a full disk, a deadlock, a lock not had in time
            logger.error("commit.failed", error=type(error).__name__, sqlstate=error.sqlstate)
            batch[0].fail(Later("database.failed"))
        else:
            batch[0].fail(error)

    async def _look_up(self, batch: Sequence[_Waiting]) -> None:
        try:
            async with asyncio.timeout(LOOK_UP_S), self._database.read() as read:
                found = await repository.stored(read, [w.draft.receipt_id for w in batch])
        except NOT_FOUND_OUT:
            self._broken_until = max(self._broken_until, time.monotonic() + BREAK_S)
            found = {}
        for waiting in batch:
            kept = found.get(waiting.draft.receipt_id)
            if kept is None:  # not stored; or not yet seen, then the sender's next attempt is a duplicate
                waiting.fail(Later("database.unavailable"))
            else:
                waiting.answer(_receipt_of(waiting.draft, kept))


def _receipt_of(draft: Draft, kept: Kept) -> Receipt:
    items = read(kept)
    return Receipt(draft.receipt_id, draft.feed.feed, draft.received_at, Counts.of(items), items)
