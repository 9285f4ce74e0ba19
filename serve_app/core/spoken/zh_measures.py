"""Chinese readings of money, percentages and measures."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_zh
from serve_app.core.spoken.numbers_en import plain
from serve_app.core.spoken.rule import NUM, SIGN_ZH, TO, Kind, Rule
from serve_app.core.spoken.units import PERS, UNIT, UNITS
from serve_app.core.spoken.zh_numbers import NO_MEASURE, amount, number, signed

_CURRENCIES: Final = {
    "¥": "元", "$": "美元", "£": "英镑", "€": "欧元", "₹": "卢比", "₩": "韩元", "₽": "卢布",
    "฿": "泰铢", "₫": "越南盾", "₱": "比索", "₺": "里拉", "₪": "谢克尔", "₴": "格里夫纳",
    "₦": "奈拉",
    "US$": "美元", "HK$": "港元", "NT$": "新台币", "A$": "澳元", "AU$": "澳元", "C$": "加元",
    "CA$": "加元", "S$": "新加坡元", "NZ$": "新西兰元", "USD": "美元", "CNY": "元", "RMB": "元",
    "EUR": "欧元", "GBP": "英镑", "JPY": "日元", "HKD": "港元", "CHF": "瑞士法郎", "KRW": "韩元",
    "R$": "雷亚尔",
}  # fmt: skip
_POWERS: Final = {
    "k": 3, "K": 3, "thousand": 3, "m": 6, "M": 6, "mn": 6, "million": 6, "b": 9, "B": 9, "bn": 9,
    "billion": 9, "T": 12, "tn": 12, "trillion": 12,
}  # fmt: skip
"""English scales of an amount, as powers of ten."""
_CURRENCY: Final = "|".join(re.escape(name) for name in sorted(_CURRENCIES, key=len, reverse=True))
_SIGNS: Final = "".join(name for name in _CURRENCIES if not name[0].isalpha())
_CODE: Final = "|".join(name for name in _CURRENCIES if name.isalpha())
LETTER_CURRENCIES: Final = tuple(name for name in _CURRENCIES if name[0].isalpha())
"""Currencies that start with a letter, so that a figure is no trigger for them."""


def _yuan(whole: str, cents: str) -> str:
    """Yuan with two decimals in 元, 角 and 分."""
    jiao, fen = int(cents[0]), int(cents[1])
    words = "" if not int(whole) and int(cents) else f"{numbers_zh.counted(whole)}元"
    if jiao:
        words += f"{numbers_zh.cardinal(jiao)}角"
    elif fen and words:
        words += "零"
    return words + (f"{numbers_zh.cardinal(fen)}分" if fen else "")


def _per(match: re.Match[str]) -> str:
    if match["own"]:
        return "每"
    return f"每{PERS[match['per']][1]}" if match["per"] else ""


def _money(match: re.Match[str]) -> str:
    name = _CURRENCIES[match["cur"]]
    figures = plain(match["a"])
    cents = re.fullmatch(r"(\d*)\.(\d\d)", figures)
    if name == "元" and cents and not match["b"] and not match["scale"]:
        return signed(match, _yuan(cents[1] or "0", cents[2]) + _per(match))
    power = _POWERS.get(match["scale"] or "")
    if power is None:
        return f"{amount(match)}{match['scale'] or ''}{name}{_per(match)}"
    parts = [numbers_zh.scaled(part, power) for part in (match["a"], match["b"]) if part]
    return signed(match, f"{'到'.join(parts)}{name}{_per(match)}")


def _ten_thousands(match: re.Match[str]) -> str:
    """``1w`` for 一万, ``8k`` for 八千."""
    power = {"w": 4, "k": 3}[match["scale"].lower()]
    parts = (numbers_zh.scaled(part, power) for part in (match["a"], match["b"]) if part)
    return signed(match, "到".join(parts))


def _split(match: re.Match[str]) -> str:
    """A measure with the figures of the next smaller one behind it: 一米七五."""
    unit = "米" if match["unit"] == "m" else match["unit"]
    return f"{numbers_zh.counted(match['a'])}{unit}{numbers_zh.digits(match['b'])}"


def _percent(match: re.Match[str]) -> str:
    part = "百分之" if match["mark"] == "%" else "千分之"
    if match["a"] == "100" and not match["b"]:
        return signed(match, f"{part}百" if match["mark"] == "%" else f"{part}一百")
    words = part + number(match["a"])
    return signed(match, f"{words}到{part}{number(match['b'])}" if match["b"] else words)


def _measure(match: re.Match[str]) -> str | None:
    name = UNITS[match["unit"].rstrip(".")].zh
    if not name:
        return None
    words = amount(match)
    if name.endswith("度") and match["sign"] and words.startswith("负"):
        words = f"零下{words[1:]}"
    return words + name + _per(match)


_PER_NAMES: Final = "|".join(sorted(PERS, key=len, reverse=True))
_PER: Final = rf"(?:/(?:(?P<per>{_PER_NAMES})(?![\w/])|(?=(?P<own>[㐀-鿿]))))?"
_AMOUNT: Final = rf"{SIGN_ZH}(?P<a>{NUM})(?:{TO}(?P<b>{NUM}))?"
_SCALE: Final = (
    r"(?: ?(?P<scale>万亿|百万|千万|十亿|百亿|千亿|万|亿|thousand|(?:m|b|tr)illion"
    r"|(?:[mb]n|tn|[kKmMbBT])(?![A-Za-z])))?"
)

RULES: Final = (
    Rule(
        Kind.MONEY,
        re.compile(
            rf"(?P<sign>(?<![\w)])[-−–+](?=[^\d])|[~≈] ?)?(?P<cur>{_CURRENCY}) ?(?P<a>{NUM})"
            rf"(?:{TO}(?P=cur)?(?P<b>{NUM}))?{_SCALE}(?: ?元)?{_PER}"
        ),
        _money,
    ),
    Rule(
        Kind.MONEY,
        re.compile(rf"{_AMOUNT}{_SCALE} ?(?P<cur>[{_SIGNS}]|{_CODE})(?![A-Za-z0-9]){_PER}"),
        _money,
    ),
    Rule(
        Kind.MONEY,
        re.compile(r"(?P<whole>\d+)\.(?P<cents>\d\d) ?元"),
        lambda match: _yuan(match["whole"], match["cents"]),
    ),
    Rule(
        Kind.NUMBER,
        re.compile(
            rf"{SIGN_ZH}(?P<a>{NUM})(?:(?P<both>[wWkK])?{TO}(?P<b>{NUM}))?"
            r"(?P<scale>w(?![A-Za-z0-9]|快充|充电|灯)|(?P=both)(?![A-Za-z0-9])"
            r"|[wWkK](?=[元块人字粉多赞]|点赞|\+(?!\d)|左右|以[上下]))"
        ),
        _ten_thousands,
    ),
    Rule(
        Kind.MEASURE,
        re.compile(
            rf"(?P<a>\d{{1,2}})(?P<unit>[米块秒]|m(?=\d\d))(?P<b>\d{{1,2}})(?![\d,:%/‰℃°A-Za-z-]|\.\d)"
            rf"{NO_MEASURE}"
        ),
        _split,
    ),
    Rule(
        Kind.PERCENT,
        re.compile(rf"{SIGN_ZH}(?P<a>{NUM})%?(?:{TO}(?P<b>{NUM}))? ?(?P<mark>[%‰])"),
        _percent,
    ),
    Rule(Kind.MEASURE, re.compile(rf"(?<![A-Za-z]){_AMOUNT} ?(?P<unit>{UNIT}){_PER}"), _measure),
)
