"""What ingest does with a push: find the feed, authenticate, read, commit, acknowledge in the sender's own words."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import msgspec
import structlog

from services.ingest import repository
from services.ingest.accept import Draft, Receipt, body_aad, new_receipt_id
from services.ingest.brands import CANONICAL_FORMAT, NATIVE, canonical, webhook
from services.ingest.brands.base import TOKEN, Ack, BadSignature, Feed, Format, Mode, Outcome, RawPush, Unparseable
from services.ingest.brands.wire import inflate, matches_any
from services.ingest.committer import NOT_FOUND_OUT, Committer, Later
from services.ingest.domain.items import MAX_BODY_BYTES, Identified, Item, Unreadable, identify_all
from services.ingest.domain.verdicts import VERDICTS
from services.ingest.feeds import FeedBook
from services.ingest.settings import Settings
from services.ingest.watch import Watch
from shared import log, telemetry
from shared.calendar import SHANGHAI, shanghai_day
from shared.contracts.scan import TOPIC
from shared.db import LOST, Database
from shared.keyring import Keyring
from shared.problems import Problem, not_found, unavailable

logger = structlog.get_logger(__name__)

MAX_CONTENT_TYPE = 256  # characters of it that are kept
BACKLOG_EVERY_S = 1.0
HANGS_S = 2.0  # PostgreSQL that has not answered the simplest question for so long hangs
REFUSE_S = 2.0  # to count a push that was refused
RETRY_AFTER_S = 5

# What a sender's engineer reads in the answer: what happened, what to do.
SAID = {
    "stored": "成功 / stored",
    "signature": "签名错误，请核对密钥与编码 / bad signature: check the secret and the encoding",
    "address": "不在该来源登记的网络内，请联系县里的系统管理员 / not from a network of this feed: ask the county's administrator",
    "paused": "该来源已暂停接收，请联系县里的系统管理员 / this feed is paused: ask the county's administrator",
    "too_large": f"报文超过 {MAX_BODY_BYTES} 字节（{{code}}），请分批推送 / more than {MAX_BODY_BYTES} bytes ({{code}}): push in parts",
    "unparseable": "报文无法解析（{code}），请修正后重推 / cannot be parsed ({code}): mend it and push again",
    "retry": "暂时无法接收（{code}），未存储，请稍后重推 / not stored ({code}): push again later",
}


class Told(NamedTuple):
    """A native push as HTTP brings it; `body` None: larger than MAX_BODY_BYTES."""

    body: bytes | None
    content_type: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    token: str | None
    client: str


@dataclass(frozen=True)
class Answer:
    """What goes back to a sender. Every answer names a receipt; of a push that was not stored it is one that no look-up finds."""

    ack: Ack
    receipt_id: str


class Ingest:
    """One process's ingest. Made by the API's lifespan. `database` takes pushes and changes, `reader` answers everybody else."""

    def __init__(self, database: Database, reader: Database, keyring: Keyring, settings: Settings) -> None:
        self.database, self.reader, self.keyring = database, reader, keyring
        self.committer = Committer(database, settings.partitions)
        self.feeds = FeedBook(database, keyring, lambda: self.committer.broken)
        self.watch = Watch(reader)
        self._limit_events = settings.backlog_events
        self._backlog_events = 0
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.committer.start()
        self.watch.start()
        self._watcher = asyncio.create_task(self._watch_backlog())

    async def close(self) -> None:
        if self._watcher:
            self._watcher.cancel()
        self.watch.close()
        await self.committer.close()

    @property
    def alive(self) -> bool:
        """Whether everything that runs beside the requests still does."""
        return self.committer.alive and self._watcher is not None and not self._watcher.done()

    async def _watch_backlog(self) -> None:
        """Also the first to notice that PostgreSQL hangs: this look waits for no lock."""
        while True:
            try:
                async with asyncio.timeout(HANGS_S), self.database.read() as read:
                    self._backlog_events = await log.unpublished(read, TOPIC)
                self.committer.answers()
            except TimeoutError:
                self.committer.hangs(HANGS_S + 2 * BACKLOG_EVERY_S)  # until the next look has failed, too
                logger.warning("database.hangs", after_s=HANGS_S)
            except NOT_FOUND_OUT as e:  # then commits fail, too, and say so; the next look may succeed
                logger.warning("backlog.unknown", error=type(e).__name__)
            await asyncio.sleep(BACKLOG_EVERY_S)

    async def push(self, name: str, told: Told) -> Answer:
        """A push in the sender's own format. 404 for a feed that takes no such pushes."""
        found = await self.feeds.find(name)
        if found is None or not _takes(found.feed, told.token):
            raise not_found("该推送地址", "push address", "feed.unknown")
        feed, secrets = found
        if feed.format == CANONICAL_FORMAT:
            return await self._signed_scans(feed, secrets, told)
        push = RawPush(
            feed, told.body or b"", told.content_type, now(), told.token, headers=told.headers, query=told.query, secrets=secrets or ()
        )
        answer = Answering(push, NATIVE[feed.format], new_receipt_id())
        try:
            if feed.mode == Mode.PAUSED:
                await self._refuse(push, "paused", "paused")
                return answer.told(Outcome.FAILED, "paused")
            if not may_come_from(feed, told.client):
                await self._refuse(push, "unauthenticated", "address")
                return answer.told(Outcome.FAILED, "address")
            if secrets is None:
                raise Later("keyring.unreadable")
            return await self._read_and_store(answer, told.body is None)
        except Later as e:
            return answer.told(Outcome.RETRY, "retry", e.code)
        except LOST:
            return answer.told(Outcome.RETRY, "retry", "database.unavailable")

    async def _read_and_store(self, answer: "Answering", too_large: bool) -> Answer:
        push, format_ = answer.push, answer.format
        try:
            if too_large:
                raise Unparseable("body.too_large")
            verified = authenticate(format_, push)
            self.watch.refuse_mistaken(push.feed.feed)
            items = format_.parse(push)
        except BadSignature:
            await self._refuse(push, "unauthenticated", "signature")
            return answer.told(Outcome.FAILED, "signature")
        except Unparseable as e:
            await self._refuse(push, "unparseable", e.code)
            return answer.told(Outcome.FAILED, "too_large" if e.code == "body.too_large" else "unparseable", e.code)
        receipt = await self._store(push, items, verified, "quarantined", answer.receipt_id)
        unread = [item.index for item in receipt.items if item.verdict == "quarantined"] if receipt.counts.quarantined else []
        self.watch.was_read(push.feed.feed, len(unread), receipt.counts.received)
        return answer.told(Outcome.STORED, "stored", unread=unread)

    async def _signed_scans(self, feed: Feed, secrets: Sequence[bytes] | None, told: Told) -> Answer:
        push = RawPush(feed, told.body or b"", told.content_type, now())
        if secrets is None:
            raise _later("keyring.unreadable")
        if told.body is None:
            await self._refuse_as_problem(push, "unparseable", "body.too_large")
            raise _unparseable("body.too_large")
        try:
            signed = webhook.verify(told.headers, push.body, secrets, push.received_at)
        except BadSignature:
            await self._refuse_as_problem(push, "unauthenticated", "signature")
            raise Problem(
                401,
                "signature.invalid",
                "签名无效或已过期，请核对密钥、时钟与签名原文。",
                "The signature is not good or too old: check the secret, the clock and what is signed.",
            ) from None
        receipt = await self._scans(push, told.body, told.headers.get("content-encoding", "").lower(), told.client, signed)
        return Answer(Ack(200, "application/json", msgspec.json.encode(receipt)), receipt.receipt_id)

    async def scans(self, name: str, body: bytes | None, content_type: str, encoding: str, client: str) -> Receipt:
        """A push of the canonical API. Raises Problem: 4xx when nothing was read, 503 when nothing was stored."""
        feed = await self._canonical_feed(name)
        return await self._scans(RawPush(feed, body or b"", content_type, now()), body, encoding, client)

    async def _scans(self, push: RawPush, body: bytes | None, encoding: str, client: str, signed: str | None = None) -> Receipt:
        try:
            if not may_come_from(push.feed, client):
                await self._refuse(push, "unauthenticated", "address")
                raise Problem(403, "feed.address", "不在该来源登记的网络内。", "This address is in no network of the feed.")
            return await self._read_and_store_scans(push, body, encoding, signed)
        except Later as e:
            raise _later(e.code) from None

    async def _refuse_as_problem(self, push: RawPush, kind: str, code: str) -> None:
        try:
            await self._refuse(push, kind, code)
        except Later as e:
            raise _later(e.code) from None

    async def _read_and_store_scans(self, push: RawPush, body: bytes | None, encoding: str, signed: str | None) -> Receipt:
        if push.feed.mode == Mode.PAUSED:
            await self._refuse(push, "paused", "paused")
            raise Problem(
                409, "feed.paused", "该来源已暂停接收，请联系县里的系统管理员。", "This feed is paused: ask the county's administrator."
            )
        try:
            items = canonical.parse(push, inflate(body, encoding))
        except Unparseable as e:
            await self._refuse(push, "unparseable", e.code)
            raise _unparseable(e.code) from None
        return await self._store(push, items, "webhook" if signed else "jwt", "rejected", new_receipt_id(), signed)

    async def _canonical_feed(self, name: str) -> Feed:
        found = await self.feeds.find(name)
        if found is None:
            raise not_found("令牌所属的来源", "feed as the token names", "feed.unknown")
        feed = found.feed
        if feed.format != CANONICAL_FORMAT:
            raise Problem(
                409,
                "feed.format",
                f"此来源的格式是 {feed.format}，请推送到 /v1/push/{feed.feed}。",
                f"The feed speaks {feed.format}: push to /v1/push/{feed.feed}.",
            )
        if feed.signature is not None:
            raise Problem(
                409,
                "feed.signature",
                f"此来源的推送须签名，请推送到 /v1/push/{feed.feed}。",
                f"The pushes of this feed are signed: push to /v1/push/{feed.feed}.",
            )
        return feed

    async def _store(
        self, push: RawPush, items: Sequence[Item | Unreadable], verified: str, unreadable: str, receipt_id: str, signed: str | None = None
    ) -> Receipt:
        self._refuse_early()
        draft = _draft(push, items, verified, unreadable, receipt_id, self.keyring, signed)
        receipt = await self.committer.commit(draft)
        _count(push.feed.feed, receipt)
        return receipt

    def _refuse_early(self) -> None:
        if self._backlog_events >= self._limit_events:
            raise Later("log.backlog")
        self.committer.refuse_early()

    async def _refuse(self, push: RawPush, kind: str, code: str) -> None:
        """Counted before it is answered, so that the count survives us."""
        feed = push.feed
        digest = hashlib.sha256(push.body).digest()
        if self.committer.broken:
            raise Later("database.unavailable")
        async with asyncio.timeout(REFUSE_S), self.database.write() as tx:
            await repository.insert_refused(
                tx, (feed.feed, feed.mode, kind, code, push.received_at, shanghai_day(push.received_at), digest)
            )
        telemetry.pushes_of(feed.feed, kind).inc()
        logger.info("push.refused", feed=feed.feed, kind=kind, code=code)


