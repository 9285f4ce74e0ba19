"""Chinese readings of dates and times of day."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_zh
from serve_app.core.spoken.rule import TO, Kind, Rule, before
from serve_app.core.spoken.science import duration_zh

_AP: Final = r"(?:[ap]\.m\.|[AP]\.M\.|(?:[ap]m|[AP]M)(?![A-Za-z0-9]))"


_LASTED_BEFORE = re.compile(
    r"(?:用时|耗时|历时|时长|时间为|成绩|还剩|剩余|倒计时|跑出|片长)[了是为约：:]? ?$"
)


def _day(year: str, month: int, day: int) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{numbers_zh.digits(year)}年{_month_day(month, day)}"


def _month_day(month: int, day: int) -> str:
    return f"{numbers_zh.cardinal(month)}月{numbers_zh.cardinal(day)}日"


def _numeric(match: re.Match[str]) -> str | None:
    words = _day(match["y"], int(match["m"]), int(match["d"]))
    if words is None or not match["hour"]:
        return words
    return words + _clock(match["hour"], match["minute"])


def _written(match: re.Match[str]) -> str | None:
    """A date with 月, with or without a year in front and days behind."""
    year = f"{numbers_zh.digits(match['y'])}年" if match["y"] else ""
    words = f"{year}{numbers_zh.cardinal(int(match['m']))}"
    if match["m2"]:
        words += f"到{numbers_zh.cardinal(int(match['m2']))}"
    words += "月"
    if match["d"]:
        words += numbers_zh.cardinal(int(match["d"]))
    if match["d2"]:
        words += f"到{numbers_zh.cardinal(int(match['d2']))}"
    return words


def _year(match: re.Match[str]) -> str | None:
    """Four digits before 年: a year, but for round spans of time (3000年历史)."""
    if match["y"].endswith("00") and re.match(r" ?年(?:前|来|后|以|历史|的历史|间)", match["tail"]):
        return None
    words = numbers_zh.digits(match["y"])
    return f"{words}到{numbers_zh.digits(match['y2'])}" if match["y2"] else words


def _clock(hour: str, minute: str, second: str | None = None) -> str:
    words = f"{numbers_zh.counted(str(int(hour)))}点"
    if minute != "00" or second:
        words += ("零" if 0 < int(minute) < 10 else "") + f"{numbers_zh.cardinal(int(minute))}分"
    return f"{words}{numbers_zh.cardinal(int(second))}秒" if second else words


def _half(written: str | None) -> str:
    if not written:
        return ""
    return "上午" if written[0] in "aA" else "下午"


def _year_month(match: re.Match[str]) -> str:
    return f"{numbers_zh.digits(match['y'])}年{numbers_zh.cardinal(int(match['m']))}月"


def _time(match: re.Match[str]) -> str | None:
    if match["s"] and _LASTED_BEFORE.search(before(match)):
        return duration_zh(match["h"], match["m"], match["s"])
    if int(match["h"]) > 24:
        return None
    return _half(match["p"]) + _clock(match["h"], match["m"], match["s"])


def _times(match: re.Match[str]) -> str | None:
    if max(int(match["h1"]), int(match["h2"])) > 24:
        return None
    return f"{_clock(match['h1'], match['m1'])}到{_clock(match['h2'], match['m2'])}"


RULES: Final = (
    Rule(
        Kind.DATE,
        re.compile(
            r"(?P<y>[12]\d{3})(?P<sep>[-/.])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})(?![\d/]|[-.]\d)"
            r"(?:[T ](?P<hour>[01]\d|2[0-4]):(?P<minute>[0-5]\d)(?::\d\d(?:\.\d+)?)?Z?)?"
        ),
        _numeric,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"(?P<y>(?:19|20)\d\d)[-/](?P<m>0[1-9]|1[0-2])(?![\d/年月]|[-.]\d)"),
        _year_month,
    ),
    Rule(
        Kind.DATE,
        re.compile(
            rf"(?:(?P<y>\d{{4}}|\d\d) ?年 ?)?(?P<m>\d{{1,2}})(?:{TO}(?P<m2>\d{{1,2}}))? ?月"
            rf"(?: ?(?P<d>\d{{1,2}})(?:{TO}(?P<d2>\d{{1,2}}))?(?= ?[日号號]))?"
        ),
        _written,
    ),
    Rule(
        Kind.DATE,
        re.compile(rf"(?P<y>[12]\d{{3}})(?:{TO}(?P<y2>\d{{4}}|\d\d))?(?=(?P<tail> ?年.{{0,4}}))"),
        _year,
    ),
    Rule(
        Kind.TIME,
        re.compile(
            rf"(?P<h1>\d{{1,2}}):(?P<m1>[0-5]\d){TO}(?P<h2>\d{{1,2}}):(?P<m2>[0-5]\d)(?![\d:])"
        ),
        _times,
    ),
    Rule(
        Kind.TIME,
        re.compile(
            rf"(?P<h>\d{{1,2}}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?![\d:])(?: ?(?P<p>{_AP}))?"
        ),
        _time,
    ),
    Rule(
        Kind.TIME,
        re.compile(rf"(?P<h>\d{{1,2}}) ?(?P<p>{_AP})"),
        lambda match: f"{_half(match['p'])}{numbers_zh.counted(match['h'])}点",
    ),
)
