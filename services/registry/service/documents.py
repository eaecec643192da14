"""Photographs and papers: kept encrypted by the hash of their bytes, given to whom they concern, a person's only with a reason."""

import asyncio
import hashlib
from dataclasses import dataclass, field

from services.registry import repository_documents as repository
from services.registry import schemas_documents as schemas
from services.registry.domain import documents as rules
from services.registry.repository_documents import Found
from services.registry.service.access import need
from services.registry.service.recording import refusals_as_problems
from shared.auth import Principal
from shared.contracts.registry import DocumentKind
from shared.db import Database, Read
from shared.keyring import Keyring, KeyringError
from shared.problems import Problem, invalid, not_found


@dataclass(frozen=True)
class Vault:
    """What opens and closes documents. One at a time, under a transaction: each takes some four times its size in memory meanwhile."""

    keyring: Keyring
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


async def take(
    database: Database, vault: Vault, principal: Principal, data: bytes, media_type: str, kind: DocumentKind
) -> tuple[schemas.DocumentAnswer, bool]:
    """-> (the document, whether it is new). The same bytes are the same document, whoever sends them."""
    with refusals_as_problems():
        await asyncio.to_thread(rules.check, data, media_type, kind)  # bytes made for it are walked for a second, while others are served
    sha256, operator_id = hashlib.sha256(data).digest(), principal.tenant("operator")
    async with database.write() as tx, vault.turn:
        found, new = await repository.find(tx, sha256, operator_id), False
        if found is None:
            new = await repository.insert(tx, sha256, kind, media_type, len(data), *vault.keyring.encrypt(data, _aad(sha256)))
            found = await repository.find(tx, sha256, operator_id)
            assert found is not None
        if found.kind is not kind:
            raise Problem(
                409,
                "document.other_kind",
                f"同一文件已登记为 {found.kind}，请按该类别使用。",
                f"These bytes are recorded as {found.kind}: use them as that.",
            )
        await repository.insert_upload(tx, sha256, principal.subject, operator_id)
    return _item(found), new


async def find(database: Database, principal: Principal, document_id: str) -> Found:
    """Raises Problem 404 for what is not there, or not the caller's to see."""
    async with database.read() as read:
        found = await _visible(read, principal, document_id)
    if found is None:
        raise not_found("文件", "document", "document.not_found")
    return found


async def opened(database: Database, vault: Vault, principal: Principal, found: Found, reason: str | None) -> bytes:
    """The bytes as they were sent. Whoever looks at a person's paper is written down first: Problem 403 without the scope, 422 without a
    reason."""
    if found.kind is not DocumentKind.IDENTITY:
        async with database.read() as read, vault.turn:
            return await _opened(read, vault, found)
    need(principal, "documents:identity")
    if reason is None:
        raise invalid(
            "#query/reason",
            "document.reason_required",
            "查阅身份证明须写明事由（reason），并留下记录。",
            "A person's paper is read for a reason, which is recorded: give it.",
        )
    async with database.write() as tx, vault.turn:
        await repository.insert_reading(tx, found.sha256, principal.subject, reason)
        return await _opened(tx, vault, found)


async def _opened(read: Read, vault: Vault, found: Found) -> bytes:
    key_id, body = await repository.body(read, found.sha256)
    return vault.keyring.decrypt(key_id, body, _aad(found.sha256))


async def check(read: Read, principal: Principal, document_id: str, pointer: str, *kinds: DocumentKind) -> None:
    """Whether a record may name this document as one of `kinds`. Raises Problem 422 at `pointer`."""
    found = await _visible(read, principal, document_id)
    if found is None:
        raise invalid(
            pointer, "document.unknown", "没有此文件，请先上传（POST /v1/documents）。", "There is no such document: send it first."
        )
    if found.kind not in kinds:
        wanted = " / ".join(kinds)
        raise invalid(
            pointer, "document.other_kind", f"此文件登记为 {found.kind}，不是 {wanted}。", f"This document is {found.kind}, not {wanted}."
        )


async def refuse_foreign_keyring(read: Read, keyring: Keyring) -> None:
    """Every key that a document needs is there, and opens it. Raises KeyringError: a process with another keyring must not start."""
    for key_id, sha256, body in await repository.of_each_key(read):
        try:
            keyring.decrypt(key_id, body, _aad(sha256))
        except KeyringError:
            raise KeyringError(
                f"the keyring does not open the documents of key {key_id!r}: restore the keyring that this database was written with"
            ) from None


async def _visible(read: Read, principal: Principal, document_id: str) -> Found | None:
    """A photo is seen by whoever may see the register, a paper by those who decide on it and by the operator that sent it."""
    sha256 = rules.digest_of(document_id)
    found = await repository.find(read, sha256, principal.tenant("operator")) if sha256 else None
    if found is None or found.kind is DocumentKind.PHOTO or found.own:
        return found
    return found if principal.claim is None and "documents:read" in principal.scopes else None


def _aad(sha256: bytes) -> bytes:
    """What binds an encrypted body to its document."""
    return b"document|" + sha256


def _item(found: Found) -> schemas.DocumentAnswer:
    return schemas.DocumentAnswer(
        document_id=rules.document_id(found.sha256),
        media_type=found.media_type,
        size=found.size,
        kind=found.kind,
        recorded_at=found.recorded_at,
    )
