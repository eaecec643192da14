"""`make faults`: the whole platform under a county's month of pushes, anything killed at random, judged by the independent recomputation.

A sender does what couriers do: it pushes again until it is told that the push is stored. Then every acknowledged receipt must be found, no
scan may be missing from the log or the books, and not one fen may be doubled.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from deploy.client import Api, Refused
from deploy.demo import lade, wire
from deploy.demo.generator import month
from deploy.demo.recompute import recompute
from deploy.demo.run import SEED, Demo, settled
from deploy.demo.seed import seed, tell_what_was_unknown
from deploy.demo.send import Answer, Sender
from deploy.demo.show import Show
from deploy.platform import Access, platform
from tests.faults.harness import FIGURES, survived

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

KILLS = 300
BETWEEN_KILLS_S = (0.4, 2.0)
VICTIMS = ("ingest-api", "ingest-worker", "registry-worker", "subsidy-worker", "subsidy-api", "broker", "postgres")
SENDERS = 4
GIVE_UP_S = 600.0  # the supervisor waits longer before each start of what keeps dying: at this rate most of the time something is down
SETTLED_WITHIN_S = 180.0


@pytest.fixture
def directory() -> Iterator[Path]:
    """Open to the user that PostgreSQL runs under."""
    path = Path(tempfile.mkdtemp(prefix="tongcun-faults-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def stubborn(sender: Sender, letter: wire.Letter) -> Answer:
    """Push until it is stored."""
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        try:
            answer = await sender.send(letter)
            if answer.stored:
                return answer
        except Refused:
            answer = None
        assert time.monotonic() < deadline, f"{letter.feed}: not stored within {GIVE_UP_S} s: {answer}"
        await asyncio.sleep(0.2)


async def kill_at_random(access: Access, dice: random.Random, done: asyncio.Event) -> int:
    """-> how many were really killed."""
    killed = 0
    while killed < KILLS and not done.is_set():
        await asyncio.sleep(dice.uniform(*BETWEEN_KILLS_S))
        try:
            pid = json.loads((access.installation.run / f"{dice.choice(VICTIMS)}.pid").read_text())["pid"]
            os.kill(pid, signal.SIGKILL)
            killed += 1
        except (OSError, ValueError):
            continue  # it is just being started
    return killed


async def test_a_month_of_pushes_while_anything_is_killed(directory: Path) -> None:
    dice_seed = random.SystemRandom().randrange(10**6)
    receipts: list[str] = []
    async with platform(directory / "var", say=lambda _line: None) as access, httpx.AsyncClient(timeout=10) as http:
        demo = Demo(access, http, Show())
        seeded = await seed(demo.api("registry", "coordinator"), demo.api("registry", "postal"), demo.api("ingest", "admin"))
        july = month(seeded.county, lade.read(len(seeded.county.villages)), SEED)
        sender, done = Sender(http, access.urls["ingest"], seeded.secrets), asyncio.Event()
        first = list(wire.letters(july.first))
        letters = iter(first)
        pace_s = KILLS * sum(BETWEEN_KILLS_S) / 2 * SENDERS / len(first)  # the pushes last as long as the kills

        async def push() -> None:
            for letter in letters:
                await asyncio.sleep(pace_s)
                answer = await stubborn(sender, letter)
                assert answer.receipt_id
                receipts.append(answer.receipt_id)

        killing = asyncio.create_task(kill_at_random(access, random.Random(dice_seed), done))
        await asyncio.gather(*(push() for _ in range(SENDERS)))
        killed = await asyncio.wait_for(killing, KILLS * 2)
        pushed_at = time.monotonic()
        await settled_in_the_end(demo)
        await tell_what_was_unknown(demo.api("registry", "coordinator"), demo.api("registry", "postal"), seeded)
        for letter in wire.letters(july.late):
            await stubborn(sender, letter)
        await settled_in_the_end(demo)
        drained_s = time.monotonic() - pushed_at
        await every_receipt_is_found(demo.api("ingest", "auditor"), receipts)
        urls = access.urls
        report = await asyncio.to_thread(recompute, urls["ingest"], urls["registry"], urls["subsidy"], access.token("auditor"))
    assert report.differences == []
    told = {(p.brand, p.waybill_no) for p in july.parcels}
    assert told <= set(report.results), "a parcel that was acknowledged is not in the log"
    survived(f"whole platform, a month of pushes (seed {dice_seed})", killed, report.scan_positions, drained_s)


# Everything that ingest knows of pushes; one statement puts all of it back.
INGEST_TABLES = (
    "push", "quarantine", "quarantine_outcome", "again", "remapped", "body_dropped", "body_read", "manifest", "refused_push",
    "event_version", "event", "log_relay", "log_consumer", "log_head", "log",
)  # fmt: skip
RESTORE = (
    f"begin; truncate {', '.join(INGEST_TABLES)}; "
    + "".join(f"insert into {t} overriding system value table {t}_copy; " for t in INGEST_TABLES)
    + "commit"
)


async def test_ingests_database_put_back_to_an_older_copy(directory: Path) -> None:
    """What the books have beyond the copy, they keep; what ingest would say instead, they never take; and ingest says so to its senders."""
    async with platform(directory / "var", say=lambda _line: None) as access, httpx.AsyncClient(timeout=10) as http:
        demo = Demo(access, http, Show())
        seeded = await seed(demo.api("registry", "coordinator"), demo.api("registry", "postal"), demo.api("ingest", "admin"))
        july = month(seeded.county, lade.read(len(seeded.county.villages)), SEED)
        sender, letters = Sender(http, access.urls["ingest"], seeded.secrets), list(wire.letters(july.first))
        for letter in letters[:200]:
            await stubborn(sender, letter)
        await settled(demo)
        owner = await asyncpg.connect(access.installation.dsn("ingest", "owner"))
        await owner.execute("; ".join(f"create table {t}_copy as table {t}" for t in INGEST_TABLES))
        for letter in letters[200:400]:
            await stubborn(sender, letter)
        await settled(demo)
        before = [p async for p in demo.api("subsidy", "auditor").pages("/v1/payouts")]
        await owner.execute(RESTORE)
        began = time.monotonic()
        async with asyncio.timeout(10):
            while await owner.fetchval("select bool_or(not closed) from log_head"):
                await asyncio.sleep(0.02)
        closed_s = time.monotonic() - began
        refused = await http.post(f"{access.urls['ingest']}/v1/push/{letters[400].feed}", **_posted(letters[400], seeded.secrets))
        assert refused.status_code == 503, "a sender is told to come again"
        await asyncio.sleep(3)
        after = [p async for p in demo.api("subsidy", "auditor").pages("/v1/payouts")]
        await owner.close()
    assert before, "there was something to double"
    assert after == before
    FIGURES.append(
        f"ingest's database put back to an older copy: closed {closed_s:.1f} s later (a report comes each second), 0 doubled, 0 taken"
    )


def _posted(letter: wire.Letter, secrets: dict[str, bytes]) -> dict[str, Any]:
    body, content_type = letter.wire(secrets[letter.feed])
    return {"content": body, "headers": {"Content-Type": content_type}}


async def settled_in_the_end(demo: Demo) -> None:
    """Processes that were killed often come back slowly; nothing else may be in the way."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while True:
        try:
            return await settled(demo)
        except Refused:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


async def every_receipt_is_found(ingest: Api, receipts: list[str]) -> None:
    few = asyncio.Semaphore(8)

    async def one(receipt_id: str) -> None:
        async with few:
            assert (await ingest.get(f"/v1/receipts/{receipt_id}"))["receipt_id"] == receipt_id

    await asyncio.gather(*map(one, receipts))
