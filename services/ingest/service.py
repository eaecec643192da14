"""What ingest does with a push: find the feed, authenticate, read, commit, acknowledge in the sender's own words."""

import asyncio
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.ingest import repository
from services.ingest.accept import Draft, Receipt, body_aad, new_receipt_id
from services.ingest.brands import CANONICAL_FORMAT, NATIVE, TOKEN_FORMATS, canonical
from services.ingest.brands.base import Ack, BadSignature, Feed, Format, Mode, Outcome, RawPush, Unparseable
from services.ingest.committer import NOT_FOUND_OUT, Committer, Later
from services.ingest.domain.items import Identified, Item, Unreadable, identify
from services.ingest.domain.verdicts import VERDICTS
from services.ingest.feeds import FeedBook
from services.ingest.settings import Settings
from shared import log, telemetry
from shared.calendar import SHANGHAI, shanghai_day
from shared.contracts.scan import TOPIC
from shared.db import LOST, Database
from shared.keyring import Keyring
from shared.problems import Problem, not_found, unavailable

logger = structlog.get_logger(__name__)

MAX_BODY_BYTES = 1 << 20
BACKLOG_EVERY_S = 1.0
HANGS_S = 2.0  # PostgreSQL that has not answered the simplest question for so long hangs
REFUSE_S = 2.0  # to count a push that was refused
RETRY_AFTER_S = 5

# What a sender's engineer reads in the answer: what happened, what to do.
SAID = {
    "stored": "成功 / stored",
    "signature": "签名错误，请核对密钥与编码 / bad signature: check the secret and the encoding",
    "paused": "该来源已暂停接收，请联系县里的系统管理员 / this feed is paused: ask the county's administrator",
    "too_large": f"报文超过 {MAX_BODY_BYTES} 字节（{{code}}），请分批推送 / more than {MAX_BODY_BYTES} bytes ({{code}}): push in parts",
    "unparseable": "报文无法解析（{code}），请修正后重推 / cannot be parsed ({code}): mend it and push again",
    "retry": "暂时无法接收（{code}），未存储，请稍后重推 / not stored ({code}): push again later",
}


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
        self._limit_events = settings.backlog_events
        self._backlog_events = 0
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.committer.start()
        self._watcher = asyncio.create_task(self._watch_backlog())

    async def close(self) -> None:
        if self._watcher:
            self._watcher.cancel()
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

    async def push(self, name: str, body: bytes | None, content_type: str, token: str | None) -> Answer:
        """A push in the sender's own format; `body` None: larger than MAX_BODY_BYTES. 404 for a feed that takes no such pushes."""
        found = await self.feeds.find(name)
        if found is None or found[0].format not in NATIVE or (token is not None and found[0].format not in TOKEN_FORMATS):
            raise not_found("该推送地址", "push address", "feed.unknown")
        feed, secrets = found
        format_ = NATIVE[feed.format]
        receipt_id = new_receipt_id()
        push = RawPush(feed, body or b"", content_type, _now(), token)
        try:
            if feed.mode == Mode.PAUSED:
                await self._refuse(push, "paused", "paused")
                return _answer(feed, format_, Outcome.FAILED, "paused", receipt_id)
            if secrets is None:
                raise Later("keyring.unreadable")
            return await self._read_and_store(push, format_, secrets, receipt_id, body is None)
        except Later as e:
            return _answer(feed, format_, Outcome.RETRY, "retry", receipt_id, e.code)
        except LOST:
            return _answer(feed, format_, Outcome.RETRY, "retry", receipt_id, "database.unavailable")

    async def _read_and_store(self, push: RawPush, format_: Format, secrets: Sequence[bytes], receipt_id: str, too_large: bool) -> Answer:
        try:
            if too_large:
                raise Unparseable("body.too_large")
            verified = format_.verify(push, secrets)
            items = format_.parse(push)
        except BadSignature:
            await self._refuse(push, "unauthenticated", "signature")
            return _answer(push.feed, format_, Outcome.FAILED, "signature", receipt_id)
        except Unparseable as e:
            await self._refuse(push, "unparseable", e.code)
            said = "too_large" if e.code == "body.too_large" else "unparseable"
            return _answer(push.feed, format_, Outcome.FAILED, said, receipt_id, e.code)
        await self._store(push, items, verified, "quarantined", receipt_id)
        return _answer(push.feed, format_, Outcome.STORED, "stored", receipt_id)

    async def scans(self, name: str, body: bytes | None, encoding: str) -> Receipt:
        """A push of the canonical API. Raises Problem: 4xx when nothing was read, 503 when nothing was stored."""
        feed = await self._canonical_feed(name)
        push = RawPush(feed, body or b"", "application/json", _now())
        try:
            return await self._read_and_store_scans(push, body, encoding)
        except Later as e:
            raise unavailable(
                e.code, "暂时无法接收，未存储，请稍后重试。", "Nothing was stored: send it again later.", retry_after_s=RETRY_AFTER_S
            ) from None

    async def _read_and_store_scans(self, push: RawPush, body: bytes | None, encoding: str) -> Receipt:
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
        return await self._store(push, items, "jwt", "rejected", new_receipt_id())

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
        return feed

    async def _store(self, push: RawPush, items: Sequence[Item | Unreadable], verified: str, unreadable: str, receipt_id: str) -> Receipt:
        self._refuse_early()
        draft = _draft(push, items, verified, unreadable, receipt_id, self.keyring)
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
        telemetry.INGEST_PUSHES.labels(feed.feed, kind).inc()
        logger.info("push.refused", feed=feed.feed, kind=kind, code=code)


