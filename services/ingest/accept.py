"""The accepting transaction: whatever pushes have come together, their verdicts and their log positions are one commit.

Statements, not loops: a commit of sixty-four pushes costs as many round trips as a commit of one.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Literal

import msgspec

from services.ingest import repository
from services.ingest.brands.base import Feed, Mode
from services.ingest.domain import verdicts
from services.ingest.domain.items import Identified, Unreadable
from services.ingest.domain.receipts import Counts, ReceiptItem, keep, tell
from shared import log
from shared.calendar import shanghai_day
from shared.contracts.scan import TOPIC, ScanEvent
from shared.db import Database, Write
from shared.identity import partition_of

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")  # for hex digits: in the same order
_encode_into = msgspec.json.Encoder().encode_into
MESSAGE_BYTES = 1_024  # of most


class Receipt(msgspec.Struct, frozen=True):
    """What a push became."""

    receipt_id: str
    feed: str
    received_at: datetime
    counts: Counts
    items: list[ReceiptItem]


@dataclass(frozen=True)
class Draft:
    """A push that was authenticated and read, ready to be decided. `body` is encrypted."""

    receipt_id: str
    feed: Feed
    received_at: datetime
    verified: str
    payload_sha256: bytes
    key_id: str
    body: bytes
    items: Sequence[Identified | Unreadable]
    unreadable: Literal["quarantined", "rejected"]
    content_type: str
    signed: str | None = None

    @cached_property
    def readable(self) -> list[Identified]:
        return [item for item in self.items if not isinstance(item, Unreadable)]  # a Struct's isinstance takes ten times as long


def new_receipt_id() -> str:
    """Made before the commit, so that it can be looked up when the commit's outcome is unknown; rises with time, for the index's sake."""
    raw = (time.time_ns() // 1_000_000).to_bytes(6, "big") + secrets.token_bytes(9)
    return "rcp_" + raw.hex().translate(_LETTERS)


def body_aad(receipt_id: str) -> bytes:
    """What binds an encrypted body to its receipt."""
    return f"push|{receipt_id}".encode()


async def accept(database: Database, tx: Write, drafts: Sequence[Draft], partitions: int) -> list[Receipt]:
    """Decide and store; the caller commits. Raises shared.log.Closed when a partition takes nothing now."""
    decided = await _verdicts(database, tx, drafts)
    receipts = [_receipt(draft, words) for draft, words in zip(drafts, decided, strict=True)]
    await repository.insert_pushes(tx, [_push_row(d, r) for d, r in zip(drafts, receipts, strict=True)])
    await repository.insert_quarantine(tx, [row for draft in drafts for row in _quarantine_rows(draft)])
    entries = [entry for draft, words in zip(drafts, decided, strict=True) for entry in _entries(draft, words, partitions)]
    await log.append(database, tx, TOPIC, entries)
    return receipts


async def accept_again(
    database: Database, tx: Write, drafts: Sequence[Draft], partitions: int
) -> tuple[list[list[verdicts.Verdict]], list[log.Entry]]:
    """Items of pushes that are stored, readable now: -> (their verdicts, what the caller appends to the log, last)."""
    decided = await _verdicts(database, tx, drafts)
    return decided, [entry for draft, words in zip(drafts, decided, strict=True) for entry in _entries(draft, words, partitions)]


async def _verdicts(database: Database, tx: Write, drafts: Sequence[Draft]) -> list[list[verdicts.Verdict]]:
    """Per draft, the verdicts of its readable items in order."""
    candidates = [(item.event_id, item.content) for draft in drafts for item in draft.readable]
    first = verdicts.first_contents(candidates)
    async with database.unblocked(tx):
        new = await repository.insert_events(tx, first)
        stored = await repository.contents(tx, [event for event in first if event not in new])
        known = verdicts.known_contents(first, stored)
        versions = await repository.insert_versions(tx, verdicts.other_contents(candidates, known))
    words = iter(verdicts.decide(candidates, known, new, versions))
    return [list(islice(words, len(draft.readable))) for draft in drafts]


def _receipt(draft: Draft, words: Sequence[str]) -> Receipt:
    items = tell(draft.items, words, draft.unreadable)
    return Receipt(draft.receipt_id, draft.feed.feed, draft.received_at, Counts.of(items), items)


def _push_row(draft: Draft, receipt: Receipt) -> tuple[object, ...]:
    return (
        draft.receipt_id,
        draft.feed.feed,
        draft.feed.mode,
        draft.feed.format,
        draft.received_at,
        shanghai_day(draft.received_at),
        draft.verified,
        draft.payload_sha256,
        draft.key_id,
        draft.body,
        *msgspec.structs.astuple(receipt.counts),
        *keep(draft.items, receipt.items),
        draft.content_type,
        draft.signed,
        _newest([item.item.scanned_text for item in draft.readable]),
    )


def _newest(texts: Sequence[str]) -> datetime | None:
    """All in one zone: they compare as texts, in a tenth of the time."""
    return datetime.fromisoformat(max(texts)) if texts else None


def _quarantine_rows(draft: Draft) -> Iterator[tuple[object, ...]]:
    if draft.unreadable == "quarantined":
        for item in draft.items:
            if isinstance(item, Unreadable):
                yield draft.receipt_id, draft.feed.feed, item.index, item.code, item.pointer, draft.received_at


def _entries(draft: Draft, words: Sequence[verdicts.Verdict], partitions: int) -> Iterator[log.Entry]:
    """What goes to the log: accepted and conflicting events of a live feed."""
    if draft.feed.mode != Mode.LIVE:
        return
    payload = draft.payload_sha256.hex()
    buffer = bytearray(MESSAGE_BYTES)  # of all of them: each would let its own grow
    for item, verdict in zip(draft.readable, words, strict=True):
        if verdict != "duplicate":
            _encode_into(_message(draft, item, verdict, payload), buffer)
            yield log.Entry(partition_of(item.parcel_key, partitions), item.parcel_key, bytes(buffer))


def _message(draft: Draft, identified: Identified, verdict: Literal["accepted", "conflict"], payload: str) -> ScanEvent:
    item = identified.item
    return ScanEvent(  # in the contract's order: by name it would take three times as long
        identified.event_text,
        identified.content.hex(),
        verdict,
        item.brand,
        item.waybill_no,
        item.raw_action,
        item.scanned_at,
        draft.feed.namespace(item.brand),
        item.site_code,
        item.site_name,
        item.origin,
        item.destination,
        item.goods,
        item.order_no,
        item.weight_g,
        item.retracts,
        item.action,
        item.mapping_version,
        draft.feed.feed,
        draft.receipt_id,
        draft.received_at,
        draft.verified,
        payload,
    )
