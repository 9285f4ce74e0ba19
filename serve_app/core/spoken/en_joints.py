"""English readings of what stands between two figures of a kind: 5 kg–10 kg, 12' x 10', 5th–6th."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_en
from serve_app.core.spoken.en_numbers import number
from serve_app.core.spoken.rule import CURRENCY_SIGNS, NUM, Kind, Rule, after, before
from serve_app.core.spoken.units import UNIT

_ORDINAL: Final = r"\d(?:st|nd|rd|th)"
_COUNT_BEFORE = re.compile(rf"(?:\d ?{UNIT}|{_ORDINAL}) ?$")
_COUNT_AFTER = re.compile(rf" ?(?:{NUM} ?{UNIT}|\d*{_ORDINAL}\b)")
_PRICE_BEFORE = re.compile(
    rf"[{CURRENCY_SIGNS}]\d[\d.,]*(?:(?:[KkMmBbT]|[mb]n)| (?:thousand|million|billion))? ?$"
)
_PRICE_AFTER = re.compile(rf" ?[{CURRENCY_SIGNS}]\d")
_THINGS: Final = "TV|screen|monitor|display|laptop|tablet|pipe|pan|pizza|rims|wheels|vinyl"


def _dash(match: re.Match[str]) -> str | None:
    lead, tail = before(match), after(match)
    if match[0] == "-" and (lead[-1:] == " " or tail[:1] == " "):
        return None
    counts = _COUNT_BEFORE.search(lead) and _COUNT_AFTER.match(tail)
    prices = _PRICE_BEFORE.search(lead) and _PRICE_AFTER.match(tail)
    return "to" if counts or prices else None


def _sides(one: str, many: str) -> Rule:
    """Two lengths with the mark of a unit behind each: 12' x 10'."""
    mark = {"feet": "['’′]", "inches": '["”″]'}[many]
    side = rf"\d+(?:\.\d+)?{mark}"

    def read(match: re.Match[str]) -> str:
        words = [
            f"{number(side)} {one if side == '1' else many}"
            for side in re.findall(r"\d+(?:\.\d+)?", match[0])
        ]
        return " by ".join(words)

    return Rule(Kind.MEASURE, re.compile(rf"{side}(?: ?[x×] ?{side}){{1,2}}(?!\w)"), read)


def _feet(match: re.Match[str]) -> str:
    feet = int(match["feet"] or match["f"] or match["ft"])
    inches = int(match["inches"] or match["i"] or match["in"])
    return (
        f"{numbers_en.cardinal(feet)} {'foot' if feet == 1 else 'feet'} "
        f"{numbers_en.cardinal(inches)} {'inch' if inches == 1 else 'inches'}"
    )


RULES: Final = (
    Rule(
        Kind.MEASURE,
        re.compile(
            r"(?P<feet>\d)['’′] ?(?P<inches>1[01]|\d)(?:[\"”″]|'')"
            r"|(?<![\d'’])(?P<f>[3-8])['’′](?P<i>1[01]|\d)(?![\w\"”'’%]|[.,]\d)"
            r"|(?P<ft>\d{1,3}) ?(?:ft|foot|feet)\.?,? ?(?P<in>1[01]|\d) ?in(?![\w'’-])"
            r"(?:\.(?! [A-Z]|$))?"
        ),
        _feet,
    ),
    Rule(Kind.RANGE, re.compile(rf"[-–—](?= ?[\d{CURRENCY_SIGNS}])"), _dash),
    _sides("foot", "feet"),
    _sides("inch", "inches"),
    Rule(
        Kind.MEASURE,
        re.compile(rf"(?P<a>{NUM})['’′](?= (?:wide|tall|long|high|deep)\b)"),
        lambda match: f"{number(match['a'])} {'foot' if match['a'] == '1' else 'feet'}",
    ),
    Rule(
        Kind.MEASURE,
        re.compile(
            rf"(?P<a>{NUM})(?:″|[\"”](?= (?:(?P<thing>{_THINGS})"
            r"|wide|tall|long|high|deep|thick)\b))"
        ),
        lambda match: (
            f"{number(match['a'])} inch{'' if match['thing'] or match['a'] == '1' else 'es'}"
        ),
    ),
)
"""Tried before all other rules: at the dash, and at the figure in front of it."""
