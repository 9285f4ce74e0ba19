"""Chinese readings of a dash in front of a figure: a range, a score, a name, or a minus."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_zh
from serve_app.core.spoken.rule import NUM, Kind, Rule, after, before
from serve_app.core.spoken.units import UNIT
from serve_app.core.spoken.zh_names import name
from serve_app.core.spoken.zh_numbers import MEASURE_WORD

_MEASURED: Final = rf"(?:{MEASURE_WORD}|[分层楼]|%|‰|{UNIT})"
_COUNTED: Final = rf"(?:{_MEASURED}|[年月日号號章节页回卷路栋室站期集])"
_COUNT_BEFORE = re.compile(rf"\d ?(?:余|多)?{_COUNTED}(?:半|底|初|末|[上中下]旬)?$")
_DAY_BEFORE = re.compile(r"(?:周|星期|礼拜)[一二三四五六日天末]$|\d ?[点點时]?$")
_DAY_AFTER = re.compile(r"周|星期|礼拜|次日|翌日")
_BELOW_AFTER = re.compile(r" ?[-−]\d")
_COUNT_AFTER = re.compile(rf"(?:(?:第|公元前|前) ?)?{NUM} ?{_COUNTED}|(?:19|20)\d\d(?!\d)")
_MINUS_BEFORE: Final = (
    "是为達达至到在约得于等从了出温率额值润速幅分差数由降跌低升涨增减近超过仅有即取"
    "度回成入果标填选球"
)
_MEASURE_AFTER = re.compile(rf" ?(?![首代部支头根项])(?:{_MEASURED}|摄氏|华氏)")
_NO_SCORE_AFTER = re.compile(rf" ?{_COUNTED}")
_WON: Final = (
    "战胜|击败|大胜|险胜|完胜|力克|横扫|完败|惨败|惜败|负于|不敌|战平|打平|逼平|逆转|领先|落后|获胜|取胜"
    "|告捷"
)
_SCORE_BEFORE = re.compile(
    r"(?:比分|局分|得分|战绩|半场|全场|终场)[是为：:]? ?"
    r"(?:\d{1,3}[:：–-]\d{1,3}[、，,和及 ]{1,2}){0,6}$"
)
_SCORE_AFTER = re.compile(rf" ?(?:的(?:比分|成绩|优势|战绩))| ?(?:{_WON})")


_DASH: Final = r"[-−–—~](?= ?(?:(?:第|公元前|前) ?)?\d|周|星期|礼拜|次日|翌日)|~(?= ?[-−]\d)"
TRIGGER: Final = _DASH
"""What may stand between two counts."""


def _dash(match: re.Match[str]) -> str | None:
    """Between two counts: 五日到八日."""
    lead, tail = before(match, 16), after(match)
    counts = _COUNT_BEFORE.search(lead)
    days = _DAY_BEFORE.search(lead) and _DAY_AFTER.match(tail)
    if days or (counts and _COUNT_AFTER.match(tail)):
        return "到"
    below = match[0] == "~" and (counts or lead[-1:].isdigit()) and _BELOW_AFTER.match(tail)
    return "到" if below else None


def _model(match: re.Match[str]) -> str | None:
    """A hyphen behind a word: that of a name, unless a value is spoken of."""
    if match.string[match.start() - 1] in _MINUS_BEFORE or _MEASURE_AFTER.match(after(match)):
        return None
    return name(match["a"])


def _score(match: re.Match[str]) -> str | None:
    """Two figures that are said to be a score, or a hyphen that falls."""
    low, high = int(match["a"]), int(match["b"])
    tail = after(match)
    falls = match["joint"] == "-" and high <= low < 100 and not _NO_SCORE_AFTER.match(tail)
    if falls or _SCORE_BEFORE.search(before(match, 40)) or _SCORE_AFTER.match(tail):
        return f"{numbers_zh.integer(match['a'])}比{numbers_zh.integer(match['b'])}"
    return None


def _names(match: re.Match[str]) -> str | None:
    """A hyphen that falls from three figures: 波音七四七杠八."""
    if int(match["a"]) <= int(match["b"]):
        return None
    joint = "减" if before(match).endswith("满") else "杠"
    return f"{name(match['a'])}{joint}{name(match['b'])}"


RULES: Final = (
    Rule(Kind.RANGE, re.compile(_DASH), _dash),
    Rule(
        Kind.VERSION,
        re.compile(r"(?<=[㐀-鿿])[-–](?P<a>\d{1,5})(?![\d,:/]|\.\d|[-–—~]\d)"),
        _model,
    ),
    Rule(
        Kind.NUMBER,
        re.compile(r"(?P<a>\d{1,3})(?P<joint>[:–-])(?P<b>\d{1,3})(?![\d:]|[.,]\d|[-–]\d| ?[=%])"),
        _score,
    ),
    Rule(
        Kind.VERSION,
        re.compile(r"(?P<a>\d{3})-(?P<b>\d{1,3})(?![\d:.,-]| ?[=%])"),
        _names,
    ),
)
"""Tried before all other rules: at the dash, and at the figure in front of it."""
