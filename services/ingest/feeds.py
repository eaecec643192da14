"""Feeds: who may push, how it signs, and which mode it is in."""

import asyncio
import re
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import asyncpg
import structlog

from services.ingest import repository
from services.ingest.accept import body_aad
from services.ingest.brands import CANONICAL_FORMAT, NATIVE, ONE_BRAND, SECRET_BYTES_OF, can_sign, webhook
from services.ingest.brands.base import Feed
from shared.db import LOST, Database, Read, Write
from shared.keyring import Keyring, KeyringError
from shared.problems import Problem, invalid, not_found

logger = structlog.get_logger(__name__)

NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")
OVERLAP_S = 24 * 3600  # a rotated secret stays good for a day, where nobody says otherwise: senders change over when they can
FIND_S = 1.0  # a look-up that takes longer finds PostgreSQL hanging
FRESH_S = 1.0  # a change of another process is seen within this time
SECRET_BYTES = 24


@dataclass(frozen=True)
class Secret:
    """Shown once, in the answer to the write that made it."""

    secret_id: str
    secret: str


def of_row(row: asyncpg.Record) -> Feed:
    return Feed(
        row["feed"],
        row["format"],
        tuple(row["brands"]),
        row["site_namespace"],
        row["mode"],
        row["silence_after_s"],
        row["signature"],
        None if row["allow_from"] is None else tuple(row["allow_from"]),
    )


def secret_aad(feed: str) -> bytes:
    return f"feed_secret|{feed}".encode()


async def create(tx: Write, keyring: Keyring, feed: Feed, own: str | None) -> Secret | None:
    """The feed's first secret, the sender's `own` or a new one; None for a canonical feed, whose secret is its token. 409: name taken."""
    if own and not feed.has_secret:
        raise invalid("/secret", "feed.no_secret", "此 canonical 来源用令牌认证，没有密钥。", "This canonical feed has a token, no secret.")
    _refuse_impossible(feed)
    row = (feed.feed, feed.format, list(feed.brands), feed.site_namespace, feed.mode, feed.silence_after_s, feed.signature)
    if not await repository.insert_feed(tx, (*row, feed.allow_from and list(feed.allow_from))):
        raise Problem(409, "feed.exists", f"来源 {feed.feed} 已存在，请换一个名称。", f"There is a feed {feed.feed}: choose another name.")
    return await _new_secret(tx, keyring, feed, own) if feed.has_secret else None


def _refuse_impossible(feed: Feed) -> None:
    """422 for what no push of this format could be."""
    format_ = NATIVE.get(feed.format)
    schemes = format_.SCHEMES if format_ else (webhook.SCHEME,)
    if feed.signature is not None and feed.signature not in schemes:
        known = ", ".join(schemes)
        raise invalid(
            "/signature",
            "signature.unknown",
            f"格式 {feed.format} 没有签名方式 {feed.signature[:32]}，可用：{known}。",
            f"The format {feed.format} does not sign by {feed.signature[:32]}: it knows {known}.",
        )
    if format_ is None:
        return
    if foreign := sorted(set(feed.brands) - set(format_.BRANDS)):
        known = ", ".join(format_.BRANDS)
        raise invalid(
            "/brands",
            "brand.not_of_format",
            f"格式 {feed.format} 不会推送 {foreign[0]} 的件，可用：{known}。",
            f"The format {feed.format} tells nothing of {foreign[0]}: it knows {known}.",
        )
    if feed.format in ONE_BRAND and len(feed.brands) > 1:
        raise invalid(
            "/brands",
            "brand.one_only",
            f"格式 {feed.format} 的报文不写品牌，一个来源只能有一个品牌。",
            f"A push of the format {feed.format} does not say whose parcel it is: a feed has one brand.",
        )


async def rotate(tx: Write, keyring: Keyring, name: str, overlap_s: int, own: str | None) -> Secret:
    """A new secret, the sender's `own` or one of ours; those before it stay good for `overlap_s` at most."""
    feed = await _locked(tx, name)
    if not feed.has_secret:
        raise Problem(
            409,
            "feed.no_secret",
            "canonical 来源用令牌认证，请用 tongcun token 换发。",
            "A canonical feed has a token, no secret: issue another with `tongcun token`.",
        )
    await repository.retire_secrets(tx, name, overlap_s)
    return await _new_secret(tx, keyring, feed, own)


async def _locked(tx: Write, name: str) -> Feed:
    row = await repository.lock_feed(tx, name)
    if row is None:
        raise not_found("该来源", "feed", "feed.unknown")
    return of_row(row)


