"""Powers of ten, lengths of time in letters, and measures by measures, in both languages."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import en_numbers, numbers_en, numbers_zh, zh_numbers
from serve_app.core.spoken.rule import NUM, Kind, Language, Rule
from serve_app.core.spoken.symbols import SUPERSCRIPTS, powered
from serve_app.core.spoken.units import UNIT, UNITS, Unit

_SUPER: Final = "".join(SUPERSCRIPTS)
_POWER_OF_TEN = re.compile(
    rf"(?:(?P<a>{NUM}) ?[×x*·⋅] ?)?10(?:\^(?P<minus>[-−–]?)(?P<power>\d{{1,6}})"
    rf"|(?P<super>⁻?[{_SUPER}]{{1,4}}))(?![\w{_SUPER}]*\^)(?: ?(?P<unit>{UNIT}))?"
)
_E_NOTATION = re.compile(
    rf"(?<![A-Za-z])(?P<a>{NUM})[eE](?P<minus>[-−]?)\+?(?P<power>\d{{1,6}})(?!\d)"
    rf"(?: ?(?P<unit>{UNIT})|(?![\w-]))"
)
_MEASURED_BY = re.compile(rf"(?P<a>{NUM}) ?(?P<unit>{UNIT}) ?[x×*](?= ?{NUM})")
_DURATION = re.compile(
    r"(?:(?P<h>\d{1,3}) ?h(?:rs?)?(?: ?(?P<m>\d{1,2}) ?m(?:ins?)?|(?P<minutes>[0-5]\d))"
    r"(?: ?(?P<s>\d{1,2}) ?s(?:ecs?)?)?"
    r"|(?P<m2>\d{1,3}) ?m(?:ins?)? ?(?P<s2>\d{1,2}) ?s(?:ecs?)?)(?![\w²³/])"
)
_UNITS_OF_TIME: Final = (UNITS["h"], UNITS["min"], UNITS["s"])


def _unit(match: re.Match[str]) -> Unit | None:
    written = match["unit"]
    return UNITS.get(written) or UNITS[written.rstrip(".")] if written else None


def _figures(match: re.Match[str]) -> tuple[str, bool]:
    """The exponent, and whether it is below zero."""
    if match["power"]:
        return match["power"], bool(match["minus"])
    return "".join(SUPERSCRIPTS.get(char, "") for char in match["super"]), "⁻" in match["super"]


def _power_en(match: re.Match[str]) -> str:
    times = f"{en_numbers.number(match['a'])} times " if match["a"] else ""
    unit = _unit(match)
    words = f"{times}ten{powered(*_figures(match), chinese=False)}"
    return f"{words} {unit.many}" if unit else words


def _power_zh(match: re.Match[str]) -> str:
    times = f"{zh_numbers.number(match['a'])}乘以" if match["a"] else ""
    unit = _unit(match)
    words = f"{times}十{powered(*_figures(match), chinese=True)}"
    return words + ((unit.zh or match["unit"]) if unit else "")


def _by_en(match: re.Match[str]) -> str:
    unit = _unit(match)
    assert unit is not None
    name = unit.one if match["a"] == "1" else unit.many
    return f"{en_numbers.number(match['a'])} {name} by"


def _by_zh(match: re.Match[str]) -> str:
    unit = _unit(match)
    assert unit is not None
    return f"{numbers_zh.counted(match['a'])}{unit.zh or match['unit']}乘"


def duration_en(hours: str | None, minutes: str | None, seconds: str | None) -> str:
    """A length of time in its parts, those of nothing left out."""
    parts = zip((hours, minutes, seconds), _UNITS_OF_TIME, strict=True)
    told = [(int(figures), unit) for figures, unit in parts if figures and int(figures)]
    return " ".join(
        f"{numbers_en.cardinal(count)} {unit.one if count == 1 else unit.many}"
        for count, unit in told or [(0, UNITS["s"])]
    )


def duration_zh(hours: str | None, minutes: str | None, seconds: str | None) -> str:
    """The same in Chinese: 两小时三十分三秒."""
    parts = zip((hours, minutes, seconds), ("小时", "分", "秒"), strict=True)
    told = [(figures, unit) for figures, unit in parts if figures and int(figures)]
    return "".join(
        f"{numbers_zh.counted(str(int(figures)))}{unit}" for figures, unit in told or [("0", "秒")]
    )


def _written(match: re.Match[str]) -> tuple[str | None, str | None, str | None]:
    minutes = match["m"] or match["minutes"] or match["m2"]
    return match["h"], minutes, match["s"] or match["s2"]


RULES: Final[dict[Language, tuple[Rule, ...]]] = {
    "en": (
        Rule(Kind.NUMBER, _POWER_OF_TEN, _power_en),
        Rule(Kind.NUMBER, _E_NOTATION, _power_en),
        Rule(Kind.MEASURE, _MEASURED_BY, _by_en),
        Rule(Kind.MEASURE, _DURATION, lambda match: duration_en(*_written(match))),
    ),
    "zh": (
        Rule(Kind.NUMBER, _POWER_OF_TEN, _power_zh),
        Rule(Kind.NUMBER, _E_NOTATION, _power_zh),
        Rule(Kind.MEASURE, _MEASURED_BY, _by_zh),
        Rule(Kind.MEASURE, _DURATION, lambda match: duration_zh(*_written(match))),
    ),
}
