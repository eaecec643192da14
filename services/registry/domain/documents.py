"""Photographs and papers: whether bytes are what they are said to be. Pure.

A picture is walked along its own structure to its end, so that what was cut off on the way is told now and not by whoever opens it years
later; no pixel is decoded. Bytes are never changed, since the hash is of what was sent.
Sources: ITU-T T.81 annex B (JPEG), ISO/IEC 15948 (PNG), RFC 9649 (WebP), ISO 32000-2 §7.5 (PDF).
"""

import re
import struct
import zlib
from collections.abc import Callable, Mapping

from services.registry.domain.refusals import Invalid
from shared.contracts.registry import DocumentKind

MAX_BYTES = 5 << 20
MAX_SIDE = 12_000  # pixels
MAX_PIXELS = 64_000_000  # what a viewer has to hold, four bytes each, for a file of 5 MiB that may be all one colour
JPEG, PNG, WEBP, PDF = "image/jpeg", "image/png", "image/webp", "application/pdf"

Size = tuple[int, int]  # width, height in pixels
_ID = re.compile(r"sha256:[0-9a-f]{64}")
_MAGIC = {JPEG: re.compile(rb"\xff\xd8\xff"), PNG: re.compile(rb"\x89PNG\r\n\x1a\n"), WEBP: re.compile(rb"RIFF[\s\S]{4}WEBP"),
          PDF: re.compile(rb"%PDF-[12]\.\d")}  # fmt: skip


def document_id(digest: bytes) -> str:
    """`digest`: SHA-256 of the bytes as sent."""
    return f"sha256:{digest.hex()}"


def digest_of(id_: str) -> bytes | None:
    """None: it is no id of ours."""
    return bytes.fromhex(id_.removeprefix("sha256:")) if _ID.fullmatch(id_) else None


def check(data: bytes, media_type: str, kind: DocumentKind) -> None:
    """Raises Invalid where `data` is no whole document of `media_type`, or none that can be of `kind`."""
    if not data:
        raise Invalid("document.empty", "文件是空的。", "The file is empty.")
    found = next((name for name, magic in _MAGIC.items() if magic.match(data)), None)
    if found is None:
        raise Invalid(
            "document.unknown_type",
            "内容不是 JPEG、PNG、WebP 图片或 PDF，请转换后再传。",
            "It is no JPEG, PNG, WebP or PDF: convert it first.",
        )
    if found != media_type:
        raise Invalid(
            "document.other_type",
            f"内容是 {found}，Content-Type 写的却是 {media_type}，请改正。",
            f"It is {found}, and its Content-Type says {media_type}: correct it.",
        )
    if kind is DocumentKind.PHOTO and found == PDF:
        raise Invalid("document.photo_is_picture", "照片须为图片，不能是 PDF。", "A photo is a picture, not a PDF.")
    try:
        size = _WALKS[found](data)
    except (_Damaged, struct.error):
        raise Invalid("document.damaged", "文件不完整或已损坏，请重新上传。", "The file is cut off or damaged: send it again.") from None
    if size is not None and (min(size) < 1 or max(size) > MAX_SIDE or size[0] * size[1] > MAX_PIXELS):
        raise Invalid(
            "document.dimensions",
            f"图片尺寸为 {size[0]}×{size[1]}，每边须为 1 至 {MAX_SIDE} 像素、总数不超过 {MAX_PIXELS}。",
            f"The picture measures {size[0]} by {size[1]}: 1 to {MAX_SIDE} pixels a side and at most {MAX_PIXELS} in all.",
        )


class _Damaged(Exception):
    """Its structure ends before the document does."""


_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # stuffed zeros and restarts belong to the scan
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 … SOF15 but for DHT, JPG and DAC
_END_OF_IMAGE, _SCAN = 0xD9, 0xDA


def _jpeg(data: bytes) -> Size:
    """Phones append a clip or a second picture: whatever follows the end of the image is not looked at."""
    size: Size | None = None
    scanned, at = False, 2
    while found := _MARKER.match(data, at):
        marker, at = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            break
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise _Damaged
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            size = size or (width, height)
        at += length
        if marker == _SCAN:
            after = _AFTER_SCAN.search(data, at)
            if after is None:
                raise _Damaged
            scanned, at = True, after.start()
    else:
        raise _Damaged
    if size is None or not scanned:
        raise _Damaged
    return size


def _png(data: bytes) -> Size:
    size: Size | None = None
    pictured, at, view = False, 8, memoryview(data)
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise _Damaged
        if size is None:
            if name != b"IHDR" or length != 13:
                raise _Damaged
            width, height = struct.unpack_from(">II", data, at + 8)
            size = width, height
        pictured = pictured or name == b"IDAT"
        if name == b"IEND":
            break
        at = end
    if not pictured:
        raise _Damaged
    return size


def _webp(data: bytes) -> Size:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise _Damaged
    size: Size | None = None
    pictured, at = False, 12
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end:
            raise _Damaged
        if name in _SIZES:
            size = size or _SIZES[name](data[at + 8 : at + 8 + min(length, 16)])
        pictured = pictured or name in (b"VP8 ", b"VP8L", b"ANMF")
        at += 8 + length + length % 2
    if size is None or not pictured:
        raise _Damaged
    return size


def _vp8(chunk: bytes) -> Size:
    code, width, height = struct.unpack_from("<3sHH", chunk, 3)
    if code != b"\x9d\x01\x2a":
        raise _Damaged
    return width & 0x3FFF, height & 0x3FFF


def _vp8l(chunk: bytes) -> Size:
    signature, bits = struct.unpack_from("<BI", chunk)
    if signature != 0x2F:
        raise _Damaged
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _vp8x(chunk: bytes) -> Size:
    if len(chunk) < 10:
        raise _Damaged
    return int.from_bytes(chunk[4:7], "little") + 1, int.from_bytes(chunk[7:10], "little") + 1


_SIZES: Mapping[bytes, Callable[[bytes], Size]] = {b"VP8 ": _vp8, b"VP8L": _vp8l, b"VP8X": _vp8x}

_TAIL_BYTES = 1024  # within which a reader looks for the end
_TAIL = re.compile(rb"startxref\s+(\d{1,10})\s+%%EOF")
_TABLE = re.compile(rb"\s{0,32}(xref\b|\d{1,10}\s{1,32}\d{1,5}\s{1,32}obj\b)")  # a table, or since PDF 1.5 a stream


def _pdf(data: bytes) -> None:
    """Its last trailer names the place of its table of objects, and that is there."""
    tails = _TAIL.findall(data[-_TAIL_BYTES:])
    if not tails or not _TABLE.match(data, int(tails[-1])):
        raise _Damaged


_WALKS: Mapping[str, Callable[[bytes], Size | None]] = {JPEG: _jpeg, PNG: _png, WEBP: _webp, PDF: _pdf}
MEDIA_TYPES = tuple(_WALKS)
