"""What a push became, item by item, and the form in which that is kept: a fifth of its JSON, and counted without reading it. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.ingest.domain.items import Identified, Unreadable
from services.ingest.domain.verdicts import VERDICTS

_WORD = {verdict[0]: verdict for verdict in VERDICTS}
_ID_BYTES = 16


class ReceiptItem(msgspec.Struct, frozen=True, gc=False):
    index: int
    verdict: str
    event_id: str | None = None
    code: str | None = None
    pointer: str | None = None


class Counts(msgspec.Struct, frozen=True):
    """In the order of verdicts.VERDICTS."""

    received: int
    accepted: int
    duplicate: int
    conflict: int
    quarantined: int
    rejected: int

    @classmethod
    def of(cls, items: Sequence[ReceiptItem]) -> "Counts":
        told = Counter([item.verdict for item in items])
        return cls(len(items), *[told[verdict] for verdict in VERDICTS])


class Kept(NamedTuple):
    """`verdicts`: the first letter of each item's, in order; `event_ids`: 16 bytes of each item that could be read; `flaws`: JSON array
    of [code, pointer] of each that could not.
    """

    verdicts: str
    event_ids: bytes
    flaws: bytes


def tell(items: Sequence[Identified | Unreadable], words: Sequence[str], unreadable: str) -> list[ReceiptItem]:
    """`words`: the verdicts of the items that could be read, in order; `unreadable`: the verdict of all others."""
    if len(words) == len(items):  # most often, and then all at once
        return list(map(ReceiptItem, count(), words, [item.event_text for item in items if not isinstance(item, Unreadable)]))
    left = iter(words)
    return [
        ReceiptItem(index, unreadable, None, item.code, item.pointer)
        if isinstance(item, Unreadable)
        else ReceiptItem(index, next(left), item.event_text)
        for index, item in enumerate(items)
    ]


def keep(items: Sequence[Identified | Unreadable], told: Sequence[ReceiptItem]) -> Kept:
    readable = [item.event_id for item in items if not isinstance(item, Unreadable)]
    flaws = [(item.code, item.pointer) for item in items if isinstance(item, Unreadable)] if len(readable) < len(items) else []
    return Kept("".join([item.verdict[0] for item in told]), b"".join(readable), msgspec.json.encode(flaws))


def read(kept: Kept) -> list[ReceiptItem]:
    """`tell`, from what was kept of it."""
    events, flaws = _events(kept.event_ids), iter(msgspec.json.decode(kept.flaws, type=list[tuple[str, str]]))
    words = [_WORD[letter] for letter in kept.verdicts]
    return [
        ReceiptItem(index, word, None, *next(flaws)) if word in ("quarantined", "rejected") else ReceiptItem(index, word, next(events))
        for index, word in enumerate(words)
    ]


def _events(ids: bytes) -> Iterator[str]:
    return (str(UUID(bytes=ids[at : at + _ID_BYTES])) for at in range(0, len(ids), _ID_BYTES))
