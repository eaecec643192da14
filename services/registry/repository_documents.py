"""SQL of photographs and papers. All of it is insert-only."""

from datetime import datetime
from typing import NamedTuple

from shared.contracts.registry import DocumentKind
from shared.db import Read, Write


class Found(NamedTuple):
    """A document without its body. `own`: the operator that was asked for has sent it."""

    sha256: bytes
    kind: DocumentKind
    media_type: str
    size: int
    recorded_at: datetime
    own: bool


FIND = """
select d.sha256, d.kind, d.media_type, d.size, d.recorded_at,
    exists (select from document_upload u where u.sha256 = d.sha256 and u.operator_id = $2) as own
from document d where d.sha256 = $1
"""
# Waits for whoever inserts the same bytes at the same time.
INSERT = "insert into document (sha256, kind, media_type, size, key_id, body) values ($1, $2, $3, $4, $5, $6) on conflict do nothing"
INSERT_UPLOAD = "insert into document_upload (sha256, by, operator_id) values ($1, $2, $3) on conflict do nothing"
INSERT_READING = "insert into document_reading (sha256, by, why) values ($1, $2, $3)"
BODY = "select key_id, body from document where sha256 = $1"
# The smallest of each key that something was encrypted with.
OF_EACH_KEY = "select distinct on (key_id) key_id, sha256, body from document order by key_id, size"


async def find(read: Read, sha256: bytes, operator_id: str | None) -> Found | None:
    row = await read.fetchrow(FIND, sha256, operator_id)
    return Found(**(dict(row) | {"kind": DocumentKind(row["kind"])})) if row else None


async def insert(tx: Write, sha256: bytes, kind: DocumentKind, media_type: str, size: int, key_id: str, body: bytes) -> bool:
    """Whether it was not there."""
    return await tx.execute(INSERT, sha256, kind, media_type, size, key_id, body) == "INSERT 0 1"


async def insert_upload(tx: Write, sha256: bytes, by: str, operator_id: str | None) -> None:
    await tx.execute(INSERT_UPLOAD, sha256, by, operator_id)


async def insert_reading(tx: Write, sha256: bytes, by: str, why: str) -> None:
    await tx.execute(INSERT_READING, sha256, by, why)


async def body(read: Read, sha256: bytes) -> tuple[str, bytes]:
    """-> (key id, ciphertext)."""
    row = await read.fetchrow(BODY, sha256)
    assert row is not None, "nothing is ever deleted"
    return row["key_id"], row["body"]


async def of_each_key(read: Read) -> list[tuple[str, bytes, bytes]]:
    """-> (key id, SHA-256, ciphertext) of one document for each key in use."""
    return [(row["key_id"], row["sha256"], row["body"]) for row in await read.fetch(OF_EACH_KEY)]
