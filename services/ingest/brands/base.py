"""What a sender's format is: a push, how it is authenticated and read, and its answer. The helpers that they share: wire.py."""

import re
from binascii import unhexlify
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

from services.ingest.domain.items import Item, Unreadable, latest
from shared.contracts.scan import Action

MAX_FORM_FIELDS = 32
GBK = frozenset({"gbk", "gb2312", "gb18030"})
CHARSETS = frozenset({"utf-8", "utf8"}) | GBK
TOKEN = "token"  # noqa: S105 - the scheme's name: the secret is the last part of the address


class Mode(StrEnum):
    SANDBOX = "sandbox"
    LIVE = "live"
    PAUSED = "paused"


@dataclass(frozen=True)
class Feed:
    """Who pushes, and for which brands it may speak. `site_namespace`: whose site codes it uses; None: each item's brand's.

    `signature`: the one scheme by which it authenticates; None: any that its format knows. `allow_from`: the networks that its pushes may
    come from; None: any.
    """

    feed: str
    format: str
    brands: tuple[str, ...]
    site_namespace: str | None
    mode: str
    silence_after_s: int
    signature: str | None = None
    allow_from: tuple[str, ...] | None = None

    @property
    def has_secret(self) -> bool:
        """All but a canonical feed whose pushes come with a token."""
        return self.format != "canonical" or self.signature is not None

    def namespace(self, brand: str) -> str:
        return self.site_namespace or brand


class BadSignature(Exception):
    """None of the feed's secrets made this signature."""


class Unparseable(Exception):
    """The push as a whole cannot be read; the argument is a stable code."""

    @property
    def code(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class RawPush:
    """The exact bytes of a push. `token`: the last part of a secret address, for senders that cannot sign.

    `headers` (names in lower case) and `query` hold what some senders sign with; `secrets`: what an enciphered body is opened with.
    """

    feed: Feed
    body: bytes
    content_type: str
    received_at: datetime
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[bytes] = ()

    @cached_property
    def latest(self) -> str:
        """The last moment that a scan of this push can be of."""
        return latest(self.received_at)

    @cached_property
    def form(self) -> Mapping[str, bytes]:
        """Fields of an `application/x-www-form-urlencoded` body, the bytes that each stands for. Raises Unparseable."""
        if not self.body:
            raise Unparseable("body.empty")
        # Not strict: some clients end a form with `&`; a field without `=` is an empty one, which `field` refuses.
        pairs = [part.partition(b"=") for part in self.body.split(b"&", MAX_FORM_FIELDS) if part]
        if len(pairs) > MAX_FORM_FIELDS:
            raise Unparseable("form.invalid")
        fields = {_unquoted(name).decode("latin-1"): _unquoted(value) for name, _, value in pairs}
        if len(fields) != len(pairs):
            raise Unparseable("form.repeated_field")  # two readers might each believe another one
        return fields

    def field_bytes(self, name: str) -> bytes:
        value = self.form.get(name)
        if not value:
            raise Unparseable(f"form.no_{name}")
        return value

    def field(self, name: str, gbk: bool = False) -> str:
        return self.text(self.field_bytes(name), gbk)

    def text(self, data: bytes, gbk: bool = False) -> str:
        """In the charset that the content type names, else UTF-8; `gbk`: of a sender that also writes GBK without saying so."""
        said = self.charset
        if said in GBK:
            return _decoded(data, "gb18030")
        try:
            return data.decode()
        except UnicodeDecodeError:
            if not gbk or said:
                raise Unparseable("text.charset") from None
        return _decoded(data, "gb18030")

    @cached_property
    def charset(self) -> str:
        """What the content type names; "": nothing. Raises Unparseable for one that no sender uses."""
        _, named, charset = self.content_type.partition("charset=")
        charset = charset.partition(";")[0].strip(" \"'")
        if named and charset not in CHARSETS:
            raise Unparseable("text.charset")
        return charset


_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


def _unquoted(text: bytes) -> bytes:
    """The bytes behind percent-encoding, as urllib's unquote_to_bytes has them: a run of escapes at a time, in half the time."""
    plain = text.replace(b"+", b" ")
    return _ESCAPES.sub(lambda run: unhexlify(run[0].replace(b"%", b"")), plain) if b"%" in plain else plain


def _decoded(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        raise Unparseable("text.charset") from None


class Outcome(StrEnum):
    """What became of a push as a whole; each format says it in its sender's own words."""

    STORED = "stored"
    FAILED = "failed"  # the sender must change something
    RETRY = "retry"  # nothing was stored; the same push, later, is welcome


@dataclass(frozen=True)
class Ack:
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Wire:
    """A signed push, ready to be sent. `token`: what is appended to the address; `query`: behind a `?`."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    token: str | None = None

    def path(self, feed: str) -> str:
        return f"/v1/push/{feed}" + (f"/{self.token}" if self.token else "") + (f"?{self.query}" if self.query else "")


class Format(Protocol):
    """The verbs and tables that each module of a sender's format exports. A new sender is one file with its table."""

    NAME: str  # Chinese and English
    BRANDS: Sequence[str]  # that it can tell of
    SCHEMES: Sequence[str]  # by which it authenticates: `digest`, `hmac`, `cipher`, `token`; the first is the usual one
    MAPPING_VERSION: int
    CODES: Mapping[str, Action]
    SAMPLE: Any

    def verify(self, push: RawPush, secrets: Sequence[bytes]) -> str:
        """By which of its schemes the push is authenticated. Raises BadSignature, Unparseable. `token` is not asked here."""

    def document(self, push: RawPush) -> Any:
        """What the push holds, decoded and not yet read. Raises Unparseable."""

    def reading(self, raw: str) -> Action:
        """What a raw action means by the table as it is now: the same for a scan that was sent long ago."""

    def parse(self, push: RawPush) -> list[Item | Unreadable]:
        """The items in order. Raises Unparseable."""

    def acknowledge(self, push: RawPush, outcome: Outcome, message: str, unread: Sequence[int] = ()) -> Ack:
        """`unread`: the indexes of the items that could not be read, for a sender that wants to know."""

    def sign(self, payload: Any, secret: bytes) -> Wire:
        """A payload as the sender would send it."""
