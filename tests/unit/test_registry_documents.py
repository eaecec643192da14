"""Whether bytes are the document that they are said to be, and what a filing's materials lack."""

import contextlib
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.domain import documents as rules
from services.registry.domain import materials
from services.registry.domain.refusals import Conflict, Invalid
from shared.contracts.registry import DocumentKind as K
from shared.contracts.registry import FilerType, Filing, FilingSegment, FilingStatus, Material
from tests import media

WHOLE = [
    (rules.JPEG, media.JPEG),
    (rules.JPEG, media.JPEG + b"MotionPhoto_Data" * 9),  # what phones append
    (rules.PNG, media.png()),
    (rules.WEBP, media.WEBP),
    (rules.WEBP, media.WEBP_LOSSLESS),
    (rules.PDF, media.pdf()),
    (rules.PDF, media.pdf() + b"\n\n"),
]


def refused(data: bytes, media_type: str, kind: K = K.OTHER) -> str:
    with pytest.raises(Invalid) as e:
        rules.check(data, media_type, kind)
    return e.value.code


@pytest.mark.parametrize(("media_type", "data"), WHOLE)
def test_a_whole_document_is_taken(media_type: str, data: bytes) -> None:
    rules.check(data, media_type, K.OTHER)


@pytest.mark.parametrize(
    ("media_type", "data"),
    [(rules.JPEG, media.JPEG), (rules.PNG, media.png()), (rules.WEBP, media.WEBP), (rules.PDF, media.pdf().rstrip())],
)
def test_whatever_is_cut_off_is_not(media_type: str, data: bytes) -> None:
    """At every byte: what is left has lost its end, or is nothing known."""
    for end in range(len(data)):
        assert refused(data[:end], media_type) in ("document.damaged", "document.unknown_type", "document.empty"), end


def test_a_document_is_of_the_type_that_is_said() -> None:
    for media_type, data in WHOLE:
        for other in set(rules.MEDIA_TYPES) - {media_type}:
            assert refused(data, other) == "document.other_type"
    for data in (b"\x00\x00\x00\x18ftypheic" * 9, b"GIF89a" * 9, b"<svg/>", b"\n%PDF-1.4", b"MZ"):
        assert refused(data, rules.JPEG) == "document.unknown_type"
    assert refused(b"", rules.PNG) == "document.empty"


@pytest.mark.parametrize(
    ("width", "height", "taken"),
    [(1, 1, True), (12_000, 5_000, True), (12_001, 1, False), (1, 12_001, False), (8_001, 8_000, False), (0, 7, False), (7, 0, False)],
)
def test_a_picture_has_a_size_that_can_be_shown(width: int, height: int, taken: bool) -> None:
    data = media.png(width, height)
    if taken:
        rules.check(data, rules.PNG, K.PHOTO)
    else:
        assert refused(data, rules.PNG, K.PHOTO) == "document.dimensions"


def test_sizes_are_read_of_every_type() -> None:
    wide = media.JPEG.replace(b"\xff\xc2\x00\x0b\x08\x00\x01\x00\x01", b"\xff\xc2\x00\x0b\x08\x00\x01\xff\xff")
    assert wide != media.JPEG
    assert refused(wide, rules.JPEG) == "document.dimensions"
    lossy = media.WEBP.replace(b"\x9d\x01\x2a\x01\x00\x01\x00", b"\x9d\x01\x2a\xff\x3f\x01\x00")
    assert lossy != media.WEBP
    assert refused(lossy, rules.WEBP) == "document.dimensions"
    lossless = media.WEBP_LOSSLESS.replace(b"\x2f\x00\x00\x00\x10", b"\x2f\xff\x3f\x00\x10")
    assert lossless != media.WEBP_LOSSLESS
    assert refused(lossless, rules.WEBP) == "document.dimensions"


def test_a_photo_is_a_picture() -> None:
    assert refused(media.pdf(), rules.PDF, K.PHOTO) == "document.photo_is_picture"
    rules.check(media.pdf(), rules.PDF, K.LICENCE)


def test_a_changed_byte_of_a_png_is_told() -> None:
    data = bytearray(media.png())
    data[45] ^= 1
    assert refused(bytes(data), rules.PNG) == "document.damaged"


@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), max_size=4))
def test_no_bytes_are_more_than_refused(whole: tuple[str, bytes], changes: list[tuple[int, bytes]]) -> None:
    media_type, data = whole
    for at, put in changes:
        data = data[:at] + put + data[at + len(put) :]
    with contextlib.suppress(Invalid):
        rules.check(data, media_type, K.OTHER)


def test_an_id_is_the_hash_of_the_bytes() -> None:
    id_ = rules.document_id(bytes(range(32)))
    assert rules.digest_of(id_) == bytes(range(32))
    for other in ("", "sha256:", id_[:-1], id_ + "0", id_.upper(), id_.removeprefix("sha256:"), f" {id_}", f"{id_}\n"):
        assert rules.digest_of(other) is None


T = datetime(2023, 6, 8, tzinfo=UTC)


def filing(filer_type: FilerType = FilerType.ENTERPRISE, *kinds: K) -> Filing:
    draft = FilingSegment(valid_from=T, valid_to=None, status=FilingStatus.DRAFT, receipt_no=None)
    return Filing(
        filing_id="fil_7", filer_id="opr_1", covers_brands=("zto",), authority="运城市邮政管理局", opened_on=date(2023, 5, 30),
        submitted_at=None, decided_at=None, segments=(draft,), filer_type=filer_type,
        materials=tuple(Material(kind=kind, document_id=rules.document_id(bytes([i] * 32))) for i, kind in enumerate(kinds)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("filer_type", "there", "missing"),
    [
        (FilerType.ENTERPRISE, (), [K.LICENCE, K.IDENTITY, K.PHOTO]),
        (FilerType.BRANCH, (), [K.LICENCE, K.IDENTITY, K.PHOTO, K.AUTHORISATION]),
        (FilerType.ENTERPRISE, (K.PHOTO, K.PHOTO, K.OTHER), [K.LICENCE, K.IDENTITY]),
        (FilerType.ENTERPRISE, (K.IDENTITY, K.PHOTO, K.LICENCE), []),
        (FilerType.BRANCH, (K.IDENTITY, K.PHOTO, K.LICENCE), [K.AUTHORISATION]),
        (FilerType.BRANCH, (K.AUTHORISATION, K.IDENTITY, K.PHOTO, K.LICENCE), []),
    ],
)
def test_what_the_article_asks_for_and_is_not_there(filer_type: FilerType, there: tuple[K, ...], missing: list[K]) -> None:
    assert materials.missing(filing(filer_type, *there)) == missing


def test_a_material_is_added_once_and_not_without_end() -> None:
    paper = Material(kind=K.LICENCE, document_id=rules.document_id(bytes(32)))
    once = materials.added(filing(), paper)
    assert once.materials == (paper,)
    assert materials.added(once, paper) is once
    full = filing(FilerType.ENTERPRISE, *[K.OTHER] * materials.MAX_MATERIALS)
    with pytest.raises(Conflict, match=r"filing\.too_many_materials"):
        materials.added(full, paper)
