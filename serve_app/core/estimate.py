"""How long a text takes to speak, as a function of the text alone.

Version 1 (``ESTIMATE_VERSION``); the constants are frozen with it, because plans are made of them.
Times are whole ticks of 1/180 s, in which every constant is an integer, so that sums are exact and
a plan is the same on every machine:

==============================================  =====  ==========================================
a letter                                           10  18 characters/s (181 English words/min)
any other sign beside a letter, digit or sign      10  so that spaces and marks count as letters do
a Han, kana or Hangul sign                         40  4.5 signs/s
a digit                                            45  0.25 s: it is a word
the end of a sentence                              54  0.3 s
a turn                                             72  0.4 s (``TURN_S``)
==============================================  =====  ==========================================

What stands beside nothing speakable costs nothing: a ruled line or a row of stars takes no time. A
mark ends a sentence if a letter or digit stands before it (up to four other signs between them),
and, if it is a full stop, none behind it: ``3.14`` and ``U.S.`` end none in the middle.

**Additive**: cutting a text anywhere but directly behind a full stop never makes its parts cost
more in sum than the whole; :func:`prefix_ticks` therefore bounds every part from above.

The rates are public figures for VibeVoice and nobody here has measured them on a card; callers
correct them by what their engine has spoken, which must never reach the plan.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import accumulate
from typing import Final, Literal

from serve_app.core.text import han_letters, is_syllabic

ESTIMATE_VERSION: Final = 1

TICKS_PER_S: Final = 180
"""The unit of all planning; every constant below is whole in it."""

TURN_S: Final = 0.4
"""Seconds for the change of speaker at the start of a turn."""

TURN_TICKS: Final = 72

_LETTER: Final = 10
_SYLLABLE: Final = 40
_DIGIT: Final = 45
_SIGN: Final = 10
_SENTENCE: Final = 54
_HAN_PER_LETTER: Final = 3

_BESIDE = re.compile(r"(?<=[^\W_])[\W_]|[\W_](?=[^\W_])")
_ALONE = re.compile(r"(?<![^\W_])[\W_](?![^\W_])")
_MARKS: Final = "!?…。！？｡．‼⁇⁈⁉"
_END = re.compile(rf"[^\W_](?:[^\w\s.{_MARKS}]|_){{0,4}}(?:[{_MARKS}]|\.++(?![^\W_]))")


@lru_cache(maxsize=8192)
def _cost(char: str) -> int:
    if not char.isalnum():
        return 0
    if is_syllabic(char):
        return _SYLLABLE
    return _LETTER if char.isalpha() else _DIGIT


def prefix_ticks(text: str) -> tuple[int, ...]:
    """Cumulative cost of *text* in ticks.

    Returns:
        ``len(text) + 1`` values; the difference of two bounds the cost of the text between them
        from above, unless it is cut directly behind a full stop.
    """
    costs = {char: _cost(char) for char in set(text)}
    ticks = [costs[char] for char in text]
    for match in _BESIDE.finditer(text):
        ticks[match.start()] = _SIGN
    for match in _END.finditer(text):
        ticks[match.end() - 1] += _SENTENCE
    return (0, *accumulate(ticks))


def speech_ticks(text: str) -> int:
    """Ticks that *text* takes to speak, without the change of speaker before it.

    The last value of :func:`prefix_ticks`, at a fraction of its time.
    """
    spoken = signs = 0
    for char, count in Counter(text).items():
        cost = _cost(char)
        spoken += cost * count
        signs += 0 if cost else count
    if not spoken:
        return 0
    signs -= len(_ALONE.findall(text))  # fewer than those beside something, so sooner found
    return spoken + _SIGN * signs + _SENTENCE * len(_END.findall(text))


def speech_s(text: str) -> float:
    """Seconds that *text* takes to speak, without the change of speaker before it."""
    return speech_ticks(text) / TICKS_PER_S


def language(text: str) -> Literal["en", "zh"]:
    """The language of *text*: Chinese if a quarter of its letters or more are Han, else English."""
    han = han_letters(text)
    if not han:
        return "en"
    return "zh" if han * (_HAN_PER_LETTER + 1) >= sum(map(str.isalpha, text)) else "en"
