"""English readings of figures that are nothing more special: years, ranges, fractions, versions."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_en
from serve_app.core.spoken.rule import NUM, SIGN, TO, Kind, Rule, after, before
from serve_app.core.spoken.units import UNIT, UNITS

SIGNS: Final = {
    "-": "minus ",
    "−": "minus ",
    "–": "minus ",
    "+": "plus ",
    "±": "plus or minus ",
    "~": "about ",
    "≈": "about ",
}
_LONG: Final = 7
_YEAR_BEFORE = re.compile(
    r"\b(?:after|and|around|autumn|before|between|by|circa|during|early|fall|from|in|late|mid|of"
    r"|since|spring|summer|till|to|until|winter|year|ca?\.|fl\.|[qh][1-4]|fiscal),? $",
    re.IGNORECASE,
)
_YEAR_AFTER = re.compile(r" (?:BCE?|CE|AD)\b")
_FIRM_BEFORE = re.compile(r"(?:\b(?:In|By|Since|[Dd]uring|since|until|circa|[QH][1-4]|fiscal) )$")
_PEOPLE = re.compile(r" (?:people|men|women|children)\b")
PLURAL: Final = re.compile(
    r"[ -](?:(?!(?:was|is|has|as|its|this|thus|us|does|always|perhaps|across|yes|plus|vs|towards"
    r"|sees|brings|marks|means|makes|remains|saw)\b)[a-z]+[a-rt-z]s|people|men|women|children"
    r"|feet|sheep|fish|more|or so)\b"
)
_SCORE_BEFORE = re.compile(
    r"\b(?:beat|beaten|beating|defeat(?:s|ed)?|lead|leads|led|lose|loses|lost|score|scored|tied"
    r"|tally|trail(?:s|ed|ing)?|votes?|voted|passed|win|wins|winning|won)\b[^.;:!?]{0,40}$",
    re.IGNORECASE,
)
_SCORE_AFTER = re.compile(r" (?:win|victory|loss|defeat|lead|final|thriller|rout|overtime)\b")
_PRESSURE_BEFORE = re.compile(r"\b(?:BP|[Bb]lood pressure)[^.;!?]{0,20}$")
_PRESSURE_AFTER = re.compile(r" ?mmHg\b")
_FRACTIONS: Final = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5),
    "⅗": (3, 5), "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8),
    "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip
VULGAR: Final = "".join(_FRACTIONS)
_BOTTOMS: Final = frozenset({2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 32, 64})
_TOTALS: Final = frozenset({10, 100})


def number(figures: str) -> str:
    """A number without a sign, by its value; long ones without commas digit by digit."""
    round_ = figures.endswith("000")
    if figures.isdigit() and len(figures) >= _LONG and not round_:
        return numbers_en.digits(figures)
    return numbers_en.decimal(figures)


def signed(match: re.Match[str], words: str) -> str:
    """*words* behind what the group ``sign`` says."""
    return SIGNS[match["sign"][0]] + words if match["sign"] else words


def is_year(match: re.Match[str], figures: str) -> bool:
    """Whether four digits at the end of *match* are more likely a year than a count."""
    if len(figures) != 4 or not figures.isdigit() or figures[0] == "0":
        return False
    lead, tail = before(match), after(match)
    if int(figures) > 2099:
        return lead.endswith(" year ")
    if _YEAR_AFTER.match(tail) or (figures[2:] == "00" and tail.startswith(" hours")):
        return True
    if PLURAL.match(tail):
        return bool(_FIRM_BEFORE.search(lead)) or (
            bool(_YEAR_BEFORE.search(lead)) and bool(_PEOPLE.match(tail))
        )
    return bool(_YEAR_BEFORE.search(lead)) or (int(figures) >= 1100 and figures[2:] != "00")


def _plain(match: re.Match[str]) -> str:
    figures = match["a"]
    if not match["sign"] and is_year(match, figures):
        return numbers_en.year(int(figures))
    return signed(match, number(figures))


def _range(match: re.Match[str]) -> str:
    low, high = match["a"], match["b"]
    if is_year(match, low) and (len(high) == 2 or is_year(match, high)):
        end = numbers_en.year(int(high)) if len(high) == 4 else numbers_en.short_year(high)
        return f"{numbers_en.year(int(low))} to {end}"
    if "-" in match[0] and (low, high) in {("50", "50"), ("24", "7")}:
        return f"{number(low)} {number(high)}"
    model = low.isdigit() and high.isdigit() and "-" in match[0] and int(low) >= 100
    if model and int(low) > int(high) and not _is_score(match):
        return f"{number(low)} {number(high)}"
    return signed(match, f"{number(low)} to {number(high)}")


def _is_score(match: re.Match[str]) -> bool:
    return bool(_SCORE_AFTER.match(after(match)) or _SCORE_BEFORE.search(before(match, 64)))


def _fraction_words(match: re.Match[str], whole: str | None, top: int, bottom: int) -> str:
    """A fraction with its whole number and its unit if it has them."""
    unit = UNITS[match["unit"].rstrip(".")] if match["unit"] else None
    if whole:
        part = "a half" if (top, bottom) == (1, 2) else numbers_en.fraction(top, bottom)
        words = f"{numbers_en.decimal(whole)} and {part}"
        return f"{words} {unit.many}" if unit else words
    words = numbers_en.fraction(top, bottom)
    if unit is None:
        return words
    an = "an" if re.match(r"[aeiou]|hour", unit.one) else "a"
    return f"half {an} {unit.one}" if words == "one half" else f"{words} of {an} {unit.one}"


def _slashed(match: re.Match[str]) -> str | None:
    top, bottom = int(match["top"]), int(match["bottom"])
    if top < bottom and (bottom in _BOTTOMS or (top == 1 and match["unit"])):
        return _fraction_words(match, match["whole"], top, bottom)
    if match["whole"] or match["unit"]:
        return None
    if _PRESSURE_AFTER.match(after(match)) or _PRESSURE_BEFORE.search(before(match, 40)):
        return f"{numbers_en.cardinal(top)} over {numbers_en.cardinal(bottom)}"
    if re.match(r" ?=", after(match)):
        return f"{numbers_en.cardinal(top)} divided by {numbers_en.cardinal(bottom)}"
    middle = " out of " if top <= bottom and bottom in _TOTALS else " "
    if top > bottom > 9 and top + bottom != 100:
        middle = " slash "
    return numbers_en.cardinal(top) + middle + numbers_en.cardinal(bottom)


def _vulgar(match: re.Match[str]) -> str:
    return _fraction_words(match, match["whole"], *_FRACTIONS[match["part"]])


def _side(figures: str) -> str:
    """A side of a picture: nineteen twenty by ten eighty."""
    return numbers_en.year(int(figures)) if re.fullmatch(r"\d{4}", figures) else number(figures)


def _by(match: re.Match[str]) -> str:
    middle = " times " if re.match(r" ?=", after(match)) else " by "
    parts = re.findall(NUM, match["all"])
    words = middle.join(map(_side, parts))
    return f"{words} {UNITS[match['unit'].rstrip('.')].many}" if match["unit"] else words


_SCALES: Final = {
    "mn": "million", "M": "million", "bn": "billion", "B": "billion", "K": "thousand",
    "k": "thousand",
}  # fmt: skip


def _scaled(match: re.Match[str]) -> str | None:
    """So many of a scale in letters; a thousand and a billion only of several things."""
    if match["scale"] in {"B", "K", "k"} and not PLURAL.match(after(match)):
        return None
    return f"{number(match['a'])} {_SCALES[match['scale']]}"


def _fold(match: re.Match[str]) -> str:
    low = number(match["a"])
    return f"{low} to {number(match['b'])} times" if match["b"] else f"{low} times"


def _power(match: re.Match[str]) -> str:
    return f"{number(match['base'])} to the power of {_exponent(match)}"


def _exponent(match: re.Match[str]) -> str:
    return ("minus " if match["minus"] else "") + numbers_en.integer(match["power"])


_UNIT_GROUP = rf"(?: ?(?P<unit>{UNIT}))?"
_END = r"(?![\d/]|\.\d)"

RULES: Final = (
    Rule(
        Kind.ORDINAL,
        re.compile(r"(?P<n>\d[\d,]{0,30})(?:st|nd|rd|th)\b", re.IGNORECASE),
        lambda match: numbers_en.ordinal(int(match["n"].replace(",", ""))),
    ),
    Rule(
        Kind.NUMBER,
        re.compile(r"\d+(?::\d+){2,}(?![:\d])"),
        lambda match: " to ".join(map(number, match[0].split(":"))),
    ),
    Rule(
        Kind.FRACTION,
        re.compile(r"(?P<top>\d{1,2})/(?P<bottom>\d{1,4})(?:st|nd|rd|th)s?\b"),
        lambda match: numbers_en.fraction(int(match["top"]), int(match["bottom"])),
    ),
    Rule(
        Kind.FRACTION,
        re.compile(
            rf"(?:(?P<whole>\d+)[ -])?(?P<top>\d{{1,4}})/(?P<bottom>\d{{1,4}}){_END}{_UNIT_GROUP}"
        ),
        _slashed,
    ),
    Rule(
        Kind.FRACTION,
        re.compile(rf"(?:(?P<whole>\d+) ?)?(?P<part>[{VULGAR}]){_UNIT_GROUP}"),
        _vulgar,
    ),
    Rule(
        Kind.MEASURE,
        re.compile(
            rf"(?P<all>{NUM}(?: ?[x×] ?{NUM}){{1,3}})(?: ?(?P<unit>{UNIT}|in(?=[,;:)]|$))|(?!\w))"
        ),
        _by,
    ),
    Rule(
        Kind.NUMBER,
        re.compile(r"\d{1,3}(?: 000)+(?!\d|[,.]\d)"),
        lambda match: number(match[0].replace(" ", "")),
    ),
    Rule(
        Kind.NUMBER,
        re.compile(rf"(?P<a>{NUM})X(?= [a-z]|[.,;!?]|$)"),
        lambda match: f"{number(match['a'])} times",
    ),
    Rule(
        Kind.NUMBER,
        re.compile(rf"(?P<a>{NUM})(?:x?{TO}(?P<b>{NUM}))?[x×](?!\w| ?[-−+=^*/(²³])"),
        _fold,
    ),
    Rule(
        Kind.NUMBER,
        re.compile(rf"(?P<base>{NUM})\^(?P<minus>[-−]?)(?P<power>\d+)"),
        _power,
    ),
    Rule(
        Kind.NUMBER,
        re.compile(r"(?P<a>\d+):(?P<b>\d+)(?![\d:])"),
        lambda match: f"{number(match['a'])} to {number(match['b'])}",
    ),
    Rule(
        Kind.RANGE,
        re.compile(rf"{SIGN}(?P<a>{NUM}){TO}(?P<b>{NUM})(?![-–]\d| ?=)"),
        _range,
    ),
    Rule(Kind.NUMBER, re.compile(r"(?<=\d )[-−–](?= ?[\d.]+ ?=)"), lambda _: "minus"),
    Rule(Kind.NUMBER, re.compile(r"(?<=\d)[-−–](?=[\d.]+ ?=)"), lambda _: "minus"),
    Rule(
        Kind.NUMBER,
        re.compile(
            r"(?P<a>\d+(?:\.\d+)?)(?P<scale>[mb]n\b|M(?= [a-z])|(?:B|(?<=\d\d)[Kk])(?= [a-z]))"
        ),
        _scaled,
    ),
    Rule(Kind.NUMBER, re.compile(rf"{SIGN}(?P<a>{NUM})"), _plain),
)
