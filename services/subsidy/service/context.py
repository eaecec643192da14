"""What stands behind the evidence, kept in memory by a worker: directory, policies, closed periods."""

import asyncio
from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import asyncpg

from services.subsidy.domain.policy import Policies
from services.subsidy.domain.policy_file import load
from services.subsidy.repository import said, standing
from shared.calendar import month_of, next_month
from shared.db import Read
from shared.standing import Directory


class Context:
    """True for one version of partition −1; whoever holds the gate can rely on it until the commit."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.policies = Policies()
        self.closed_through: str | None = None  # the last month that takes no more lines
        self.anything_said = False  # whether people have said anything of any parcel
        self.registry_revision: int | None = None  # last position applied
        self._version: int | None = None
        self._refreshing = asyncio.Lock()

    async def refresh(self, read: Read, version: int, next_position: int) -> None:
        """Take what was added since `version` was another. Only under the gate: nothing can be added meanwhile."""
        if version == self._version:
            return
        async with self._refreshing:
            if version == self._version:
                return
            known = -1 if self.registry_revision is None else self.registry_revision
            for record in await standing.snapshots(read, known, next_position - 1):
                self.directory.put(record)
            self.policies = policies_of(await standing.policies(read))
            self.closed_through = await standing.closed_through(read)
            self.anything_said = self.anything_said or await said.anything(read)
            self.registry_revision = next_position - 1 if next_position else None
            self._version = version


def policies_of(rows: Sequence[asyncpg.Record]) -> Policies:
    return _policies(tuple(r["document"] for r in rows))


@lru_cache(maxsize=8)
def _policies(documents: tuple[str, ...]) -> Policies:
    """Reading a policy tries its conditions over all facts, and its decisions are kept with it: once for each set of documents."""
    return Policies(load(document.encode()) for document in documents)


def posting_period(service_date: date, closed_through: str | None) -> str:
    """The service month if open, else the next open month after it (design §5.6). A month is closed with every month before it."""
    month = month_of(service_date)
    return month if closed_through is None or month > closed_through else next_month(closed_through)