def _takes(feed: Feed, token: str | None) -> bool:
    if feed.format == CANONICAL_FORMAT:
        return feed.signature == webhook.SCHEME and token is None
    return token is None or TOKEN in NATIVE[feed.format].SCHEMES


def may_come_from(feed: Feed, client: str) -> bool:
    if feed.allow_from is None:
        return True
    try:
        address = ip_address(client)
    except ValueError:  # a socket without one
        return False
    return any(address in network for network in _networks(feed.allow_from))


@lru_cache(maxsize=256)
def _networks(named: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(name) for name in named)


def authenticate(format_: Format, push: RawPush) -> str:
    """By the scheme that the feed fixes, else by the one that the push brings. Raises BadSignature, Unparseable."""
    only = push.feed.signature
    if push.token is not None:
        if only not in (None, TOKEN) or not matches_any(push.token, [secret.decode() for secret in push.secrets]):
            raise BadSignature
        return TOKEN
    if only == TOKEN:
        raise BadSignature
    return format_.verify(push, push.secrets)


def now() -> datetime:
    return datetime.now(SHANGHAI)


def _later(code: str) -> Problem:
    return unavailable(code, "暂时无法接收，未存储，请稍后重试。", "Nothing was stored: send it again later.", retry_after_s=RETRY_AFTER_S)


