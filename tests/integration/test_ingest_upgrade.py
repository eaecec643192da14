"""A database of an older version is brought up to date with what is in it."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import asyncpg
import msgspec
from alembic import command

from deploy.embedded.installation import Dsns
from services.ingest import reading
from shared.db import Database
from shared.migrations import config

ITEMS = [
    {"index": 0, "verdict": "accepted", "event_id": "6f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e", "code": None, "pointer": None},
    {"index": 1, "verdict": "rejected", "event_id": None, "code": "field.missing", "pointer": '/events/1/"\\'},
    {"index": 2, "verdict": "duplicate", "event_id": "6f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e", "code": None, "pointer": None},
    {"index": 3, "verdict": "rejected", "event_id": None, "code": "time.unreadable", "pointer": "/events/3/scanned_at"},
    {"index": 4, "verdict": "conflict", "event_id": "0f0c1d2e-7a41-8b0e-9c55-1f2a3b4c5d6e", "code": None, "pointer": None},
]
EVERYBODY = (None, None)
PUSH = """
insert into push select $1, 'old', 'live', 'canonical', now(), current_date, 'jwt', '\\x00', 'k', '\\x00', $2, $3, $4, $5, 0, $6, $7
"""


async def test_receipts_of_the_first_version_are_told_as_they_were(make_database: Callable[[str], Awaitable[Dsns]]) -> None:
    dsns = await make_database("ingest")
    await asyncio.to_thread(command.upgrade, config("ingest", dsns.owner), "20261124_01")
    owner = await asyncpg.connect(dsns.owner)
    await owner.execute("insert into feed select 'old', 'canonical', '{zto}', null, 'live', 7200")
    await owner.execute(PUSH, "rcp_aa", 5, 1, 1, 1, 2, json.dumps(ITEMS).encode())
    await owner.execute(PUSH, "rcp_bb", 0, 0, 0, 0, 0, b"[]")
    await owner.close()
    await asyncio.to_thread(command.upgrade, config("ingest", dsns.owner), "head")
    database = await Database(dsns.app, max_size=1).open()
    async with database.read() as read:
        receipts = [await reading.receipt(read, name, EVERYBODY) for name in ("rcp_aa", "rcp_bb")]
        page = await reading.completeness(read, (None, None), None, EVERYBODY, None, 10)
    await database.close()
    assert [msgspec.to_builtins(receipt["items"]) for receipt in receipts] == [ITEMS, []]
    assert [(day.events.received, day.balanced) for day in page.items] == [(5, True)]
