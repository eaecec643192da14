"""Feeds: who may push, how it signs, and which mode it is in."""

import re
import secrets
import time
from dataclasses import dataclass, replace

import asyncpg

from services.ingest import repository
from services.ingest.brands import CANONICAL_FORMAT
from services.ingest.brands.base import Feed
from shared.db import LOST, Database, Read, Write
from shared.keyring import Keyring, KeyringError
from shared.problems import Problem, not_found

NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")
OVERLAP_S = 24 * 3600  # a rotated secret stays good for a day: senders change over when they can
FRESH_S = 1.0  # a change of another process is seen within this time
SECRET_BYTES = 24


@dataclass(frozen=True)
class Secret:
    """Shown once, in the answer to the write that made it."""

    secret_id: str
    secret: str


def of_row(row: asyncpg.Record) -> Feed:
    return Feed(row["feed"], row["format"], tuple(row["brands"]), row["site_namespace"], row["mode"], row["silence_after_s"])


def _aad(feed: str) -> bytes:
    return f"feed_secret|{feed}".encode()


async def create(tx: Write, keyring: Keyring, feed: Feed) -> Secret | None:
    """The feed's first secret; None for a canonical feed, whose secret is its token. 409 where the name is taken."""
    row = (feed.feed, feed.format, list(feed.brands), feed.site_namespace, feed.mode, feed.silence_after_s)
    if not await repository.insert_feed(tx, row):
        raise Problem(409, "feed.exists", f"来源 {feed.feed} 已存在，请换一个名称。", f"There is a feed {feed.feed}: choose another name.")
    return None if feed.format == CANONICAL_FORMAT else await _new_secret(tx, keyring, feed.feed)


async def rotate(tx: Write, keyring: Keyring, name: str) -> Secret:
    """A new secret; the ones before it stay good for OVERLAP_S."""
    format_ = await repository.lock_feed(tx, name)
    if format_ is None:
        raise not_found("该来源", "feed", "feed.unknown")
    if format_ == CANONICAL_FORMAT:
        raise Problem(
            409,
            "feed.no_secret",
            "canonical 来源用令牌认证，请用 tongcun token 换发。",
            "A canonical feed has a token, no secret: issue another with `tongcun token`.",
        )
    await repository.retire_secrets(tx, name, OVERLAP_S)
    return await _new_secret(tx, keyring, name)


async def _new_secret(tx: Write, keyring: Keyring, feed: str) -> Secret:
    plain = secrets.token_urlsafe(SECRET_BYTES)
    key_id, ciphertext = keyring.encrypt(plain.encode(), _aad(feed))
    return Secret(f"sec_{await repository.insert_secret(tx, feed, key_id, ciphertext)}", plain)


async def get(read: Read, name: str) -> Feed:
    row = await repository.feed(read, name)
    if row is None:
        raise not_found("该来源", "feed", "feed.unknown")
    return of_row(row)


async def set_mode(tx: Write, name: str, mode: str) -> Feed:
    if not await repository.update_mode(tx, name, mode):
        raise not_found("该来源", "feed", "feed.unknown")
    return replace(await get(tx, name), mode=mode)


async def refuse_foreign_keyring(read: Read, keyring: Keyring) -> None:
    """A keyring that cannot open this database's secrets is another installation's. Raises KeyringError."""
    key_id = await repository.key_in_use(read)
    if key_id is not None and key_id not in keyring.keys:
        raise KeyringError(f"the keyring has no key {key_id!r}: restore the keyring that this database was written with")


class FeedBook:
    """What a process needs to know of the feeds that push to it, looked up at most once in FRESH_S for each."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring
        self._known: dict[str, tuple[float, Feed, tuple[bytes, ...]]] = {}

    async def find(self, name: str) -> tuple[Feed, tuple[bytes, ...]] | None:
        """(feed, living secrets), or None. While the database is lost, what was known last: the commit will say "later"."""
        if not NAME.fullmatch(name):
            return None
        known = self._known.get(name)
        if known and time.monotonic() - known[0] < FRESH_S:
            return known[1:]
        try:
            async with self._database.read() as read:
                row = await repository.feed_with_secrets(read, name)
        except LOST:
            if known:
                return known[1:]
            raise
        if row is None:
            self._known.pop(name, None)
            return None
        ciphertexts = zip(row["key_ids"] or (), row["ciphertexts"] or (), strict=True)
        found = of_row(row), tuple(self._keyring.decrypt(key_id, data, _aad(name)) for key_id, data in ciphertexts)
        self._known[name] = time.monotonic(), *found
        return found

    def forget(self, name: str) -> None:
        """After a change of ours, which shows at once."""
        self._known.pop(name, None)
