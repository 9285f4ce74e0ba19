"""English readings of dates: days, months, years, decades."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from serve_app.core.spoken import numbers_en
from serve_app.core.spoken.calendar_en import DAYS, MONTH_TEXT, MONTHS, SHORT_MONTHS
from serve_app.core.spoken.en_times import AP, clock
from serve_app.core.spoken.rule import TO, Kind, Rule, before, full_stop

_MONTH: Final = (
    rf"(?:(?P<full>{'|'.join(MONTHS)})\b|(?P<short>{'|'.join(SHORT_MONTHS)})\b(?P<dot>\.?))"
)


def _month_name(match: re.Match[str]) -> str:
    return match["full"] or SHORT_MONTHS[match["short"]]


def _valid(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= 31 and year <= 9999


def _spoken(year: int, month: int, day: int) -> str:
    return f"{MONTHS[month - 1]} {numbers_en.ordinal(day)}, {numbers_en.year(year)}"


def _big_end(match: re.Match[str]) -> str | None:
    year, month, day = int(match["y"]), int(match["m"]), int(match["d"])
    if not _valid(year, month, day):
        return None
    words = _spoken(year, month, day)
    if match["hour"]:
        words += ", " + clock(int(match["hour"]), match["minute"], half=False)
        words += " UTC" if match["zone"] else ""
    return words


def _small_end(match: re.Match[str]) -> str | None:
    """Month first where a slash allows it, day first with dots."""
    first, second, written = int(match["first"]), int(match["second"]), match["y"]
    if match["sep"] != "/" and len(written) == 2:
        return None
    year = int(written)
    if len(written) == 2:
        year += 2000 if year < 50 else 1900
    month, day = first, second
    if match["sep"] == "." or first > 12:
        month, day = second, first
    return _spoken(year, month, day) if _valid(year, month, day) else None


def _season(match: re.Match[str]) -> str | None:
    """A year and the next one: twenty twenty-three to twenty-four."""
    year, following = int(match["y"]), match["y2"]
    if int(following) != (year + 1) % 10 ** len(following):
        return None
    end = numbers_en.year(year + 1) if len(following) == 4 else numbers_en.short_year(following)
    return f"{numbers_en.year(year)} to {end}"


def _month_of_year(match: re.Match[str]) -> str | None:
    """A month in figures; where it may be the end of a span of years, it is left to that."""
    month = int(match["m"])
    if match["sep"] == "-" and month > int(match["y"]) % 100:
        return None
    return f"{MONTHS[month - 1]} {numbers_en.year(int(match['y']))}"


def _year_part(match: re.Match[str]) -> str:
    return f", {numbers_en.year(int(match['y']))}" if match["y"] else ""


def _month_day(match: re.Match[str]) -> str | None:
    days = [int(day) for day in (match["d"], match["d2"]) if day]
    if not all(1 <= day <= 31 for day in days):
        return None
    said = " to ".join(map(numbers_en.ordinal, days))
    return f"{_month_name(match)} {said}{_year_part(match)}"


def _day_month(match: re.Match[str]) -> str | None:
    days = [int(day) for day in (match["d"], match["d2"]) if day]
    if not all(1 <= day <= 31 for day in days):
        return None
    said = " to ".join(map(numbers_en.ordinal, days))
    the = "" if re.search(r"\b[Tt]he $", before(match)) else "the "
    stop = "" if match["y"] else full_stop(match)
    return f"{the}{said} of {_month_name(match)}{_year_part(match)}{stop}"


def _month_year(match: re.Match[str]) -> str:
    return f"{_month_name(match)} {numbers_en.year(int(match['y']))}"


def _month_alone(match: re.Match[str]) -> str | None:
    """``Nov.`` by itself; full names and what is a name or a word too are left."""
    if not match["dot"] or match["short"] in {"Jan", "Mar", "May"}:
        return None
    return _month_name(match) + full_stop(match)


def _weekday(match: re.Match[str]) -> str | None:
    if match["day"] in {"Sat", "Sun", "Wed"} and match["date"] is None:
        return None
    return DAYS[match["day"]] + full_stop(match)


def _names_between(table: dict[str, str]) -> Callable[[re.Match[str]], str]:
    def read(match: re.Match[str]) -> str:
        return f"{table[match['first']]} to {table[match['last']]}{full_stop(match)}"

    return read


def _decades(match: re.Match[str]) -> str:
    first, last = numbers_en.decade(int(match["d"])), numbers_en.decade(int(match["d2"]))
    return f"{first} to {last}"


def _decade(match: re.Match[str]) -> str | None:
    """``1990s`` and ``'90s``; *a 30s wait* is seconds."""
    figures = match["d"]
    if len(figures) == 2 and re.search(r"\b[Aa]n? $", before(match)):
        return None
    if figures in {"100", "1000"}:
        return {"100": "hundreds", "1000": "thousands"}[figures]
    return numbers_en.decade(int(figures)) if len(figures) in {2, 4} else None


