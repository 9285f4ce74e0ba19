"""English readings of dates and times of day."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_en
from serve_app.core.spoken.rule import TO, Kind, Rule, before, full_stop

_MONTH_NAMES: Final = (
    "January February March April May June July August September October November December"
)
MONTHS: Final = tuple(_MONTH_NAMES.split())
_SHORT: Final = {"Sept": "September"} | {month[:3]: month for month in MONTHS}
_DAYS: Final = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday",
    "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_MONTH: Final = rf"(?:(?P<full>{'|'.join(MONTHS)})\b|(?P<short>{'|'.join(_SHORT)})\b(?P<dot>\.?))"
_MONTH_TEXT: Final = rf"(?:{'|'.join([*MONTHS, 'Sept', *_SHORT])})\b"
_AP: Final = r"(?:[ap]\.m\.|[AP]\.M\.|[ap]m\b|[AP]M\b)"
_ZONE = re.compile(
    r"\s+(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|\s+[A-Z]{2,4}\b|\s+(?:" + _MONTH_TEXT + ")"
)


def _month_name(match: re.Match[str]) -> str:
    return match["full"] or _SHORT[match["short"]]


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
        words += ", " + _clock(int(match["hour"]), match["minute"], half=False)
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
    return _DAYS[match["day"]] + full_stop(match)


def _clock(hour: int, minute: str | None, *, half: bool) -> str:
    """A time of day; *half* says that AM or PM follows."""
    head = numbers_en.cardinal(hour)
    if minute is None:
        return head
    if minute != "00":
        number = numbers_en.cardinal(int(minute))
        return f"{head} oh {number}" if minute[0] == "0" else f"{head} {number}"
    if half:
        return head
    if hour in {0, 24}:
        return "midnight"
    return f"{head} o'clock" if hour <= 12 else f"{head} hundred"


def _half(written: str | None) -> str:
    return f" {written[0].upper()}M" if written else ""


def _span(match: re.Match[str]) -> str | None:
    """Two times; the second has to be AM or PM, or both have to have minutes."""
    if not (match["p2"] or (match["m1"] and match["m2"])):
        return None
    if max(int(match["h1"]), int(match["h2"])) > 24:
        return None
    half = bool(match["p2"])
    start = _clock(int(match["h1"]), match["m1"], half=half) + _half(match["p1"])
    end = _clock(int(match["h2"]), match["m2"], half=half) + _half(match["p2"])
    return f"{start} to {end}{_stop(match)}"


def _time(match: re.Match[str]) -> str | None:
    half = match["p1"] or match["p2"]
    if int(match["h"]) > 24:
        return None
    words = _clock(int(match["h"]), match["m1"] or match["m2"], half=bool(half))
    return words + _half(half) + _stop(match)


def _stop(match: re.Match[str]) -> str:
    """The end of a sentence in the dot of ``p.m.``; a day or a zone behind it goes on."""
    return "" if _ZONE.match(match.string, match.end()) else full_stop(match)


def _with_seconds(match: re.Match[str]) -> str:
    seconds = int(match["s"])
    unit = "second" if seconds == 1 else "seconds"
    words = _clock(int(match["h"]), match["m"], half=False)
    return f"{words} and {numbers_en.cardinal(seconds)} {unit}{_half(match['p'])}"


def _decade(match: re.Match[str]) -> str | None:
    """``1990s`` and ``'90s``; *a 30s wait* is seconds."""
    figures = match["d"]
    if len(figures) == 2 and re.search(r"\b[Aa]n? $", before(match)):
        return None
    if figures in {"100", "1000"}:
        return {"100": "hundreds", "1000": "thousands"}[figures]
    return numbers_en.decade(int(figures)) if len(figures) in {2, 4} else None


_YEAR: Final = r"(?:,? (?P<y>\d{4})(?![\d:%]|[-/,.]\d))?"
_NO_MORE: Final = rf"(?![\d:%/°]|,\d{{3}}|\.\d| ?{_AP})"

MONTH_RULES: Final = (
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
        re.compile(rf"(?P<day>{'|'.join(_DAYS)})\.(?P<date>(?=,? (?:{_MONTH_TEXT}|\d)))?"),
        _weekday,
    ),
    Rule(
        Kind.TIME,
        re.compile(r"(?<=[a-z] )[ap]\.m\."),
        lambda match: f"{match[0][0].upper()}M{_stop(match)}",
    ),
)
"""Tried at the name of a month or day."""

MONTH_TRIGGERS: Final = (*MONTHS, *_SHORT, *_DAYS)

RULES: Final = (
    Rule(
        Kind.DATE,
        re.compile(r"(?<![A-Za-z0-9])['’‘]?(?P<d>\d{1,3}0)['’]?s\b"),
        _decade,
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
    Rule(
        Kind.TIME,
        re.compile(rf"(?P<h>\d{{1,2}}):(?P<m>[0-5]\d):(?P<s>[0-5]\d)(?![:\d])(?: ?(?P<p>{_AP}))?"),
        _with_seconds,
    ),
    Rule(
        Kind.TIME,
        re.compile(
            rf"(?P<h1>\d{{1,2}})(?:[:.](?P<m1>[0-5]\d))?(?: ?(?P<p1>{_AP}))?"
            rf"{TO}(?P<h2>\d{{1,2}})(?:[:.](?P<m2>[0-5]\d))?(?![\d:])(?: ?(?P<p2>{_AP}))?"
        ),
        _span,
    ),
    Rule(
        Kind.TIME,
        re.compile(
            rf"(?P<h>\d{{1,2}})(?::(?P<m1>[0-5]\d)(?![\d:])(?: ?(?P<p1>{_AP}))?"
            rf"|(?:\.(?P<m2>[0-5]\d))? ?(?P<p2>{_AP}))"
        ),
        _time,
    ),
)
