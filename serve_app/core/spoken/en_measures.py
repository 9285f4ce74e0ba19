"""English readings of money, percentages and measures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from serve_app.core.spoken import numbers_en
from serve_app.core.spoken.en_numbers import number, signed
from serve_app.core.spoken.numbers_en import plain
from serve_app.core.spoken.rule import CONTINENTAL, NUM, SIGN, TO, Kind, Rule, before, full_stop
from serve_app.core.spoken.units import PER, PERS, UNIT, UNITS


@dataclass(frozen=True, slots=True)
class Currency:
    """Names of a currency and of its hundredth; the latter may be missing."""

    one: str
    many: str
    cent: str = ""
    cents: str = ""


def _currencies() -> dict[str, Currency]:
    rows = (line.split(" | ") for line in _TABLE.split("\n") if line)
    return {name: Currency(*words) for names, *words in rows for name in names.split()}


_TABLE: Final = """
$ | dollar | dollars | cent | cents
USD US$ | US dollar | US dollars | cent | cents
CAD C$ CA$ | Canadian dollar | Canadian dollars | cent | cents
AUD A$ AU$ | Australian dollar | Australian dollars | cent | cents
HKD HK$ | Hong Kong dollar | Hong Kong dollars | cent | cents
NZD NZ$ | New Zealand dollar | New Zealand dollars | cent | cents
SGD S$ | Singapore dollar | Singapore dollars | cent | cents
TWD NT$ | New Taiwan dollar | New Taiwan dollars
MXN MX$ | Mexican peso | Mexican pesos
BRL R$ | real | reais
€ EUR | euro | euros | cent | cents
£ GBP | pound | pounds | penny | pence
¥ JPY | yen | yen
CNY RMB | yuan | yuan
₹ INR Rs Rs. | rupee | rupees | paisa | paise
₩ KRW | won | won
₽ RUB | rouble | roubles
₿ BTC | bitcoin | bitcoins
CHF | Swiss franc | Swiss francs
SEK | Swedish krona | Swedish kronor
NOK | Norwegian krone | Norwegian kroner
DKK | Danish krone | Danish kroner
PLN | zloty | zlotys
ZAR | rand | rand
THB ฿ | baht | baht
AED | dirham | dirhams
₫ | dong | dong
₱ | peso | pesos
₺ | lira | lira
₪ | shekel | shekels
₴ | hryvnia | hryvnias
₦ | naira | naira
"""
_CURRENCIES: Final = _currencies()
_YUAN: Final = _CURRENCIES["CNY"]
_DECIMAL_COMMA: Final = r"€|EUR|R\$|₽|₺|PLN|SEK|NOK|DKK"
_SCALES: Final = {
    "K": "thousand", "k": "thousand", "M": "million", "m": "million", "mn": "million",
    "B": "billion", "b": "billion", "bn": "billion", "T": "trillion", "tn": "trillion",
}  # fmt: skip
_CURRENCY: Final = "|".join(re.escape(name) for name in sorted(_CURRENCIES, key=len, reverse=True))
_CODE: Final = "|".join(name for name in _CURRENCIES if name.isalpha() and name.isupper())
_SIGNS: Final = "".join(name for name in _CURRENCIES if len(name) == 1)
_SCALE: Final = (
    r"(?:[ -](?P<scale>hundred|thousand|million|billion|trillion|lakh|crore|[mb]n|tn)\b"
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
    whole, _, cents = plain(figures).partition(".")
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
    if not scale and not high and currency.cent and re.search(r"\.\d\d$", plain(figures)):
        return signed(match, _minor(figures, currency) + _per(match))
    words = f"{number(figures)} to {number(high)}" if high else number(figures)
    if scale:
        words += f" {_SCALES.get(scale, scale)}"
    joined = bool(scale) and match["scale"] is not None and "-" in match[0][-len(scale) - 1 :]
    single = joined or _attributive(match) or (figures == "1" and not high and not scale)
    return signed(match, f"{words} {currency.one if single else currency.many}{_per(match)}")


_LINES: Final = "144|240|360|480|540|720|1080|1440|2160|4320"


def _lines(match: re.Match[str]) -> str:
    """The lines of a picture: seven twenty, ten eighty."""
    head, tail = divmod(int(match[0]), 100)
    return f"{numbers_en.cardinal(head)} {numbers_en.cardinal(tail)}"


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


_PERCENT: Final = r"(?<![\d,])\d{1,3},\d{1,2}(?= ?%)"
_HEATED_BEFORE = re.compile(r"\b(?:about|around|at|oven|reach\w*|temp\w*|to|until)(?: is| of)?:? $")


def _heat(match: re.Match[str]) -> str | None:
    """Degrees without their sign: bake at 375 F."""
    if not _HEATED_BEFORE.search(before(match)):
        return None
    scale = {"F": "Fahrenheit", "C": "Celsius"}[match["scale"]]
    return f"{_amount(match)} degrees {scale}"


_AMOUNT: Final = rf"{SIGN}(?P<a>{NUM})(?:{TO}(?P<b>{NUM}))?"

RULES: Final = (
    Rule(
        Kind.MONEY,
        re.compile(
            rf"(?P<sign>(?<![\w)])[-−–+](?=[^\d])|[~≈] ?)?(?P<cur>{_DECIMAL_COMMA}) ?"
            rf"(?P<a>{CONTINENTAL})(?:{TO}(?P=cur)?(?P<b>{CONTINENTAL}))?{_SCALE}{PER}"
        ),
        _money,
    ),
    Rule(
        Kind.MONEY,
        re.compile(
            rf"{SIGN}(?P<a>{CONTINENTAL})(?:{TO}(?P<b>{CONTINENTAL}))?{_SCALE}"
            rf" ?(?P<cur>{_DECIMAL_COMMA})(?!\w){PER}"
        ),
        _money,
    ),
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
            rf"{SIGN}(?P<a>{NUM})(?:{TO}(?P<b>{NUM}))?{_SCALE} ?(?P<cur>[{_SIGNS}]|(?:{_CODE})\b)"
            rf"(?![\w\d]){PER}"
        ),
        _money,
    ),
    Rule(Kind.VERSION, re.compile(rf"(?:{_LINES})(?=[pi](?!\w))"), _lines),
    Rule(Kind.MONEY, re.compile(r"(?P<a>\d+)(?P<coin>[p¢])(?!\w)"), _coins),
    Rule(
        Kind.PERCENT,
        re.compile(
            rf"{SIGN}(?P<a>{_PERCENT}|{NUM})%?(?:{TO}(?P<b>{_PERCENT}|{NUM}))? ?(?P<mark>[%‰])"
        ),
        _percent,
    ),
    Rule(
        Kind.MEASURE,
        re.compile(rf"{_AMOUNT} ?(?P<scale>[FC])(?![\w+#-]|\.\w)"),
        _heat,
    ),
    Rule(
        Kind.MEASURE,
        re.compile(rf"(?<![A-Za-z]){_AMOUNT}(?: ?|(?P<hyphen>-))(?P<unit>{UNIT}){PER}"),
        _measure,
    ),
)
