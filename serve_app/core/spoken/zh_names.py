"""Chinese readings of figures that name something: plates, codes, models, days of events, titles.

What is a name is said digit by digit, as it would be spelled out; a count is a number.
"""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_zh
from serve_app.core.spoken.rule import Kind, Rule, after, before
from serve_app.core.spoken.units import UNIT
from serve_app.core.spoken.zh_numbers import NO_MEASURE

_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z][·•\- ]?"
    r"(?=[A-Z0-9]{0,5}\d)[A-Z0-9]{5,6}(?![A-Za-z0-9])"
)
_LETTERS_BEFORE = re.compile(r"(?<![A-Za-z])(?!TOP$|Top$|top$)[A-Za-z]+$")
_CARRIED_BEFORE = re.compile(r"(?:航班|车次)[号是为:： ]{0,2}[A-Z]+$")
_CARRIED_AFTER = re.compile(r" ?(?:号|次)?(?:航班|班机|列车|次)")
_MODEL_DIGITS: Final = 3
_EVENTS: Final = (
    r"事件|事故|事变|惨案|案|运动|恐怖|袭击|大?地震|晚会|购物节|大促|假期|长假"
    r"|黄金周|国庆|劳动节|妇女节|儿童节"
)
_NAMED: Final = "不锈钢|高校|大学|院校|工程|工作制|医院|大促|购物节|晚会|航班|型"
_YEAR_NOUNS: Final = (
    "财年|赛季|学年|年度|款|届|奥运|冬奥|世界杯|欧洲杯|亚洲杯|世锦赛|春晚|春节|新年|春季|夏季|秋季"
    "|冬季|春夏|秋冬|高考|考研"
)


def _plate(match: re.Match[str]) -> str | None:
    text = match.string
    plate = _PLATE.search(text, max(0, match.start() - 8), match.end() + 6)
    inside = plate is not None and plate.start() < match.start() and match.end() <= plate.end()
    return numbers_zh.digits(match[0]) if inside else None


def name(figures: str) -> str:
    """The figures of a model: 歼二十, but 波音七四七 and 空客三百."""
    short = len(figures) < _MODEL_DIGITS or (figures.endswith("00") and len(figures) < 5)
    return numbers_zh.integer(figures) if short else numbers_zh.digits(figures)


def _code(match: re.Match[str]) -> str | None:
    """Three figures or more behind Latin letters: ISO九零零一."""
    lead = before(match)
    if match[0].endswith("00") or not _LETTERS_BEFORE.search(lead):
        return None
    one = "幺" if _CARRIED_AFTER.match(after(match)) or _CARRIED_BEFORE.search(lead) else "一"
    return numbers_zh.digits(match[0], one=one)


def _named(match: re.Match[str]) -> str:
    return name(match[0])


def _event(match: re.Match[str]) -> str:
    """The day of an event: 九一一, 三一五, but 十一 for the first of October."""
    figures = match[0]
    return "十" + numbers_zh.digits(figures[2:]) if figures[:2] == "10" else _both(match)


def _both(match: re.Match[str]) -> str:
    return numbers_zh.digits(match[0])


def _model(match: re.Match[str]) -> str | None:
    """Two figures of a code, one of them long: i七杠一三七零零."""
    low, high = match["a"], match["b"]
    return f"{name(low)}杠{name(high)}" if max(len(low), len(high)) >= _MODEL_DIGITS else None


def _lived(match: re.Match[str]) -> str | None:
    """Two years in parentheses."""
    return _season(match) if match["y"] <= match["y2"] else None


def _month_day(match: re.Match[str]) -> str:
    month, day = numbers_zh.cardinal(int(match["m"])), numbers_zh.cardinal(int(match["d"]))
    return f"{month}月{day}日"


def _season(match: re.Match[str]) -> str:
    return f"{numbers_zh.digits(match['y'])}到{numbers_zh.digits(match['y2'])}"


