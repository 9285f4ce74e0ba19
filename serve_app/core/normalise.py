"""Text as it is said: figures, dates, money, units, addresses and short forms in words.

English and Chinese are known; in mixed text each figure is read in the language around it
(:mod:`serve_app.core.spoken.telling`). The rules stand in :mod:`serve_app.core.spoken`, one idea a
file. They change what is spoken, so ``PLAN_VERSION`` is raised with them.

**What is kept.** Words and punctuation stay as they are, in order; text with nothing to replace
comes back as the same object. A dot of an abbreviation stays where it also ends the sentence. The
result normalises to itself.

**What is reported.** Every replaced stretch, and every sign that has no reading (emoji, box
drawing, control characters, markup): it is taken out of the text, never without a report.

**Who decides.** From left to right, at each place that may need a reading the first rule that
accepts it; the order of the rules is the order of preference. Any number is read by some rule.

**Why own rules.** wetext (grammars as transducers) took 7.5 s of CPU for 95,000 characters of prose
and read "No. I won't" as "number I won't"; num2words has no Chinese, cn2an never says 两. These
rules take 0.06 s for as much, and time that grows with the text for any text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from serve_app.core.spoken import (
    abbreviations,
    en_dates,
    en_joints,
    en_measures,
    en_names,
    en_numbers,
    en_times,
    phones,
    roman,
    science,
    symbols,
    web,
    zh_dates,
    zh_joints,
    zh_measures,
    zh_names,
    zh_numbers,
)
from serve_app.core.spoken.merge import merge
from serve_app.core.spoken.rule import CURRENCY_SIGNS, Change, Kind, Language, Rule
from serve_app.core.spoken.telling import is_han, teller
from serve_app.core.spoken.width import fold
from serve_app.core.text import CLOSERS, OPENERS

_LETTERS = sorted(
    {*en_measures.LETTER_CURRENCIES, *zh_measures.LETTER_CURRENCIES}, key=len, reverse=True
)
_START = re.compile(
    r"(?=[A-Za-z&])(?<![A-Za-z0-9_])(?P<word>"
    rf"(?:{'|'.join(map(re.escape, _LETTERS))}) ?\d"
    rf"|(?:{'|'.join(sorted(en_dates.MONTH_TRIGGERS, key=len, reverse=True))})\b"
    rf"|[ap]\.m\.|{abbreviations.TRIGGER}|{roman.TRIGGER})"
    rf"|(?P<figure>[0-9{CURRENCY_SIGNS}{en_numbers.VULGAR}]"
    rf"|[-−–+±~≈.('’‘（](?= ?[0-9.{CURRENCY_SIGNS}])|{zh_joints.TRIGGER})"
    rf"|(?P<symbol>{symbols.TRIGGER})"
)
_WORDS: Final = (*en_dates.MONTH_RULES, *en_times.WORD_RULES, *abbreviations.RULES, *roman.RULES)
_FIGURES: Final[dict[Language, tuple[Rule, ...]]] = {
    "en": (
        *en_joints.RULES,
        *science.RULES["en"],
        *en_dates.RULES,
        *en_times.RULES,
        *phones.RULES_EN,
        *en_measures.RULES,
        *en_names.RULES,
        *en_numbers.RULES,
        *symbols.RULES["en"],
    ),
    "zh": (
        *zh_names.RULES,
        *zh_joints.RULES,
        *science.RULES["zh"],
        *zh_dates.RULES,
        *phones.RULES_ZH,
        *zh_measures.RULES,
        *zh_numbers.RULES,
        *symbols.RULES["zh"],
    ),
}
_RULES: Final[dict[Language, dict[str, tuple[Rule, ...]]]] = {
    "en": {
        "word": (*en_measures.RULES[:3], *_WORDS, *abbreviations.RULES_EN),
        "figure": _FIGURES["en"],
        "symbol": symbols.RULES["en"],
    },
    "zh": {
        "word": (*zh_measures.RULES[:1], *abbreviations.RULES_ZH, *_WORDS),
        "figure": _FIGURES["zh"],
        "symbol": symbols.RULES["zh"],
    },
}
_MAX_ROUNDS: Final = 8
_REACH: Final = 256
"""How far a rule sees from where it is tried: no text makes the work more than linear."""
_TIGHT = re.compile(rf"[\s.,;:!?，。；：！？、{re.escape(CLOSERS)}]")


@dataclass(frozen=True, slots=True)
class Unspoken:
    """A sign that has no reading.

    Args:
        char: One character of the source.
        count: How often it was taken out.
    """

    char: str
    count: int


@dataclass(frozen=True, slots=True)
class Normalised:
    """Text to speak, and how it differs from the source.

    Args:
        text: The source with every change made.
        changes: In order, without overlap.
        unspoken: What was taken out unread, in order of first appearance.
    """

    text: str
    changes: tuple[Change, ...] = ()
    unspoken: tuple[Unspoken, ...] = ()


def normalise(text: str, language: Language | None = None) -> Normalised:
    """Put *text* into words; see the module docstring.

    Args:
        text: Any string; paragraphs are best given one by one.
        language: How figures and signs are read; None tells it from the text around them.
    """
    result = _round(text, language)
    for _ in range(_MAX_ROUNDS - 1):
        again = _round(result.text, language) if result.changes else None
        if again is None or not again.changes:
            break
        changes = merge(result.text, result.changes, again.changes)
        result = Normalised(again.text, changes, result.unspoken + again.unspoken)
    counts: Counter[str] = Counter()
    for sign in result.unspoken:
        counts[sign.char] += sign.count
    return replace(result, unspoken=tuple(Unspoken(char, n) for char, n in counts.items()))


def _round(text: str, language: Language | None) -> Normalised:
    """One pass over the text; what it leaves may meet in a way that another one reads."""
    seen = fold(text)
    if seen is text and _START.search(text) is None and not web.find(text):
        return Normalised(text)
    splice = _Splice(text)
    for reading in _readings(seen, teller(seen, language)):
        splice.add(reading)
    return splice.result()


def _readings(text: str, tell: Callable[[int], Language]) -> Iterator[Change]:
    """All readings in order; addresses first claim their place, then the rest is read."""
    start = 0
    for match in web.find(text):
        yield from _between(text, start, match.start(), tell)
        rule = web.rule(tell(match.start()))
        spoken = rule.read(match)
        assert spoken is not None
        yield Change(match.start(), match.end(), spoken, rule.kind)
        start = match.end()
    yield from _between(text, start, len(text), tell)


def _between(text: str, start: int, stop: int, tell: Callable[[int], Language]) -> Iterator[Change]:
    while match := _START.search(text, start, stop):
        at = match.start()
        reading = _read(text, at, _RULES[tell(at)][match.lastgroup or "symbol"])
        if reading is not None and reading.end <= stop:
            yield reading
            start = reading.end
        else:
            start = at + 1


def _read(text: str, at: int, rules: tuple[Rule, ...]) -> Change | None:
    """What the first rule that accepts the place makes of it, or that nothing can be said."""
    for rule in rules:
        match = rule.pattern.match(text, at, at + _REACH)
        if match is not None and (spoken := rule.read(match)) is not None:
            return Change(at, match.end(), spoken, rule.kind)
    if not symbols.unread(text[at]):
        return None
    end = at + 1
    while end < len(text) and (text[end] == text[at] or symbols.unspoken(text[end])):
        end += 1
    return Change(at, end, "", Kind.UNSPOKEN)


class _Splice:
    """Puts readings into the source, with the right spaces around them."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._done = 0
        self._out: list[str] = []
        self._last = ""
        self._changes: list[Change] = []
        self._unspoken: Counter[str] = Counter()

    def add(self, reading: Change) -> None:
        """Replace the next stretch; readings come in order."""
        start, end, spoken = reading.start, reading.end, reading.spoken
        self._copy(start)
        if reading.kind is Kind.UNSPOKEN:
            self._unspoken.update(self._source[start:end])
            start, end, spoken = self._without(start, end)
        else:
            start, end, spoken = self._fitted(start, end, spoken)
        self._out.append(spoken)
        self._last = spoken[-1:] or self._last
        self._done = end
        self._changes.append(Change(start, end, spoken, reading.kind))

    def _copy(self, stop: int) -> None:
        if stop > self._done:
            self._out.append(self._source[self._done : stop])
            self._last = self._source[stop - 1]
            self._done = stop

    def _take_back_space(self, start: int) -> int:
        """Drop the copied space in front of *start*, so that it belongs to the change."""
        self._out[-1] = self._out[-1][:-1]
        self._last = self._source[start - 2 : start - 1]
        return start - 1

    def _copied_space(self, start: int) -> bool:
        behind = self._changes[-1].end if self._changes else 0
        return start > behind and self._source[start - 1] == " "

    def _without(self, start: int, end: int) -> tuple[int, int, str]:
        """A change to nothing takes one of two spaces, or the one before punctuation."""
        following = self._source[end : end + 1]
        if following == " " and (not self._last or self._last in f" {OPENERS}"):
            return start, end + 1, ""
        if self._last.isalnum() and following.isalnum():
            return start, end, "" if is_han(self._last) and is_han(following) else " "
        if (not following or _TIGHT.match(following)) and self._copied_space(start):
            start = self._take_back_space(start)
        return start, end, ""

    def _fitted(self, start: int, end: int, spoken: str) -> tuple[int, int, str]:
        """Words are kept apart by a space, Chinese characters are not."""
        source = self._source
        left = source[max(0, start - 2) : start - 1] if self._copied_space(start) else ""
        if left and is_han(spoken[0]) and (is_han(left) or left in "，。、；：！？“”《》（）"):
            start = self._take_back_space(start)
        if is_han(spoken[-1]) and source[end : end + 1] == " ":
            end += is_han(source[end + 1 : end + 2] or " ") or source[end + 1 : end + 2] in "，。、"
        if self._last.isalnum() and spoken[0].isalnum() and not self._mixed(self._last, spoken[0]):
            spoken = f" {spoken}"
        following = source[end : end + 1]
        if following.isalpha() and spoken[-1].isalpha() and not self._mixed(spoken[-1], following):
            spoken += " "
        return start, end, spoken

    @staticmethod
    def _mixed(left: str, right: str) -> bool:
        """Whether two letters need no space between them."""
        return is_han(left) or is_han(right)

    def result(self) -> Normalised:
        """The text with all changes, or the source itself if there were none."""
        if not self._changes:
            return Normalised(self._source)
        self._copy(len(self._source))
        unspoken = tuple(Unspoken(char, count) for char, count in self._unspoken.items())
        return Normalised("".join(self._out), tuple(self._changes), unspoken)
