"""Holds and rulings as answers show them. People appear by the subject of their token alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg
import msgspec

from services.subsidy.domain.said import Word
from services.subsidy.service.ids import hold_id

_choices = msgspec.json.Decoder(list[tuple[str, str, str]])


class OnHold(NamedTuple):
    """The rulings on one hold: who placed it by hand (None: a rule did), and what was decided of it."""

    placing: asyncpg.Record | None
    decisions: list[asyncpg.Record]


def said_of(hold: asyncpg.Record, rulings: Sequence[asyncpg.Record]) -> OnHold:
    """`rulings`: the parcel's, in order. A hold by hand is that of the latest placing before it was assessed."""
    about = [r for r in rulings if r["reason_code"] == hold["reason_code"]]
    placings = [r for r in about if r["decision"] == Word.PLACE]
    before = [r for r in placings if r["revision"] < hold["revision"]]
    placing = before[-1] if before else None
    since = placing["revision"] if placing else -1
    until = next((r["revision"] for r in placings if r["revision"] > since and r is not placing), None)
    decisions = [
        r for r in about if r["subject"] == hold["subject"] and since < r["revision"] and (until is None or r["revision"] < until)
    ]  # fmt: skip
    return OnHold(placing, [r for r in decisions if r["decision"] != Word.PLACE])


def hold(row: asyncpg.Record, rulings: Sequence[asyncpg.Record]) -> dict[str, Any]:
    said = said_of(row, rulings)
    return {
        "hold_id": hold_id(row["parcel_key"], row["batch_no"]),
        "reason_code": row["reason_code"],
        "placed_at": row["placed_at"],
        "placed_by": said.placing["said_by"] if said.placing else row["placed_by"],
        "note": said.placing["note"] if said.placing else None,
        "held_fen": row["held_fen"],
        "subject": row["subject"].hex() if row["subject"] else None,
        "released_at": row["released_at"],
        "decisions": [ruling(r) for r in said.decisions],
    }


def ruling(row: asyncpg.Record) -> dict[str, Any]:
    choices = _choices.decode(row["choices"])
    return {
        "decision": row["decision"],
        "reason_code": row["reason_code"],
        "subject": row["subject"].hex() if row["subject"] else None,
        "choices": [{"event_id": e, "content": content, "among": among} for e, content, among in choices],
        "reason": row["note"],
        "said_by": row["said_by"],
        "said_at": row["said_at"],
        "revision": row["revision"],
    }
