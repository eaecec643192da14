"""Follow: tell the writer each second where we are, keep the watermark and the lag, and notice when nothing moves."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import datetime

import asyncpg
import structlog

from shared import kafka
from shared.db import LOST, Database
from shared.log import metrics
from shared.log.errors import PartitionMismatch, ReportFailed, Stalled
from shared.log.report import REPORT_S, Position, Report, Reporter
from shared.log.running import over, pause

log = structlog.get_logger(__name__)

EVERY_S = 1.0
RENEW_S = 15  # a Kafka client that brings nothing for this long, though there is more and the broker answers, is thrown away
STALLED_S = 30  # then the process ends
NOT_HEARD: tuple[type[BaseException], ...] = (ReportFailed, *LOST)
MAX_PENDING = 600  # heads that wait to be reached; thinned out beyond

PLACES = "select partition, next_position, chain, kafka_offset, asks, version from consumed where topic = $1 order by 1"
# Only a reader that has taken nothing and knows no origin takes one on; the version tells its worker to look again.
ADOPT = """
update consumed c set chain = o.origin, version = version + 1
from unnest($2::bytea[]) with ordinality o(origin, n)
where c.topic = $1 and c.partition = o.n - 1 and c.chain is null and c.next_position = 0
"""
RAISE_WATERMARK = """
insert into watermark as w (topic, reached) values ($1, $2)
on conflict (topic) do update set reached = excluded.reached where w.reached < excluded.reached
"""


class Watermark:
    """Heads that the writer has told, until we have reached them all. Pure.

    They count as reached only at a later report, once the writer has found our chain in its log: positions alone put the watermark
    ahead of the truth after a writer was restored from an older copy.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[datetime, list[int]]] = []

    def heard(self, positions: Sequence[int], report: Report) -> datetime | None:
        """-> the newest moment whose heads our `positions`, just confirmed, have reached; then remember the report's own heads."""
        if report.parted:
            self._pending.clear()
            return None
        reached = [p for p in self._pending if all(at >= head for at, head in zip(positions, p[1], strict=True))]
        self._pending = [p for p in self._pending if p not in reached]
        self._pending.append((report.now, report.heads))
        if len(self._pending) > MAX_PENDING:
            del self._pending[1::2]
        return max((now for now, _ in reached), default=None)


class Follower:
    """What one consumer knows from its writer, and the watchdog over its Kafka client."""

    def __init__(self, database: Database, bootstrap: str, topic: str, report: Reporter, partitions: Sequence[int] | None) -> None:
        """Without `partitions` a consumer group gives them, and while it gives none, whether all of them move is everybody's business."""
        self._database, self._bootstrap, self._topic, self._report = database, bootstrap, topic, report
        self.ours: frozenset[int] | None
        self.ours = self._before_turn = None if partitions is None else frozenset(partitions)
        self._watermark = Watermark()
        self._moved: dict[int, tuple[object, float]] = {}  # partition: (where it was, since when)
        self._renewed_at = time.monotonic()
        self._renew = False
        self.published: dict[int, int] = {}
        self.answered_at = 0.0  # the broker's last sign of life
        self.diverged: dict[int, str] = {}
        self.healthy = True

    async def session(self, stop: asyncio.Event) -> None:
        while not over(stop):
            places = await self._database.pool.fetch(PLACES, self._topic)
            try:
                async with asyncio.timeout(REPORT_S):
                    report = await self._report([_position(place) for place in places])
            except NOT_HEARD as fault:  # the writer is down: what Kafka has is taken all the same
                metrics.REPORTS_FAILED.labels(self._topic).inc()
                log.warning("consumer.report_failed", topic=self._topic, fault=repr(fault)[:300])
            else:
                await self._heard(places, report)
            await self._watch(places)
            await pause(stop, EVERY_S)

    async def _heard(self, places: Sequence[asyncpg.Record], report: Report) -> None:
        if len(report.heads) != len(places):
            raise PartitionMismatch(f"{self._topic}: the writer has {len(report.heads)} partitions, we {len(places)}")
        if report.parted:
            log.error("consumer.parted", topic=self._topic, partitions=report.parted, what="the writer's history is not ours")
        self.published = dict(enumerate(report.published))
        for place, head in zip(places, report.heads, strict=True):
            metrics.LAG.labels(self._topic, place["partition"]).set(head - place["next_position"])
        if any(place["chain"] is None for place in places):
            async with self._database.write() as tx, self._database.unblocked(tx):
                await tx.execute(ADOPT, self._topic, [bytes.fromhex(origin) for origin in report.origins])
        if reached := self._watermark.heard([place["next_position"] for place in places], report):
            async with self._database.write() as tx, self._database.unblocked(tx):
                await tx.execute(RAISE_WATERMARK, self._topic, reached)
            metrics.WATERMARK.labels(self._topic).set(reached.timestamp())

    async def _watch(self, places: Sequence[asyncpg.Record]) -> None:
        now = time.monotonic()
        for place in places:
            partition, here = place["partition"], (place["next_position"], place["kafka_offset"], place["version"])
            idle = self.published.get(partition, 0) <= place["next_position"]
            if self.ours is not None and partition not in self.ours:
                self._moved.pop(partition, None)
            elif idle or partition in self.diverged or self._moved.get(partition, (None,))[0] != here:
                self._moved[partition] = here, now
        still_s = max((now - since for _, since in self._moved.values()), default=0)
        if still_s and not await kafka.answers(self._bootstrap):  # then nobody can have anything, and no patience ends
            self._moved, still_s = {}, 0
        elif still_s:
            self.answered_at = max(self.answered_at, now)
        self.healthy = still_s <= STALLED_S
        if not self.healthy:
            raise Stalled(f"consumer of {self._topic}: nothing moved for {still_s:.0f} s though the broker answers")
        if min(still_s, now - self._renewed_at) > RENEW_S:
            self._renew = True

    async def until_renewed(self, stop: asyncio.Event) -> None:
        """Beside the partitions of one Kafka client: raises when that client is to be thrown away."""
        self._renew, self._renewed_at = False, time.monotonic()
        while not over(stop):
            if self._renew:
                raise TimeoutError(f"the Kafka client brought nothing of {self._topic} for {RENEW_S} s: it is made anew")
            await pause(stop, EVERY_S)

    @contextlib.contextmanager
    def following(self, partitions: frozenset[int]) -> Iterator[None]:
        """During a turn; it looks at every partition anew, and its client has RENEW_S from now on, however long it took to join."""
        for partition in self.diverged:
            metrics.DIVERGED.labels(self._topic, partition).set(0)
        self.diverged.clear()
        self.ours, self._renewed_at = partitions, time.monotonic()
        try:
            yield
        finally:
            self.ours = self._before_turn

    def set_diverged(self, partition: int, why: str) -> None:
        log.error("consumer.diverged", topic=self._topic, partition=partition, why=why, what="stands until the log has been repaired")
        metrics.DIVERGED.labels(self._topic, partition).set(1)
        self.diverged[partition] = why


def _position(place: asyncpg.Record) -> Position:
    chain = place["chain"]
    return Position(place["partition"], place["next_position"], chain.hex() if chain else None, place["asks"])