def _now() -> datetime:
    return datetime.now(SHANGHAI)


def _draft(push: RawPush, items: Sequence[Item | Unreadable], verified: str, unreadable: str, receipt_id: str, keyring: Keyring) -> Draft:
    feed = push.feed
    key_id, ciphertext = keyring.encrypt(push.body, body_aad(receipt_id))
    identified: list[Identified | Unreadable] = [
        identify(item, feed.mode, feed.feed, feed.namespace(item.brand)) if isinstance(item, Item) else item for item in items
    ]
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
    )


def _count(feed: str, receipt: Receipt) -> None:
    telemetry.INGEST_PUSHES.labels(feed, "stored").inc()
    for verdict in VERDICTS:
        if n := getattr(receipt.counts, verdict):
            telemetry.INGEST_EVENTS.labels(feed, verdict).inc(n)


def _answer(feed: Feed, format_: Format, outcome: Outcome, said: str, receipt_id: str, code: str = "") -> Answer:
    if outcome is Outcome.RETRY:
        telemetry.INGEST_PUSHES.labels(feed.feed, "later").inc()
    return Answer(format_.acknowledge(outcome, SAID[said].format(code=code)), receipt_id)


def inflate(body: bytes | None, encoding: str) -> bytes:
    """What stands behind `Content-Encoding: gzip`, never more than MAX_BODY_BYTES of it. Raises Unparseable."""
    if body is None:
        raise Unparseable("body.too_large")
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Unparseable("body.encoding_unknown")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = inflater.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise Unparseable("body.encoding") from None
    if len(plain) > MAX_BODY_BYTES:
        raise Unparseable("body.too_large")
    if not inflater.eof or inflater.unused_data:
        raise Unparseable("body.encoding")
    return plain


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
    "body.shape": (422, '请求体应为 {"events": […]}，不含其他字段。', 'The body is {"events": […]} and has no other field.'),
    "items.too_many": (422, "一批最多 500 条，请分批发送。", "A batch holds at most 500 events: send it in parts."),
}


def _unparseable(code: str) -> Problem:
    status, zh, en = _UNPARSEABLE[code]
    return Problem(status, code, zh, en)