_YEAR: Final = r"(?:,? (?P<y>\d{4})(?![\d:%]|[-/,.]\d))?"
_NO_MORE: Final = rf"(?![\d:%/°]|,\d{{3}}|\.\d| ?{AP})"

_MONTHS_SAID: Final = {month: month for month in MONTHS} | SHORT_MONTHS

MONTH_RULES: Final = (
    *(
        Rule(
            Kind.DATE,
            re.compile(rf"(?P<first>{names})\.?[-–](?P<last>{names})(?![A-Za-z-])(?:\.(?! ?\d))?"),
            _names_between(table),
        )
        for table in (DAYS, _MONTHS_SAID)
        for names in ["|".join(sorted(table, key=len, reverse=True))]
    ),
    Rule(
        Kind.DATE,
        re.compile(
            rf"{_MONTH} (?P<d>\d{{1,2}})(?:st|nd|rd|th)?{_NO_MORE}"
            rf"(?:{TO}(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?{_NO_MORE})?{_YEAR}",
        ),
        _month_day,
    ),
    Rule(Kind.DATE, re.compile(rf"{_MONTH},? (?P<y>\d{{4}})(?![\d:%]|,\d{{3}}|\.\d)"), _month_year),
    Rule(Kind.DATE, re.compile(_MONTH), _month_alone),
    Rule(
        Kind.DATE,
        re.compile(rf"(?P<day>{'|'.join(DAYS)})\.(?P<date>(?=,? (?:{MONTH_TEXT}|\d)))?"),
        _weekday,
    ),
    Rule(
        Kind.DATE,
        re.compile(
            rf"(?P<day>{'|'.join(DAYS)})(?=,? (?:\d{{1,2}}(?:st|nd|rd|th)? {MONTH_TEXT}"
            rf"|{MONTH_TEXT}\.? \d| \d{{1,2}}(?::\d\d|[-–]\d| ?[ap]\.?m\b)))"
        ),
        lambda match: DAYS[match["day"]],
    ),
)
"""Tried at the name of a month or day."""

MONTH_TRIGGERS: Final = (*MONTHS, *SHORT_MONTHS, *DAYS)

RULES: Final = (
    Rule(
        Kind.DATE,
        re.compile(
            r"(?<![A-Za-z0-9])['’‘]?(?P<d>\d0|1\d\d0|20\d0)['’]?s[-–—]['’‘]?"
            r"(?P<d2>\d0|1\d\d0|20\d0)['’]?s\b"
        ),
        _decades,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"(?P<y>(?:1[5-9]|20)\d\d)[-–/](?P<y2>\d{4}|\d\d)(?![\d/]|[-.]\d)"),
        _season,
    ),
    Rule(
        Kind.DATE,
        re.compile(
            r"(?<![\d/-])(?P<m>0?[1-9]|1[0-2])(?P<sep>/)(?P<y>(?:19|20)\d\d)"
            r"(?![\w/]|[-.]\d| (?:of|s|sec|seconds?)\b)"
        ),
        _month_of_year,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"(?<![\d/-])(?P<y>(?:19|20)\d\d)(?P<sep>-)(?P<m>0[1-9]|1[0-2])(?![\w/-]|\.\d)"),
        _month_of_year,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"(?<![A-Za-z0-9])['’‘]?(?P<d>\d{1,3}0)['’]?s\b"),
        _decade,
    ),
    Rule(
        Kind.DATE,
        re.compile(r"(?:(?<![^\s(])|(?<=[QH][1-4]))['’](?P<y>\d\d)(?![\w'’%-]|[.,]\d)"),
        lambda match: numbers_en.short_year(match["y"]),
    ),
    Rule(
        Kind.DATE,
        re.compile(
            r"(?P<y>[12]\d{3})(?P<sep>[-/.])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})(?![\d/]|[-.]\d)"
            r"(?:T(?P<hour>[01]\d|2[0-4]):?(?P<minute>[0-5]\d)(?::?\d\d(?:\.\d+)?)?"
            r"(?P<zone>Z)?(?:[-+]\d\d:?\d\d)?)?"
        ),
        _big_end,
    ),
    Rule(
        Kind.DATE,
        re.compile(
            r"(?P<first>\d{1,2})(?P<sep>[-/.])(?P<second>\d{1,2})(?P=sep)"
            r"(?P<y>[12]\d{3}|\d\d)(?![\d/]|[-.]\d)"
        ),
        _small_end,
    ),
    Rule(
        Kind.DATE,
        re.compile(
            rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:{TO}(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?)?"
            rf"(?: of |[ -]){_MONTH}(?:(?:,? |-)(?P<y>\d{{4}})(?![\d:%]|,\d{{3}}|\.\d))?"
        ),
        _day_month,
    ),
)
