"""Keyring, calendar, money, identity, sites: the small things that everything else stands on."""

from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shared import calendar, identity, keyring, money, sites


def test_the_keyring_opens_only_its_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    keyring.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    ring = keyring.Keyring.load(path)
    key, secret = ring.encrypt("张三".encode(), b"row 1")
    assert ring.decrypt(key, secret, b"row 1").decode() == "张三"
    for wrong_key, wrong_row in ((key, b"row 2"), ("key_9", b"row 1")):
        with pytest.raises(keyring.KeyringError):
            ring.decrypt(wrong_key, secret, wrong_row)
    with pytest.raises(FileExistsError):
        keyring.create(path)


def test_no_two_keyrings_name_their_keys_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        keyring.create(tmp_path / name)
    assert keyring.Keyring.load(tmp_path / "a").current != keyring.Keyring.load(tmp_path / "b").current


@pytest.mark.parametrize("content", ["", "[]", '{"keys": {}, "current": "a"}', '{"keys": {"a": "!"}, "current": "a"}'])
def test_a_damaged_keyring_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "k").write_text(content)
    with pytest.raises(keyring.KeyringError, match="backup"):
        keyring.Keyring.load(tmp_path / "k")


def test_the_calendar_is_shanghai() -> None:
    late = datetime(2023, 12, 31, 16, 30, tzinfo=UTC)
    assert calendar.shanghai_day(late) == date(2024, 1, 1)
    assert calendar.rfc3339(late) == "2024-01-01T00:30:00+08:00"
    assert calendar.day_start(date(2024, 1, 1)) == datetime(2023, 12, 31, 16, tzinfo=UTC)
    assert (calendar.month_of(date(2023, 7, 1)), calendar.next_month("2023-12"), calendar.next_month("2023-07")) == (
        "2023-07",
        "2024-01",
        "2023-08",
    )


@pytest.mark.parametrize(
    ("fen", "text"), [(0, "0.00"), (48, "0.48"), (-48, "-0.48"), (6821220801, "68,212,208.01"), (10**12, "10,000,000,000.00")]
)
def test_yuan_is_exact(fen: int, text: str) -> None:
    assert money.yuan(fen) == text


@pytest.mark.parametrize(
    ("told", "plain"),
    [("上王村便民服务点", "上王村便民服务"), (" 寨里 点 ", "寨里"), ("ＺＴＯ店", "zto"), ("站", "站"), ("兜点店", "兜点"), ("", "")],
)
def test_the_site_normaliser(told: str, plain: str) -> None:
    assert sites.normalise(told) == plain


def test_a_site_is_its_code_if_it_has_one() -> None:
    assert sites.site_id("zto", "A1", "上王村") == sites.site_id("zto", "a1", None)
    assert sites.site_id("zto", None, "上王村点") == sites.site_id("zto", None, "上王村")
    assert sites.site_id("zto", None, "上王村") != sites.site_id("sto", None, "上王村")
    assert sites.site_id("zto", "上王村", None) != sites.site_id("zto", None, "上王村")
    assert sites.site_id("zto", None, " ") is None


FACT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(FACT | st.integers(-(2**53) + 1, 2**53 - 1), max_size=8))
def test_what_we_hash_is_rfc_8785(facts: list[str | int | None]) -> None:
    assert identity._encode(facts) == rfc8785.dumps(facts)


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=4))
def test_keys_are_written_as_uuids(keys: list[bytes]) -> None:
    assert identity.event_texts(keys) == [str(UUID(bytes=key)) for key in keys]


def test_identities_are_fixed_for_ever() -> None:
    """A change here would make every stored event a new one: the values are part of the contract."""
    key = identity.parcel_key("zto", "73100196611386")
    assert key.hex() == "dfd1412b328aa4386e9fdc76465585fd"
    event = identity.event_id("live", "zto-yuanqu", key, ("INBOUND", "2023-07-14T09:12:03+08:00", None, "上王村便民服务点"))
    assert str(event) == "0f7d8dbe-3dff-8575-bb0b-7479a31e0641"
    assert (event.version, event.variant) == (8, "specified in RFC 4122")
    assert identity.parcel_id(key).startswith("pcl_")
    assert 0 <= identity.partition_of(key, 8) < 8
    other = identity.event_id("sandbox", "zto-yuanqu", key, ("INBOUND", "2023-07-14T09:12:03+08:00", None, "上王村便民服务点"))
    assert other != event
