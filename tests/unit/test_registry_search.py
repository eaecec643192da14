"""Names are found by a part of them, and by their pinyin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.registry.domain.search import meant

NAME = "上王村便民服务点"


@pytest.mark.parametrize(
    ("typed", "name", "found"),
    [
        ("上王", NAME, True),
        ("便民", NAME, True),
        ("下王", NAME, False),
        ("shangwang", NAME, True),
        ("ShangWang cun", NAME, True),
        ("swc", NAME, True),
        ("swcbmfwd", NAME, True),
        ("shwc", NAME, True),
        ("shangw", NAME, True),
        ("bianmin", NAME, True),
        ("sw d", NAME, False),
        ("xwc", NAME, False),
        ("shangwangcunbianminfuwudianx", NAME, False),
        ("changzhi", "长直乡", True),
        ("zhangzhi", "长直乡", True),
        ("xi'an", "西安路", True),
        ("xian", "西安路", True),
        ("lvnv", "绿女村", True),
        ("ＡＢＣ", "abc站", True),
        ("a1c", "A1村", False),
        ("1村", "A1村", True),
        ("", NAME, True),
        ("%", NAME, False),
        (".*", NAME, False),
    ],
)
def test_what_is_typed_finds_the_name(typed: str, name: str, found: bool) -> None:
    assert meant(typed, name) is found
    assert meant(typed, "别处", name) is found or typed == ""


@given(st.text(max_size=100), st.text(max_size=30))
def test_nothing_typed_is_an_error_and_every_part_of_a_name_finds_it(typed: str, name: str) -> None:
    meant(typed, name)
    assert meant(name[1:3], name)


def test_many_readings_take_no_time() -> None:
    assert not meant("s" * 99 + "q", "上" * 100)
