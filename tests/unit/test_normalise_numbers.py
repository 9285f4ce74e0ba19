"""Numbers in English and Chinese words, checked by reading them back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.spoken import numbers_en, numbers_zh
from serve_app.core.spoken.roman import value

_EN = {word: number for number, word in enumerate(numbers_en._ONES)} | {
    word: 10 * number for number, word in enumerate(numbers_en._TENS, start=2)
}
_EN_SCALES = {word: 1000**power for power, word in enumerate(numbers_en._SCALES) if word}
_ZH = {sign: number for number, sign in enumerate("零一二三四五六七八九")} | {"两": 2}


def read_en(words: str) -> int:
    total = group = 0
    for word in words.replace("-", " ").split():
        if word == "hundred":
            group *= 100
        elif word in _EN_SCALES:
            total, group = total + group * _EN_SCALES[word], 0
        elif word != "and":
            group += _EN[word]
    return total + group


def read_zh(text: str) -> int:
    for scale, sign in ((10**8, "亿"), (10**4, "万")):
        head, found, rest = text.rpartition(sign)
        if found:
            return read_zh(head) * scale + read_zh(rest)
    total = digit = 0
    for sign in text:
        place = {"十": 10, "百": 100, "千": 1000}.get(sign)
        if place:
            total, digit = total + (digit or 1) * place, 0
        else:
            digit = _ZH[sign]
    return total + digit


@given(st.integers(0, 10**21 - 1) | st.integers(0, 10**6))
def test_english_cardinals_read_back(number: int) -> None:
    assert read_en(numbers_en.cardinal(number)) == number


@given(st.integers(0, 10**16 - 1) | st.integers(0, 10**6))
def test_chinese_cardinals_read_back(number: int) -> None:
    assert read_zh(numbers_zh.cardinal(number)) == number


@pytest.mark.parametrize(
    ("number", "cardinal", "ordinal"),
    [
        (0, "zero", "zeroth"),
        (12, "twelve", "twelfth"),
        (20, "twenty", "twentieth"),
        (101, "one hundred and one", "one hundred and first"),
        (1000, "one thousand", "one thousandth"),
        (1_000_042, "one million and forty-two", "one million and forty-second"),
        (21_345, "twenty-one thousand three hundred and forty-five", None),
    ],
)
def test_english_forms(number: int, cardinal: str, ordinal: str | None) -> None:
    assert numbers_en.cardinal(number) == cardinal
    assert ordinal is None or numbers_en.ordinal(number) == ordinal


@pytest.mark.parametrize(
    ("year", "words"),
    [
        (476, "four hundred and seventy-six"),
        (1066, "ten sixty-six"),
        (1900, "nineteen hundred"),
        (1905, "nineteen oh five"),
        (1999, "nineteen ninety-nine"),
        (2000, "two thousand"),
        (2009, "two thousand and nine"),
        (2010, "twenty ten"),
        (2026, "twenty twenty-six"),
    ],
)
def test_english_years(year: int, words: str) -> None:
    assert numbers_en.year(year) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (10, "十"),
        (15, "十五"),
        (22, "二十二"),
        (105, "一百零五"),
        (110, "一百一十"),
        (2222, "两千二百二十二"),
        (10_010, "一万零一十"),
        (20_000, "两万"),
        (100_000, "十万"),
        (120_002, "十二万零二"),
        (200_000_000, "两亿"),
        (1_0000_0001, "一亿零一"),
    ],
)
def test_chinese_forms(number: int, words: str) -> None:
    assert numbers_zh.cardinal(number) == words


@given(st.integers(1, 3999))
def test_roman_numerals_read_back(number: int) -> None:
    written = ""
    rest = number
    for size, sign in zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"],
        strict=True,
    ):
        written += sign * (rest // size)
        rest %= size
    assert value(written) == number
    assert value(written.lower()) == number


@pytest.mark.parametrize("wrong", ["", "IIII", "VV", "IC", "XM", "MMMM", "ABC"])
def test_malformed_numerals_are_none(wrong: str) -> None:
    assert value(wrong) is None
