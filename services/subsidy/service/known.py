"""As of when an answer is true: a revision of the books, and what stood behind the evidence then."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

from services.subsidy.domain.policy import Policies
from services.subsidy.repository import reads, set_aside, standing
from services.subsidy.service.context import policies_of
from shared.contracts.registry import TOPIC as REGISTRY_TOPIC
from shared.contracts.scan import TOPIC as SCANS_TOPIC
from shared.db import Database, Read
from shared.problems import invalid
from shared.standing import Directory

KEPT_DIRECTORIES = 4  # registry revisions in memory


class Known(NamedTuple):
    """One revision, and the snapshot of the database that shows it."""

    read: Read
    revision: int  # 0: nothing is recorded yet
    registry_revision: int | None
    latest: bool
    as_of: dict[str, Any]


async def cursor_key(database: Database) -> bytes:
    """The secret that all processes of this API sign cursors with."""
    key: bytes = await database.pool.fetchval(reads.CURSOR_KEY)
    return key


class Books:
    """The database, and what is worth keeping between requests."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._directories: OrderedDict[int, Directory] = OrderedDict()

    @asynccontextmanager
    async def known(self, known_at: datetime | None = None, pinned: int | None = None) -> AsyncIterator[Known]:
        """One snapshot for the whole answer. 422 for a cursor whose revision these books do not have."""
        async with self.database.read() as read:
            row = await reads.revision(read, known_at, pinned)
            if row is None and pinned:
                raise invalid(
                    "#query/cursor",
                    "cursor.invalid",
                    "游标不属于本系统，请从第一页重新开始。",
                    "This cursor is not of these books: begin with the first page.",
                )
            revision = row["revision"] if row else 0
            newest = await read.fetchrow(reads.LATEST)
            latest = newest is None or newest["revision"] == revision
            pending = await read.fetchval(reads.PENDING_NOW) if latest else await read.fetchval(reads.PENDING_THEN, revision)
            as_of = {
                "valid_at": None,
                "known_at": row["recorded_at"] if row else None,
                # what had been reached at a past revision is not kept; saying more than is known would be a lie
                "watermark": await read.fetchval(reads.WATERMARK, [SCANS_TOPIC, REGISTRY_TOPIC]) if latest else None,
                "revision": revision,
                "registry_revision": row["registry_revision"] if row else None,
                "pending_reassessments": pending,
                "set_aside": await read.fetchval(set_aside.COUNT, None if latest else revision),
            }
            yield Known(read, revision, as_of["registry_revision"], latest, as_of)

    async def directory(self, read: Read, registry_revision: int | None) -> Directory:
        """Everything that the registry had said by a revision of it."""
        revision = -1 if registry_revision is None else registry_revision
        if (kept := self._directories.get(revision)) is not None:
            self._directories.move_to_end(revision)
            return kept
        directory = Directory.of(await standing.snapshots(read, -1, revision))
        self._directories[revision] = directory
        while len(self._directories) > KEPT_DIRECTORIES:
            self._directories.popitem(last=False)
        return directory

    async def policies(self, read: Read, revision: int) -> Policies:
        """The policies that were active at a revision of the books."""
        return policies_of(await standing.policies(read, revision))