RULES: Final = (
    Rule(Kind.PHONE, re.compile(r"\d{1,6}(?![.,]\d)"), _plate),
    Rule(
        Kind.VERSION,
        re.compile(r"(?:(?<=[A-Z])|(?<=[A-Z] ))(?P<a>\d{2,5})[-–—](?P<b>(?:19|20)\d\d)(?![\d年])"),
        lambda match: f"{numbers_zh.digits(match['a'])}杠{numbers_zh.digits(match['b'])}",
    ),
    Rule(
        Kind.VERSION,
        re.compile(r"(?<=[A-Za-z])(?P<a>\d{1,4})-(?P<b>\d{1,5})(?![\d.,:-])"),
        _model,
    ),
    Rule(
        Kind.VERSION,
        re.compile(
            rf"(?<=[A-Z]{{2}} )\d{{3,4}}(?![\d%万亿千百元年]|[.,:/-]\d| ?{UNIT}){NO_MEASURE}"
        ),
        lambda match: name(match[0]),
    ),
    Rule(Kind.VERSION, re.compile(r"(?<=[A-Za-z])\d{3,}(?![\d%]|[.,:]\d)"), _code),
    Rule(
        Kind.DATE,
        re.compile(
            rf"\d{{1,2}}(?:[·・•]\d{{1,2}}(?!\d| ?=)|\.\d{{1,2}}(?=[”’\"]? ?(?:{_EVENTS})))"
        ),
        _event,
    ),
    Rule(Kind.DATE, re.compile(r"(?<=[〔（(\[])(?:19|20)\d\d(?=[〕）)\]] ?第?\d+ ?号)"), _both),
    Rule(
        Kind.DATE,
        re.compile(r"(?:(?:19|20)\d\d|[12]\d)(?=年?[QH][1-4](?![\dA-Za-z]))"),
        _both,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"[0-25-9][05](?=(?:、[0-25-9][05])*后(?![来面续期天退半勤排者置台世续]))"),
        _both,
    ),
    Rule(Kind.NUMBER, re.compile(r"\d{6,}(?= ?号)"), _both),
    Rule(Kind.DATE, re.compile(r"(?<=《)[12]\d{3}(?![\d.,])"), _both),
    Rule(
        Kind.DATE,
        re.compile(
            r"(?P<y>(?:19|20)\d\d)[-–—/](?P<y2>(?:19|20)?\d\d)(?= ?(?:赛季|财年|学年|年度))"
        ),
        _season,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"(?<=[(（])(?P<y>[12]\d{3})[-–—~](?P<y2>[12]\d{3})(?=[)）])"),
        _lived,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"(?P<m>0[1-9])-(?P<d>0[1-9]|[12]\d|3[01])(?![\d.:月日号-])"),
        _month_day,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"\d\d(?=年(?:[底初末]|出?生(?!命|活|存|长)|毕业|入学|世界杯|[上下]半年))"),
        _both,
    ),
    Rule(Kind.NUMBER, re.compile(rf"\d{{3}}(?=(?:[、/]\d{{3}})?(?:{_NAMED}))"), _named),
    Rule(Kind.NUMBER, re.compile(r"(?:720|1080|1440|2160)(?=[pPi](?![A-Za-z]))"), _both),
    Rule(Kind.NUMBER, re.compile(r"(?:6{3,}|23{2,})(?=[，。！？,!?~…\s]|$)"), _both),
    Rule(Kind.DATE, re.compile(rf"(?:19|20)\d\d(?= ?(?:{_YEAR_NOUNS}))"), _both),
    Rule(
        Kind.NUMBER,
        re.compile(
            r"(?:(?<=[图表式例题习元课附栋])|(?<=[图表式例题] ))"
            r"(?P<a>\d{1,3})[-–—](?P<b>\d{1,3})(?!\d)"
        ),
        lambda match: f"{numbers_zh.integer(match['a'])}杠{numbers_zh.integer(match['b'])}",
    ),
)
