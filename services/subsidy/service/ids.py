"""Public ids of rows of the books: their keys in base32, so that no id needs a generator."""

import re
from base64 import b32decode, b32encode
from typing import NamedTuple
from uuid import UUID

_HOLD = re.compile(r"hld_[a-z2-7]{39}")  # 16 bytes of the parcel's key, 8 of the batch


class HoldKey(NamedTuple):
    parcel_key: bytes
    batch_no: int


def payout_id(key: bytes, seq: int) -> str:
    return "pay_" + _base32(key + seq.to_bytes(4, "big"))


def hold_id(key: bytes, batch_no: int) -> str:
    return "hld_" + _base32(key + batch_no.to_bytes(8, "big"))


def hold_key(text: str) -> HoldKey | None:
    """What `hold_id` made; None for anything else."""
    if not _HOLD.fullmatch(text):
        return None
    raw = b32decode(text.removeprefix("hld_").upper() + "=")
    batch_no = int.from_bytes(raw[16:], "big")
    return HoldKey(raw[:16], batch_no) if batch_no < 2**63 else None


def uuid_text(raw: bytes | None) -> str | None:
    return str(UUID(bytes=raw)) if raw else None


def _base32(raw: bytes) -> str:
    return b32encode(raw).decode().rstrip("=").lower()
