"""English readings of money, percentages and measures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from serve_app.core.spoken import numbers_en
from serve_app.core.spoken.en_numbers import number, signed
from serve_app.core.spoken.rule import NUM, SIGN, TO, Kind, Rule, before, full_stop
from serve_app.core.spoken.units import PER, PERS, UNIT, UNITS


@dataclass(frozen=True, slots=True)
class Currency:
    """Names of a currency and of its hundredth; the latter may be missing."""

    one: str
    many: str
    cent: str = ""
    cents: str = ""


_DOLLAR: Final = Currency("dollar", "dollars", "cent", "cents")
_YUAN: Final = Currency("yuan", "yuan")
_CURRENCIES: Final = {
    "$": _DOLLAR,
    "£": Currency("pound", "pounds", "penny", "pence"),
    "€": Currency("euro", "euros", "cent", "cents"),
    "¥": Currency("yen", "yen"),
    "₹": Currency("rupee", "rupees", "paisa", "paise"),
    "₩": Currency("won", "won"),
    "₽": Currency("rouble", "roubles"),
    "₿": Currency("bitcoin", "bitcoins"),
    "USD": Currency("US dollar", "US dollars", "cent", "cents"),
    "US$": Currency("US dollar", "US dollars", "cent", "cents"),
    "C$": Currency("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "CA$": Currency("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "CAD": Currency("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "A$": Currency("Australian dollar", "Australian dollars", "cent", "cents"),
    "AU$": Currency("Australian dollar", "Australian dollars", "cent", "cents"),
    "AUD": Currency("Australian dollar", "Australian dollars", "cent", "cents"),
    "HK$": Currency("Hong Kong dollar", "Hong Kong dollars", "cent", "cents"),
    "HKD": Currency("Hong Kong dollar", "Hong Kong dollars", "cent", "cents"),
    "NZ$": Currency("New Zealand dollar", "New Zealand dollars", "cent", "cents"),
    "S$": Currency("Singapore dollar", "Singapore dollars", "cent", "cents"),
    "EUR": Currency("euro", "euros", "cent", "cents"),
    "GBP": Currency("pound", "pounds", "penny", "pence"),
    "JPY": Currency("yen", "yen"),
    "CNY": _YUAN,
    "RMB": _YUAN,
    "CHF": Currency("Swiss franc", "Swiss francs"),
    "INR": Currency("rupee", "rupees", "paisa", "paise"),
    "KRW": Currency("won", "won"),
}
_SCALES: Final = {
    "K": "thousand", "k": "thousand", "M": "million", "m": "million", "mn": "million",
    "B": "billion", "b": "billion", "bn": "billion", "T": "trillion", "tn": "trillion",
}  # fmt: skip
_CURRENCY: Final = "|".join(re.escape(name) for name in sorted(_CURRENCIES, key=len, reverse=True))
_CODE: Final = "|".join(name for name in _CURRENCIES if name.isalpha())
_SCALE: Final = (
    r"(?:[ -](?P<scale>hundred|thousand|million|billion|trillion|[mb]n|tn)\b"
    r"|(?P<letter>mn|bn|tn|[KkMmBbT])(?![A-Za-z]))?"
)
LETTER_CURRENCIES: Final = tuple(name for name in _CURRENCIES if name[0].isalpha())
"""Currencies that start with a letter, so that a figure is no trigger for them."""


def _attributive(match: re.Match[str]) -> bool:
    """Whether the measure describes the noun behind it: a five *mile* run."""
    return bool(re.search(r"\b[Aa]n? $", before(match))) and bool(
        re.match(r"[ -][a-z]", match.string[match.end() : match.end() + 2])
    )


def _per(match: re.Match[str]) -> str:
    return f" per {PERS[match['per']][0]}" if match["per"] else ""


def _minor(figures: str, currency: Currency) -> str:
    """An amount with two decimals in both parts: three dollars and fifty cents."""
    whole, _, cents = figures.replace(",", "").partition(".")
    parts = []
    if int(whole or "0") or not int(cents):
        name = currency.one if int(whole or "0") == 1 else currency.many
        parts.append(f"{numbers_en.integer(whole or '0')} {name}")
    if int(cents):
        name = currency.cent if int(cents) == 1 else currency.cents
        parts.append(f"{numbers_en.cardinal(int(cents))} {name}")
    return " and ".join(parts)


def _money(match: re.Match[str]) -> str:
    figures, high = match["a"], match["b"]
    written = match["cur"]
    currency = _CURRENCIES[written]
    if written == "¥" and "." in figures:
        currency = _YUAN
    scale = match["scale"] or match["letter"]
    if not scale and not high and currency.cent and re.search(r"\.\d\d$", figures):
        return signed(match, _minor(figures, currency) + _per(match))
    words = f"{number(figures)} to {number(high)}" if high else number(figures)
    if scale:
        words += f" {_SCALES.get(scale, scale)}"
    single = _attributive(match) or (figures == "1" and not high and not scale)
    return signed(match, f"{words} {currency.one if single else currency.many}{_per(match)}")


def _coins(match: re.Match[str]) -> str:
    one, many = ("penny", "pence") if match["coin"] == "p" else ("cent", "cents")
    return f"{number(match['a'])} {one if match['a'] == '1' else many}"


def _amount(match: re.Match[str]) -> str:
    low, high = number(match["a"]), match["b"]
    return signed(match, f"{low} to {number(high)}" if high else low)


def _percent(match: re.Match[str]) -> str:
    return f"{_amount(match)} {'percent' if match['mark'] == '%' else 'per mille'}"


def _measure(match: re.Match[str]) -> str:
    unit = UNITS.get(match["unit"]) or UNITS[match["unit"].rstrip(".")]
    single = (match["a"] == "1" and not match["b"]) or bool(match["hyphen"]) or _attributive(match)
    space = "-" if match["hyphen"] else " "
    words = f"{_amount(match)}{space}{unit.one if single else unit.many}{_per(match)}"
    return words + full_stop(match)


_AMOUNT: Final = rf"{SIGN}(?P<a>{NUM})(?:{TO}(?P<b>{NUM}))?"

RULES: Final = (
    Rule(
        Kind.MONEY,
        re.compile(
            rf"(?P<sign>(?<![\w)])[-−–+](?=[^\d])|[~≈] ?)?(?P<cur>{_CURRENCY}) ?(?P<a>{NUM})"
            rf"(?:{TO}(?P=cur)?(?P<b>{NUM}))?{_SCALE}{PER}"
        ),
        _money,
    ),
    Rule(
        Kind.MONEY,
        re.compile(
            rf"{SIGN}(?P<a>{NUM})(?:{TO}(?P<b>{NUM}))?{_SCALE} ?(?P<cur>[$€£₽]|(?:{_CODE})\b)"
            rf"(?![\w\d]){PER}"
        ),
        _money,
    ),
    Rule(Kind.MONEY, re.compile(r"(?P<a>\d+)(?P<coin>[p¢])(?!\w)"), _coins),
    Rule(
        Kind.PERCENT,
        re.compile(rf"{SIGN}(?P<a>{NUM})%?(?:{TO}(?P<b>{NUM}))? ?(?P<mark>[%‰])"),
        _percent,
    ),
    Rule(
        Kind.MEASURE,
        re.compile(rf"(?<![A-Za-z]){_AMOUNT}(?: ?|(?P<hyphen>-))(?P<unit>{UNIT}){PER}"),
        _measure,
    ),
)
