"""English words for numbers.

British "and" (``one hundred and five``), no commas, hyphens in ``twenty-one``; short scale.
"""

from __future__ import annotations

import re
from typing import Final

_ONE_NAMES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_ONES: Final = tuple(_ONE_NAMES.split())
_TEN_NAMES: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS: Final = tuple(_TEN_NAMES.split())
_SCALES: Final = ("", "thousand", "million", "billion", "trillion", "quadrillion", "quintillion")
_ORDINALS: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_COMMA = re.compile(r"^\d+(?:\.\d{3})*,\d{1,2}$")
MAX_DIGITS: Final = 21
"""Numbers with more digits are said digit by digit."""


def digits(figures: str) -> str:
    """Digits one by one: ``zero zero seven``. Signs other than 0..9 are skipped."""
    return " ".join(_ONES[int(figure)] for figure in figures if figure in "0123456789")


def cardinal(number: int) -> str:
    """A whole number from 0 up; digit by digit from 10**21."""
    if number >= 10**MAX_DIGITS:
        return digits(str(number))
    if number < 1000:
        return _hundreds(number)
    words: list[str] = []
    rest = number
    for power in range(len(_SCALES) - 1, 0, -1):
        group, rest = divmod(rest, 1000**power)
        if group:
            words.append(f"{_hundreds(group)} {_SCALES[power]}")
    if rest:
        words.append(("and " if rest < 100 else "") + _hundreds(rest))
    return " ".join(words)


def _hundreds(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    if not hundreds:
        return _tens(rest)
    head = f"{_ONES[hundreds]} hundred"
    return f"{head} and {_tens(rest)}" if rest else head


def _tens(number: int) -> str:
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


def ordinal(number: int) -> str:
    """``first``, ``twenty-second``, ``one hundred and fifth``."""
    words = cardinal(number)
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    head, last = words[:cut], words[cut:]
    if last in _ORDINALS:
        return head + _ORDINALS[last]
    return head + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def year(number: int) -> str:
    """A year: ``nineteen oh five``, ``two thousand and five``, ``twenty twenty-six``."""
    century, rest = divmod(number, 100)
    if not 1000 <= number <= 9999 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    if not rest:
        return f"{_tens(century)} hundred"
    return f"{_tens(century)} {f'oh {_ONES[rest]}' if rest < 10 else _tens(rest)}"


def paired(figures: str) -> str:
    """Three or four digits of a name: *four oh four*, *twenty-four ninety*, *five hundred*."""
    if len(figures) == 4 or figures[0] == "0":
        return integer(figures) if figures[0] == "0" else year(int(figures))
    head, tail = _ONES[int(figures[0])], int(figures[1:])
    if not tail:
        return f"{head} hundred"
    return f"{head} {f'oh {_ONES[tail]}' if tail < 10 else _tens(tail)}"


def short_year(figures: str) -> str:
    """A year without its century: *oh nine*, *ninety-nine*."""
    return f"oh {_ONES[int(figures[1])]}" if figures[0] == "0" else _tens(int(figures))


def decade(number: int) -> str:
    """``nineteen nineties`` for 1990, ``nineties`` for 90, ``eighteen hundreds`` for 1800."""
    words = year(number)
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def plain(figures: str) -> str:
    """*figures* without signs between groups, and with a point before decimals: 1234.56.

    Args:
        figures: Digits with commas between groups and a decimal point, or with a decimal comma
            and dots.
    """
    if _COMMA.search(figures):
        return figures.replace(".", "").replace(",", ".")
    return figures.replace(",", "")


def decimal(figures: str) -> str:
    """``1,234.50`` as said: the whole part as a number, the digits behind the point one by one.

    Args:
        figures: Digits as :func:`plain` takes them.
    """
    whole, point, behind = plain(figures).partition(".")
    if not point:
        return integer(whole)
    head = integer(whole) if whole else ""
    return f"{head} point {digits(behind)}".strip()


def integer(figures: str) -> str:
    """Digits as a number, but one by one behind a leading zero or if there are too many."""
    if len(figures) > MAX_DIGITS or (len(figures) > 1 and figures[0] == "0"):
        return digits(figures)
    return cardinal(int(figures))


def fraction(top: int, bottom: int) -> str:
    """``one half``, ``three quarters``, ``five twelfths``."""
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    one, many = names.get(bottom) or (ordinal(bottom), ordinal(bottom) + "s")
    return f"{cardinal(top)} {one if top == 1 else many}"
