"""The chain and the record header: what proves that a record is the next one. Pure.

chain(position) = SHA-256(chain(position - 1) ‖ SHA-256(value)),  chain(-1) = the log's origin, 32 random bytes
header "position" = position, 8 bytes big-endian ‖ the first 16 bytes of chain(position)
"""

from collections.abc import Sequence
from hashlib import sha256
from struct import Struct
from typing import Protocol, TypeVar

from shared.log.errors import Diverged

HEADER = "position"
HALF = 16
_LINK = Struct(">Q16s")
_LINK_BYTES = _LINK.size


class Carried(Protocol):
    """What we need of a Kafka record."""

    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


R = TypeVar("R", bound=Carried)


def extend(chain: bytes, value: bytes) -> bytes:
    return sha256(chain + sha256(value).digest()).digest()


def link(position: int, chain: bytes) -> bytes:
    """The header of the record at `position`, whose chain is `chain`."""
    return _LINK.pack(position, chain[:HALF])


def read_link(headers: Sequence[tuple[str, bytes]]) -> tuple[int, bytes]:
    """-> (position, half of the chain); (-1, b"") for a record that is not of the log."""
    for name, value in headers:
        if name == HEADER and len(value) == _LINK_BYTES:
            position, half = _LINK.unpack(value)
            return position, half
    return -1, b""


def select(records: Sequence[R], position: int, chain: bytes) -> tuple[list[R], int, bytes, int]:
    """Which of the records continue (position, chain), in order -> (those, next position, its chain, position of the last record).

    Below is a repeat, above is a gap that the relay will fill: both are skipped. Raises Diverged where the position is ours and the chain
    is not: another history, or a value that was changed on the way.
    """
    chosen: list[R] = []
    at = -1
    for record in records:
        at, half = read_link(record.headers)
        if at == position:
            chain = extend(chain, record.value or b"")
            if chain[:HALF] != half:
                raise Diverged(f"position {position} says {half.hex()}, our history continues with {chain[:HALF].hex()}")
            chosen.append(record)
            position += 1
    return chosen, position, chain, at
