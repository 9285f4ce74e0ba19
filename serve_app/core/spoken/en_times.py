"""English readings of times of day, and of how long something took."""

from __future__ import annotations

import re
from typing import Final

from serve_app.core.spoken import numbers_en
from serve_app.core.spoken.calendar_en import MONTH_TEXT
from serve_app.core.spoken.rule import TO, Kind, Rule, before, full_stop
from serve_app.core.spoken.science import duration_en

AP: Final = r"(?:[ap]\.m\.|[AP]\.M\.|[ap]m\b|[AP]M\b)"
_ZONE = re.compile(
    r"\s+(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|\s+[A-Z]{2,4}\b|\s+(?:" + MONTH_TEXT + ")"
)


_AT_BEFORE = re.compile(
    r"\b(?:after|around|at|before|between|by|from|since|till|to|until) $", re.IGNORECASE
)
_LASTED_BEFORE = re.compile(
    r"\b(?:clocked|duration|for|in|lasted|lasts|length|of|record|time|took|takes|within)"
    r"(?: is| of| was)?:? $",
    re.IGNORECASE,
)


def clock(hour: int, minute: str | None, *, half: bool) -> str:
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
    start = clock(int(match["h1"]), match["m1"], half=half) + _half(match["p1"])
    end = clock(int(match["h2"]), match["m2"], half=half) + _half(match["p2"])
    return f"{start} to {end}{_stop(match)}"


def _time(match: re.Match[str]) -> str | None:
    half = match["p1"] or match["p2"]
    if int(match["h"]) > 24:
        return None
    words = clock(int(match["h"]), match["m1"] or match["m2"], half=bool(half))
    return words + _half(half) + _stop(match)


def _stop(match: re.Match[str]) -> str:
    """The end of a sentence in the dot of ``p.m.``; a day or a zone behind it goes on."""
    return "" if _ZONE.match(match.string, match.end()) else full_stop(match)


def _with_seconds(match: re.Match[str]) -> str:
    """A time of day with seconds; behind *in* or *took*, and with one figure, how long it took."""
    lead = before(match)
    short = len(match["h"]) == 1 and not _AT_BEFORE.search(lead)
    if not match["p"] and (short or _LASTED_BEFORE.search(lead)):
        return duration_en(match["h"], match["m"], match["s"])
    seconds = int(match["s"])
    unit = "second" if seconds == 1 else "seconds"
    words = clock(int(match["h"]), match["m"], half=False)
    return f"{words} and {numbers_en.cardinal(seconds)} {unit}{_half(match['p'])}"


def _military(match: re.Match[str]) -> str | None:
    """Four figures behind a word of time: oh six thirty."""
    if not _AT_BEFORE.search(before(match)):
        return None
    tail = "hundred" if match["m"] == "00" else numbers_en.short_year(match["m"])
    return f"oh {numbers_en.cardinal(int(match['h']))} {tail}"


WORD_RULES: Final = (
    Rule(
        Kind.TIME,
        re.compile(r"(?<=[a-z] )[ap]\.m\."),
        lambda match: f"{match[0][0].upper()}M{_stop(match)}",
    ),
)
"""Tried at letters."""

RULES: Final = (
    Rule(Kind.TIME, re.compile(r"0(?P<h>\d)(?P<m>[0-5]\d)(?![\d:%-]|[.,]\d)"), _military),
    Rule(
        Kind.TIME,
        re.compile(r"0(?P<h>[1-9])00(?= (?:hours|hrs|to \d{4} hours))"),
        lambda match: f"oh {numbers_en.cardinal(int(match['h']))} hundred",
    ),
    Rule(
        Kind.TIME,
        re.compile(rf"(?P<h>\d{{1,2}}):(?P<m>[0-5]\d):(?P<s>[0-5]\d)(?![:\d])(?: ?(?P<p>{AP}))?"),
        _with_seconds,
    ),
    Rule(
        Kind.TIME,
        re.compile(
            rf"(?P<h1>\d{{1,2}})(?:[:.](?P<m1>[0-5]\d))?(?: ?(?P<p1>{AP}))?"
            rf"{TO}(?P<h2>\d{{1,2}})(?:[:.](?P<m2>[0-5]\d))?(?![\d:])(?: ?(?P<p2>{AP}))?"
        ),
        _span,
    ),
    Rule(
        Kind.TIME,
        re.compile(
            rf"(?P<h>\d{{1,2}})(?::(?P<m1>[0-5]\d)(?![\d:])(?: ?(?P<p1>{AP}))?"
            rf"|(?:\.(?P<m2>[0-5]\d))? ?(?P<p2>{AP}))"
        ),
        _time,
    ),
)