def _draft(
    push: RawPush,
    items: Sequence[Item | Unreadable],
    verified: str,
    unreadable: str,
    receipt_id: str,
    keyring: Keyring,
    signed: str | None,
) -> Draft:
    feed = push.feed
    key_id, ciphertext = keyring.encrypt(push.body, body_aad(receipt_id))
    readable = [item for item in items if not isinstance(item, Unreadable)]
    identified: list[Identified | Unreadable] = list(identify_all(readable, feed.mode, feed.feed, feed.site_namespace))
    if len(readable) < len(items):
        known = iter(identified)
        identified = [item if isinstance(item, Unreadable) else next(known) for item in items]
    return Draft(
        receipt_id=receipt_id,
        feed=feed,
        received_at=push.received_at,
        verified=verified,
        payload_sha256=hashlib.sha256(push.body).digest(),
        key_id=key_id,
        body=ciphertext,
        items=identified,
        unreadable="quarantined" if unreadable == "quarantined" else "rejected",
        content_type=push.content_type[:MAX_CONTENT_TYPE],
        signed=signed,
    )


def _count(feed: str, receipt: Receipt) -> None:
    telemetry.pushes_of(feed, "stored").inc()
    for verdict in VERDICTS:
        if n := getattr(receipt.counts, verdict):
            telemetry.events_of(feed, verdict).inc(n)


