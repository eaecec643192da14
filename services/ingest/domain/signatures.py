"""Why a digest is not the expected one: the mistakes that senders make, tried one after the other. Pure.

Never tells what would have been right: whoever has the secret can compute it, and whoever has not must not learn it.
"""

import contextlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote_from_bytes, unquote_to_bytes

Digest = Callable[[bytes, bytes], str]

EXPLAINED = {
    "signature.good": ("签名正确。", "The signature is good."),
    "signature.missing": ("没有收到签名字段。", "There is no signature where it belongs."),
    "secret.retired": ("签名用的是已作废的密钥。", "It was made with a secret that is no longer good."),
    "secret.whitespace": ("密钥前后多了空白或换行。", "The secret has a space or a line feed too much at an end."),
    "text.encoded": ("签名的是 URL 编码后的文本，应对编码前的原文签名。", "Percent-encoded text was signed: sign it before it is encoded."),
    "text.decoded": ("文本被多解码了一次（URL 编码）。", "The text was percent-decoded once too often."),
    "text.plus": ("文本中的 + 与空格混淆了，+ 须编码为 %2B。", "A + and a space were mixed up: encode a + as %2B."),
    "text.charset": ("签名时文本用的是另一种字符集（GBK/UTF-8）。", "The text was signed in the other charset (GBK, UTF-8)."),
    "text.whitespace": ("签名的文本首尾空白与发送的不同。", "What was signed has other whitespace at its ends than what was sent."),
    "text.bom": ("文本带有 BOM。", "There is a byte order mark."),
    "digest.case": ("摘要的大小写不对。", "The digest is in the wrong case."),
    "digest.form": (
        "摘要的写法不对（十六进制与 Base64 混用）。",
        "The digest is written in the wrong way: hex for Base64 or so.",
    ),
    "digest.order": ("密钥拼接的位置不对。", "The secret was put at the wrong end of the text."),
    "signature.other": (
        "签名不符，原因不在常见的几种之内：请核对密钥本身，以及被签名的是否正是发送的文本。",
        "Not the expected one, for none of the usual reasons: check the secret itself, and that what is signed is what is sent.",
    ),
}


def diagnose(text: bytes, given: str, living: Sequence[bytes], retired: Sequence[bytes], digest: Digest) -> str:
    """A code of EXPLAINED."""
    if not given:
        return "signature.missing"
    if any(digest(text, secret) == given for secret in living):
        return "signature.good"
    if any(digest(text, secret) == given for secret in retired):
        return "secret.retired"
    for code, guess in _guesses(text, [*living, *retired], digest):
        if guess == given:
            return code
    return "signature.other"


def _guesses(text: bytes, secrets: Sequence[bytes], digest: Digest) -> Iterator[tuple[str, str]]:
    for secret in secrets:
        for padded in (secret + b"\n", secret + b"\r\n", secret + b" ", b" " + secret):
            yield "secret.whitespace", digest(text, padded)
        for code, other in _texts(text):
            yield code, digest(other, secret)
        right = digest(text, secret)
        yield "digest.case", right.upper()
        yield "digest.case", right.lower()
        yield from (("digest.form", written) for written in _written_otherwise(right))
        yield "digest.order", digest(secret + text, b"")


def _texts(text: bytes) -> Iterator[tuple[str, bytes]]:
    yield "text.encoded", quote_from_bytes(text).encode()
    yield "text.encoded", quote_from_bytes(text, safe="").encode()
    yield "text.encoded", quote_from_bytes(text, safe="").replace("%20", "+").encode()
    yield "text.decoded", unquote_to_bytes(text)
    yield "text.plus", text.replace(b" ", b"+")
    yield "text.plus", text.replace(b"+", b" ")
    for was, other in (("utf-8", "gb18030"), ("gb18030", "utf-8")):
        try:
            yield "text.charset", text.decode(was).encode(other)
        except UnicodeError:
            continue
    yield "text.whitespace", text.strip()
    yield from (("text.whitespace", text + end) for end in (b"\n", b"\r\n", b" "))
    yield "text.bom", b"\xef\xbb\xbf" + text
    yield "text.bom", text.removeprefix(b"\xef\xbb\xbf")


def _written_otherwise(digest: str) -> Iterator[str]:
    """The same bytes as hex, as Base64, and as Base64 of the hex text."""
    for raw in _bytes_of(digest):
        for written in (raw.hex(), raw.hex().upper(), b64encode(raw).decode(), b64encode(raw.hex().encode()).decode()):
            if written != digest:
                yield written


def _bytes_of(digest: str) -> Iterator[bytes]:
    with contextlib.suppress(ValueError):
        yield bytes.fromhex(digest)
    with contextlib.suppress(ValueError):
        raw = b64decode(digest, validate=True)
        yield raw
        yield bytes.fromhex(raw.decode("ascii"))
