"""What a rule of reading is, and what the rules share.

A rule is tried where its trigger stands: its pattern is matched at that place, and its reader says
what the matched text sounds like, or None if it is something else. The text the rules see has the
length of the source, with digits of all scripts and full-width signs as plain ones
(:mod:`serve_app.core.spoken.width`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from serve_app.core.text import CLOSERS, OPENERS

Language = Literal["en", "zh"]
Reader = Callable[[re.Match[str]], str | None]


class Kind(StrEnum):
    """What a stretch of text was taken for."""

    ABBREVIATION = "abbreviation"
    DATE = "date"
    FRACTION = "fraction"
    MEASURE = "measure"
    MONEY = "money"
    NUMBER = "number"
    ORDINAL = "ordinal"
    PERCENT = "percent"
    PHONE = "phone"
    RANGE = "range"
    ROMAN = "roman"
    SYMBOL = "symbol"
    TIME = "time"
    UNSPOKEN = "unspoken"
    VERSION = "version"
    WEB = "web"
    WIDTH = "width"


@dataclass(frozen=True, slots=True)
class Change:
    """A stretch of the source that was replaced.

    Args:
        start: Offset of its first character in the source.
        end: Offset behind its last character.
        spoken: What stands in its place, with the spaces it needs.
        kind: What it was taken for.
    """

    start: int
    end: int
    spoken: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to read.

    Args:
        kind: What the text is if the rule applies.
        pattern: Matched at the trigger; it never matches nothing.
        read: What the match sounds like; None leaves it to the next rule.
    """

    kind: Kind
    pattern: re.Pattern[str]
    read: Reader


CONTINENTAL: Final = r"\d{1,3}(?:\.\d{3}){0,6},\d{1,2}(?![\d,])"
"""A number with a decimal comma; where there are no dots in it, it may also be two numbers."""

NUM: Final = (
    r"(?:\d{1,3}(?:\.\d{3}){1,6},\d{1,2}(?![\d,])"
    r"|(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,2}(?:,\d{2}){1,6},\d{3}(?![\d,])|\d+)(?:\.\d+)?|\.\d+)"
)
"""A number as written, without a sign; groups of three figures, or of two as in India."""

CURRENCY_SIGNS: Final = "$£€¥₹₩₽₿฿₫₱₺₪₴₦"

TO: Final = r"(?: ?[–—~] ?|-)"
"""The dash of a range; a spaced hyphen is a dash between words."""

SIGN: Final = r"(?:(?<![^\s(\[（“‘\"'=<>≤≥:：，。；、,])(?P<sign>[-−–+](?=[\d.])|[±~≈] ?))?"
"""A sign in front of a number; a hyphen behind a word is none."""

SIGN_ZH: Final = r"(?:(?<![A-Za-z0-9_)）\]])(?P<sign>[-−–+](?=[\d.])|[±~≈] ?))?"
"""The same in Chinese, where words are not spaced."""

_AFTER_STOP: Final = re.compile(
    rf"[{re.escape(CLOSERS)}]*(?:$|\s+[{re.escape(OPENERS)}\"']*(?P<word>[A-Z]\w*))"
)
_FIRST_WORDS: Final = (
    "A After All An And As At But By For From He Her His How However I If In It Its My No Now On "
    "Our She So Some That The Their Then There These They This Those We What When Where While Who "
    "Why With Yes Yet You Your"
)
_STARTERS: Final = frozenset(_FIRST_WORDS.split())


def full_stop(match: re.Match[str], *, strict: bool = False) -> str:
    """The dot of an abbreviation at the end of *match*, if it ends the sentence too; else nothing.

    Args:
        match: A match; what does not end in a dot has none to keep.
        strict: A capital behind it is not enough, it has to be a word that starts sentences.
    """
    if not match[0].endswith("."):
        return ""
    after = _AFTER_STOP.match(match.string, match.end())
    if after is None:
        return ""
    word = after["word"]
    return "." if word is None or not strict or word in _STARTERS else ""


def before(match: re.Match[str], size: int = 24) -> str:
    """Up to *size* characters in front of *match*."""
    return match.string[max(0, match.start() - size) : match.start()]


def after(match: re.Match[str], size: int = 24) -> str:
    """Up to *size* characters behind *match*."""
    return match.string[match.end() : match.end() + size]