@dataclass(frozen=True)
class Answering:
    """A native push that is still to be answered."""

    push: RawPush
    format: Format
    receipt_id: str

    def told(self, outcome: Outcome, said: str, code: str = "", unread: Sequence[int] = ()) -> Answer:
        if outcome is Outcome.RETRY:
            telemetry.pushes_of(self.push.feed.feed, "later").inc()
        return Answer(self.format.acknowledge(self.push, outcome, SAID[said].format(code=code), unread), self.receipt_id)


_UNPARSEABLE = {
    "body.too_large": (
        413,
        f"请求体（含解压后）超过 {MAX_BODY_BYTES} 字节，请分批发送。",
        f"More than {MAX_BODY_BYTES} bytes: send parts.",
    ),
    "body.encoding": (400, "请求体不是有效的 gzip。", "The body is not valid gzip."),
    "body.encoding_unknown": (415, "请求体只接受 gzip 压缩或不压缩。", "A body comes plain or gzipped."),
    "json.invalid": (400, "请求体不是有效的 JSON。", "The body is not valid JSON."),
    "json.too_deep": (400, "JSON 嵌套过深，最多 32 层。", "The JSON nests too deep: at most 32 levels."),
    "json.repeated_key": (400, "请求体中同一个键出现两次。", "A key of the body is there twice."),
    "body.shape": (422, '请求体应为 {"events": […]}，不含其他字段。', 'The body is {"events": […]} and has no other field.'),
    "items.too_many": (422, "一批最多 500 条，请分批发送。", "A batch holds at most 500 events: send it in parts."),
}


def _unparseable(code: str) -> Problem:
    status, zh, en = _UNPARSEABLE[code]
    return Problem(status, code, zh, en)
