"""What the modules of the senders' formats have in common: a push, how it was authenticated, its answer."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from services.ingest.domain.items import MAX_DEPTH, MAX_ITEMS, Item, Unreadable, latest
from shared.contracts.scan import Action

MAX_FORM_FIELDS = 32
MAX_FIELD_NAME = 64


class Mode(StrEnum):
    SANDBOX = "sandbox"
    LIVE = "live"
    PAUSED = "paused"


@dataclass(frozen=True)
class Feed:
    """Who pushes, and for which brands it may speak. `site_namespace`: whose site codes it uses; None: each item's brand's."""

    feed: str
    format: str
    brands: tuple[str, ...]
    site_namespace: str | None
    mode: str
    silence_after_s: int

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
    """The exact bytes of a push. `token`: the last part of a secret address, for senders that cannot sign."""

    feed: Feed
    body: bytes
    content_type: str
    received_at: datetime
    token: str | None = None

    @cached_property
    def latest(self) -> str:
        """The last moment that a scan of this push can be of."""
        return latest(self.received_at)

    @cached_property
    def form(self) -> Mapping[str, str]:
        """Fields of an `application/x-www-form-urlencoded` body, decoded once. Raises Unparseable."""
        if not self.body:
            raise Unparseable("body.empty")
        try:
            # not strict: some clients end a form with `&`; a field without `=` is an empty one, which `field` refuses
            pairs = parse_qsl(self.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
        except ValueError:  # also UnicodeDecodeError
            raise Unparseable("form.invalid") from None
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise Unparseable("form.repeated_field")  # two readers might each believe another one
        return fields

    def field(self, name: str) -> str:
        value = self.form.get(name)
        if not value:
            raise Unparseable(f"form.no_{name}")
        return value


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


class Signed(Protocol):
    """What a sender puts on the wire."""

    @property
    def body(self) -> bytes: ...
    @property
    def content_type(self) -> str: ...


@dataclass(frozen=True)
class Wire:
    """A signed push, ready to be sent."""

    body: bytes
    content_type: str


class Format(Protocol):
    """The verbs that each module of a sender's format exports. A new sender is one file with its table."""

    MAPPING_VERSION: int
    CODES: Mapping[str, Action]
    SAMPLE: Any

    def verify(self, push: RawPush, secrets: Sequence[bytes]) -> str:
        """How the push was authenticated (`digest`, `hmac`, `token`). Raises BadSignature, Unparseable."""

    def parse(self, push: RawPush) -> list[Item | Unreadable]:
        """The items in order. Raises Unparseable."""

    def acknowledge(self, outcome: Outcome, message: str) -> Ack: ...

    def sign(self, payload: Any, secret: bytes) -> Wire:
        """A payload as the sender would send it."""


# helpers of the formats
def md5_base64(text: bytes, secret: bytes) -> str:
    """B64(MD5raw(text + secret)): what several carriers call a digest. Weak, and theirs to choose."""
    return b64encode(hashlib.md5(text + secret, usedforsecurity=False).digest()).decode()


def md5_hex_upper(text: bytes, secret: bytes) -> str:
    return hashlib.md5(text + secret, usedforsecurity=False).hexdigest().upper()


def hmac_base64(text: bytes, secret: bytes) -> str:
    return b64encode(hmac.digest(secret, text, "sha256")).decode()


def matches_any(given: str, expected: Sequence[str]) -> bool:
    """Constant time in what is compared; every secret is tried, so that timing does not tell which one is alive."""
    found = [hmac.compare_digest(given.encode(), one.encode()) for one in expected]
    return any(found)


def decode_json(text: str | bytes) -> Any:
    """Raises Unparseable for what is no JSON, or nests deeper than MAX_DEPTH."""
    try:
        document = msgspec.json.decode(text)
    except RecursionError:
        raise Unparseable("json.too_deep") from None
    except (msgspec.DecodeError, UnicodeError):
        raise Unparseable("json.invalid") from None
    if _deeper_than(document, MAX_DEPTH):
        raise Unparseable("json.too_deep")
    return document


def _deeper_than(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def bounded(items: list[Any]) -> list[Any]:
    if len(items) > MAX_ITEMS:
        raise Unparseable("items.too_many")
    return items


def dumps(document: Any) -> bytes:
    return msgspec.json.encode(document)


RETRY_STATUS = 503  # with the sender's failure body: whoever reads only one of the two tries again


def status_of(outcome: Outcome) -> int:
    """Senders read the body, and most treat any status but 200 as a failed delivery (domain facts §1.2, 6)."""
    return RETRY_STATUS if outcome is Outcome.RETRY else 200
