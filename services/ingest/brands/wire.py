"""Helpers of the senders' formats: digests, JSON, XML, what a status code says."""

import hashlib
import hmac
import json
import re
import zlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, ParseError, tostring

import msgspec
from defusedxml import DefusedXmlException, ElementTree

from services.ingest.brands.base import Ack, Outcome, Unparseable
from services.ingest.domain.items import MAX_BODY_BYTES, MAX_DEPTH, MAX_ITEMS

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def md5_base64(text: bytes, secret: bytes) -> str:
    """B64(MD5raw(text + secret)): what several carriers call a digest. Weak, and theirs to choose."""
    return b64encode(hashlib.md5(text + secret, usedforsecurity=False).digest()).decode()


def md5_hex(text: bytes) -> str:
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def md5_hex_upper(text: bytes, secret: bytes) -> str:
    return md5_hex(text + secret).upper()


def hmac_base64(text: bytes, secret: bytes) -> str:
    return b64encode(hmac.digest(secret, text, "sha256")).decode()


def matches_any(given: str, expected: Sequence[str]) -> bool:
    """Constant time in what is compared; every secret is tried, so that timing does not tell which one is alive."""
    found = [hmac.compare_digest(given.encode(errors="replace"), one.encode()) for one in expected]
    return any(found)


def put_right(digest: bytes | str) -> str:
    """A digest as it was made: a `+` that was not percent-encoded arrives as a space."""
    text = digest if isinstance(digest, str) else digest.decode("ascii", errors="replace")
    return text.replace(" ", "+")


def decode_json(text: str | bytes) -> Any:
    """Raises Unparseable for what is no JSON, repeats a key, or nests deeper than MAX_DEPTH."""
    try:
        document = msgspec.json.decode(text)
    except RecursionError:
        raise Unparseable("json.too_deep") from None
    except (msgspec.DecodeError, UnicodeError):
        raise Unparseable("json.invalid") from None
    keys = _keys_within(document, MAX_DEPTH)
    if keys is None:
        raise Unparseable("json.too_deep")
    plain = text if isinstance(text, str) else text.decode()
    if (keys != plain.count('":') or _SPACED.search(plain)) and repeats_a_key(plain):  # the first two are quick, the third exact
        raise Unparseable("json.repeated_key")  # two readers might each believe another value
    return document


def is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _keys_within(document: Any, limit: int) -> int | None:
    """How many keys its objects have; None: it nests deeper than `limit`."""
    level, keys = [document], 0
    for _ in range(limit):
        children = []
        for parent in level:
            if isinstance(parent, dict):
                keys += len(parent)
                children += [child for child in parent.values() if isinstance(child, dict | list)]
            elif isinstance(parent, list):
                children += [child for child in parent if isinstance(child, dict | list)]
        if not children:
            return keys
        level = children
    return None


_SPACED = re.compile(r'"\s+:')


class _Repeated(Exception):
    pass


def _unrepeated(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _Repeated


def repeats_a_key(text: str | bytes) -> bool:
    """Exactly, and slowly."""
    try:
        # numbers stay texts: of one with more than 4,300 digits Python makes none, and raises
        json.loads(text, object_pairs_hook=_unrepeated, parse_int=str, parse_float=str)
    except _Repeated:
        return True
    return False


def decode_xml(text: str) -> Element:
    """Raises Unparseable for what is no XML, declares a document type or an entity, or nests deeper than MAX_DEPTH."""
    try:
        root: Element = ElementTree.fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise Unparseable("xml.doctype") from None
    except (ParseError, ValueError, UnicodeError):
        raise Unparseable("xml.invalid") from None
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in parent]
        if not level:
            return root
    raise Unparseable("xml.too_deep")


def texts(element: Element) -> dict[str, str | None]:
    """{tag: text} of its children. Raises Unparseable when one is there twice."""
    found = {child.tag: child.text for child in element}
    if len(found) != len(element):
        raise Unparseable("xml.repeated_element")
    return found


def xml_bytes(element: Element) -> bytes:
    """In UTF-8, without a declaration: the senders' own samples have none."""
    made: bytes = tostring(element, encoding="utf-8")
    return made


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


def inflated(body: bytes) -> bytes:
    """A body as it was stored: whether it was zipped shows in its first bytes."""
    return inflate(body, "gzip" if body.startswith(b"\x1f\x8b") else "")


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


def json_ack(outcome: Outcome, document: Any) -> Ack:
    return Ack(status_of(outcome), JSON, dumps(document))
