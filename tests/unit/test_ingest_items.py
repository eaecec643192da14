"""Whose a text is: a number that somebody can be called by or known by never leaves the inbox, a code that merely looks long does."""

import pytest

from shared.personal import is_personal, is_personal_code

SOMEBODY = [
    "13800138000", "138-0013-8000", "138 0013 8000", "138.0013.8000", "8613800138000", "+86 138-0013-8000", "+86(138)00138000",
    "１３８００１３８０００", "138—0013—8000", "138\u200b00138000", "0359-6022222", "03596022222", "(0359) 6022222", "010-62345678",
    "+86-359-6022222".replace("-359", "-0359"), "14082719700101123X", "140827 19700101 1238",
]  # fmt: skip


@pytest.mark.parametrize("number", SOMEBODY)
@pytest.mark.parametrize("around", ["{}", "老王{}", "电话：{}。", "10 {} x", "tel {}"])
def test_a_text_with_somebodys_number_is_somebodys(number: str, around: str) -> None:
    assert is_personal(around.format(number))


@pytest.mark.parametrize("number", SOMEBODY[:-1])
@pytest.mark.parametrize("around", ["{}", "张三{}", "张三-{}", "Ann {}"])
def test_a_code_that_is_a_number_of_somebody_is_somebodys(number: str, around: str) -> None:
    assert is_personal_code(around.format(number))


@pytest.mark.parametrize(
    "text",
    [
        "上王村便民服务点",
        "兔喜生活2号店",
        "108国道120公里处",
        "20230714-000001",
        "花椒 500g 10袋 2023-07-14",
        "1380013800",
        "12800138000",
        "9" * 40,
    ],
)
def test_a_text_that_names_a_place_or_a_thing_is_nobodys(text: str) -> None:
    assert not is_personal(text)


@pytest.mark.parametrize(
    "code",
    [
        "INBOUND", "YQ-100200", "GP-20230714-000001", "13800138000123", "140827197001011238", "YQ-13800138000", "A13800138000",
        "2023-1380013-8000-22", "13800138000-1", "73100196611386", "DD202307141380013800012",
    ],
)  # fmt: skip
def test_a_code_may_be_long_and_numeric(code: str) -> None:
    assert not is_personal_code(code)
