"""Chinese numerals for numbers: 一百零五, 两万二千, 三点一四."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from serve_app.core.spoken.numbers_en import plain

_DIGITS: Final = "零一二三四五六七八九"
_PLACES: Final = ("", "十", "百", "千")
MAX_DIGITS: Final = 16
"""Numbers with more digits are said digit by digit."""


def digits(figures: str, *, one: str = "一") -> str:
    """Digits one by one: 二零二六. Other signs are skipped.

    Args:
        figures: Text with digits.
        one: How 1 is said; 幺 in the numbers of telephones and rooms.
    """
    names = _DIGITS[0] + one + _DIGITS[2:]
    return "".join(names[int(figure)] for figure in figures if figure in "0123456789")


def cardinal(number: int) -> str:
    """A whole number from 0 up; digit by digit from 10**16.

    Two is 两 before 千, 万 and 亿, elsewhere 二; 10 to 19 start with 十.
    """
    if number >= 10**MAX_DIGITS:
        return digits(str(number))
    if number == 0:
        return _DIGITS[0]
    said = _scaled(number, (100_000_000, 10_000), "亿万")
    return said[1:] if said.startswith("一十") else said


def _scaled(number: int, scales: Sequence[int], names: str) -> str:
    """A number from 1 up, in so many of the largest scale and the rest in the smaller ones."""
    if not scales:
        return _group(number)
    scale, name = scales[0], names[0]
    high, low = divmod(number, scale)
    said = ""
    if high:
        said = ("两" if high == 2 else _scaled(high, scales[1:], names[1:])) + name
    if high and 0 < low < scale // 10:
        said += _DIGITS[0]
    return said + (_scaled(low, scales[1:], names[1:]) if low else "")


def _group(number: int) -> str:
    """1..9999; 10 is 一十."""
    said = ""
    for place in range(3, -1, -1):
        digit = number // 10**place % 10
        if digit:
            said += ("两" if digit == 2 and place == 3 else _DIGITS[digit]) + _PLACES[place]
        elif said and not said.endswith(_DIGITS[0]):
            said += _DIGITS[0]
    return said.rstrip(_DIGITS[0])


def decimal(figures: str) -> str:
    """``1,234.50`` as said: 一千二百三十四点五零.

    Args:
        figures: Digits, with commas between thousands and a decimal point if any.
    """
    whole, point, behind = plain(figures).partition(".")
    return integer(whole or "0") + (f"点{digits(behind)}" if point else "")


def scaled(figures: str, power: int) -> str:
    """*figures* times 10 to *power* as said with 万 and 亿: 1.5 and 9 are 十五亿."""
    whole, _, behind = plain(figures).partition(".")
    behind = behind.ljust(power, "0")
    whole, behind = (whole + behind[:power]).lstrip("0") or "0", behind[power:]
    for places, name in ((12, "万亿"), (8, "亿"), (4, "万"), (0, "")):
        if len(whole) > places:
            cut = len(whole) - places
            rest = (whole[cut:] + behind).rstrip("0")
            return counted(f"{whole[:cut]}.{rest}" if rest else whole[:cut]) + name
    return _DIGITS[0]


def integer(figures: str) -> str:
    """Digits as a number, but one by one behind a leading zero or if there are too many."""
    if len(figures) > MAX_DIGITS or (len(figures) > 1 and figures[0] == "0"):
        return digits(figures)
    return cardinal(int(figures))


def counted(figures: str) -> str:
    """A number before a measure word: 2 is 两 (两个, 两天), all else as usual."""
    return "两" if figures == "2" else decimal(figures)