async def _new_secret(tx: Write, keyring: Keyring, feed: Feed, own: str | None) -> Secret:
    if own and not _usable(feed, own):
        raise invalid(
            "/secret",
            "secret.unusable",
            f"格式 {feed.format} 不能用这个密钥签名（长度或字符不符）。",
            f"The format {feed.format} cannot sign with this secret: its length or its characters are not what it takes.",
        )
    plain = own or _made_up(feed)
    key_id, ciphertext = keyring.encrypt(plain.encode(), secret_aad(feed.feed))
    return Secret(f"sec_{await repository.insert_secret(tx, feed.feed, key_id, ciphertext)}", plain)


def _usable(feed: Feed, secret: str) -> bool:
    return can_sign(NATIVE[feed.format], secret) if feed.format in NATIVE else webhook.usable(secret)


def _made_up(feed: Feed) -> str:
    if feed.format == CANONICAL_FORMAT:
        return webhook.HMAC_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return secrets.token_urlsafe(SECRET_BYTES_OF.get(feed.format, SECRET_BYTES))


async def get(read: Read, name: str) -> Feed:
    row = await repository.feed(read, name)
    if row is None:
        raise not_found("该来源", "feed", "feed.unknown")
    return of_row(row)


async def change(tx: Write, name: str, wishes: Mapping[str, Any]) -> Feed:
    """Mode, silence, signature or networks: what `wishes` names."""
    feed = replace(await _locked(tx, name), **wishes)
    _refuse_impossible(feed)
    allowed = feed.allow_from and list(feed.allow_from)
    await repository.update_feed(tx, (feed.feed, feed.mode, feed.silence_after_s, feed.signature, allowed))
    return feed


async def refuse_foreign_keyring(read: Read, keyring: Keyring) -> None:
    """A keyring that cannot open what this database was last given is another installation's. Raises KeyringError."""
    secret = await repository.newest_secret(read)
    push = None if secret else await repository.newest_push(read)
    try:
        if secret:
            keyring.decrypt(secret["key_id"], secret["ciphertext"], secret_aad(secret["feed"]))
        elif push:
            keyring.decrypt(push["key_id"], push["body"], body_aad(push["receipt_id"]))
    except KeyringError:
        raise KeyringError("the keyring is not the one that this database was written with: restore that one from its backup") from None


class Known(NamedTuple):
    """`secrets` are the living ones; None: the keyring does not open them."""

    feed: Feed
    secrets: tuple[bytes, ...] | None


class FeedBook:
    """What a process needs to know of the feeds that push to it, looked up at most once in FRESH_S for each.

    `database_broken` says that the database was just lost.
    """

    def __init__(self, database: Database, keyring: Keyring, database_broken: Callable[[], bool]) -> None:
        self._database, self._keyring, self._database_broken = database, keyring, database_broken
        self._known: dict[str, tuple[float, Known]] = {}
        self._looks: dict[str, asyncio.Task[Known | None]] = {}  # under way

    async def find(self, name: str) -> Known | None:
        """While the database is lost, what was known last: the commit will say "later". Raises one of LOST within FIND_S."""
        if not NAME.fullmatch(name):
            return None
        if known := self._fresh(name):
            return known
        look = self._looks.get(name)
        if look is None:  # one looks up, and whoever pushes meanwhile has its answer
            look = self._looks[name] = asyncio.create_task(self._look_up(name))
            look.add_done_callback(lambda _: self._looks.pop(name))
        return await asyncio.shield(look)

    def _fresh(self, name: str) -> Known | None:
        at, known = self._known.get(name, (0.0, None))
        return known if self._database_broken() or time.monotonic() - at < FRESH_S else None

    async def _look_up(self, name: str) -> Known | None:
        try:
            async with asyncio.timeout(FIND_S), self._database.read() as read:
                row = await repository.feed_with_secrets(read, name)
        except LOST:
            if name in self._known:
                return self._known[name][1]
            raise
        if row is None:
            self._known.pop(name, None)
            return None
        found = Known(of_row(row), self._opened(name, row))
        self._known[name] = time.monotonic(), found
        return found

    def _opened(self, name: str, row: asyncpg.Record) -> tuple[bytes, ...] | None:
        ciphertexts = zip(row["key_ids"] or (), row["ciphertexts"] or (), strict=True)
        try:
            return tuple(self._keyring.decrypt(key_id, data, secret_aad(name)) for key_id, data in ciphertexts)
        except KeyringError as e:
            logger.error("feed.secret_unreadable", feed=name, reason=str(e))
            return None

    def forget(self, name: str) -> None:
        """After a change of ours, which shows at once."""
        self._known.pop(name, None)
