"""How a feed is doing, when it is told to come later, and why its signature is not good."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from services.ingest.brands import NATIVE
from services.ingest.brands.wire import md5_base64, md5_hex, md5_hex_upper
from services.ingest.domain.health import LastHour, status_of
from services.ingest.domain.shares import LEAST, PROBE_S, WINDOW, Share
from services.ingest.domain.signatures import EXPLAINED, diagnose

NOW = datetime(2023, 7, 14, 12, tzinfo=UTC)
FINE = LastHour(pushes=100, refused=0, events=1000, rejected=0, skew=timedelta(seconds=-2))


@pytest.mark.parametrize(
    ("hour", "silent_for_s", "mode", "expected"),
    [
        (FINE, 10, "live", ("ok", [])),
        (FINE, 10, "sandbox", ("ok", [])),
        (FINE, 7201, "live", ("silent", ["silence"])),
        (FINE, None, "live", ("silent", ["silence"])),
        (FINE, None, "paused", ("ok", ["paused"])),
        (FINE._replace(refused=5), 10, "live", ("ok", [])),
        (FINE._replace(refused=6), 10, "live", ("degraded", ["refused"])),
        (FINE._replace(refused=51), 10, "live", ("failing", ["refused"])),
        (FINE._replace(refused=51), 7201, "live", ("failing", ["refused"])),
        (FINE._replace(rejected=51), 10, "live", ("degraded", ["rejected"])),
        (FINE._replace(rejected=501, refused=90), 10, "live", ("failing", ["refused", "rejected"])),
        (FINE._replace(skew=timedelta(minutes=5, seconds=1)), 10, "live", ("degraded", ["clock_ahead"])),
        (LastHour(4, 4, 0, 0, None), 10, "live", ("degraded", ["refused"])),
        (LastHour(5, 3, 19, 19, None), 10, "live", ("failing", ["refused"])),
        (LastHour(0, 0, 0, 0, None), 10, "live", ("ok", [])),
    ],
)
def test_how_a_feed_is_doing(hour: LastHour, silent_for_s: int | None, mode: str, expected: tuple[str, list[str]]) -> None:
    last = None if silent_for_s is None else NOW - timedelta(seconds=silent_for_s)
    assert status_of(mode, last, 7200, hour, NOW) == expected


def test_a_feed_of_which_most_cannot_be_read_is_told_to_come_later() -> None:
    share = Share()
    for n in range(LEAST - 1):
        assert not share.told(1, 1, n)
    assert not share.refuses(0)
    assert share.told(1, 1, 100), "the hundredth"
    assert share.refuses(100)
    assert not share.refuses(100 + PROBE_S), "one is let through"
    assert share.refuses(100 + PROBE_S), "and no second one"
    assert not share.told(1, 1, 131), "still the same"
    assert not share.refuses(100 + 2 * PROBE_S)
    assert share.told(0, 1, 161), "it is over"
    assert not share.refuses(161)


def test_a_single_bad_batch_among_good_ones_holds_nothing_back() -> None:
    share = Share()
    for n in range(1000):
        assert not share.told(1 if n % 2 else 0, 1, n)
    share = Share()
    assert not share.told(50, 100, 0), "half of them"
    assert share.told(52, 100, 1), "more than half of what is looked back at"
    share = Share()
    for n in range(WINDOW // 10):
        share.told(0, 10, n)
    assert not share.told(100, 100, 999)
    assert share.told(10, 10, 1000), "what is older than the window is forgotten"


TEXT = '{"facilityName":"上王村 便民+服务点"}'.encode()
SECRET, OLD = b"k-1", b"k-0"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (md5_base64(TEXT, SECRET), "signature.good"),
        ("", "signature.missing"),
        (md5_base64(TEXT, OLD), "secret.retired"),
        (md5_base64(TEXT, SECRET + b"\n"), "secret.whitespace"),
        (md5_base64(quote(TEXT).encode(), SECRET), "text.encoded"),
        (md5_base64(TEXT.replace(b"+", b" "), SECRET), "text.plus"),
        (md5_base64(TEXT.decode().encode("gbk"), SECRET), "text.charset"),
        (md5_base64(TEXT + b"\n", SECRET), "text.whitespace"),
        (md5_base64(b"\xef\xbb\xbf" + TEXT, SECRET), "text.bom"),
        (md5_hex_upper(TEXT, SECRET), "digest.form"),
        (md5_hex(TEXT + SECRET), "digest.form"),
        (md5_base64(SECRET + TEXT, b""), "digest.order"),
        (md5_base64(TEXT, b"another"), "signature.other"),
        ("é", "signature.other"),
    ],
)
def test_why_a_digest_is_not_the_expected_one(given: str, code: str) -> None:
    assert diagnose(TEXT, given, [SECRET], [OLD], md5_base64) == code
    assert all(EXPLAINED[code])


def test_the_case_of_a_digest() -> None:
    right = md5_hex_upper(TEXT, SECRET)
    assert diagnose(TEXT, right.lower(), [SECRET], [], md5_hex_upper) == "digest.case"


def test_every_format_that_signs_by_a_digest_says_what_it_signs() -> None:
    by_digest = [name for name, module in NATIVE.items() if module.SCHEMES[0] in ("digest", "hmac")]
    assert [name for name in by_digest if not hasattr(NATIVE[name], "signed") or not hasattr(NATIVE[name], "digest")] == []
