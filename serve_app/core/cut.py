"""Where one paragraph may be cut, and where it is.

**Sentences** are those of sentencex, asked per paragraph only, in the language of the paragraph.
A part without a letter or digit goes with its neighbour, and so does what follows a closing quote
and tells who spoke (``“真的吗？”我问。``, ``“Stop!” Bob said.``). Sentences keep the spaces behind
them, so that they join to the paragraph.

**Clauses** end behind ``, ; :`` before a space, behind ``，；、：``, dashes and spaced hyphens.

**Where a text is cut** (:func:`cut`), given a budget, a limit above it and a most above that, which
is there for long sentences alone; all costs are those of :mod:`serve_app.core.estimate`, and a part
is *tiny* if it is under half the budget and besides under 3 s or under five words:

1. Text within the budget is not cut.
2. At the end of a sentence with no tiny part on either side. Of the ends within the budget the
   nearest to equal parts, ``n = ceil(rest / budget)``; when n is over 4, of those that fill half of
   the budget the one with the lowest hash of the sentences around it, so that cuts fall into step
   again behind an edit. With none within the budget, the first one within the limit.
3. Text within the limit is not cut.
4. At the first end of a sentence beyond the limit and within the most that leaves no tiny part
   behind it; with none, at the first one of all. Text within the most that has no such end is not
   cut.
5. At the last end of a sentence within the limit, or behind the head, although that leaves a tiny
   part, if the next sentence is then within the most.
6. Within that sentence, which is itself over the most, and what is before it: at the end of a
   clause with no tiny part on either side, within the budget the nearest to equal parts of these
   sentences, else the first within the limit.
7. Between two words (in Chinese two signs), else between two letters; within the budget, nearest
   to equal parts of these sentences.

Every part has a letter or digit, so that there is something to speak in each.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import takewhile
from typing import Final, Literal

import sentencex

from serve_app.core.estimate import TICKS_PER_S, language, prefix_ticks
from serve_app.core.text import (
    CLOSERS,
    OPENERS,
    SPEECH_VERBS,
    is_syllabic,
    prefix_words,
    speakable,
)

TINY_TICKS: Final = 3 * TICKS_PER_S
TINY_WORDS: Final = 5
EQUAL_PARTS: Final = 4

_SPACE = re.compile(r"\s")
_CLOSE = re.escape(CLOSERS)
_CLAUSE = re.compile(
    rf"(?:(?<![,;:])[,;:]++[{_CLOSE}]*+(?=\s)|[，；、：]+[{_CLOSE}]*[—―]*|[—―]+|--+|(?<=\s)[-–](?=\s))\s*"
)
_SENTENCE = re.compile(rf"[.!?…][{_CLOSE}]*\s+|[。！？][{_CLOSE}]*\s*")
_TAG_ZH = re.compile(r"[^，。！？：；…]{0,11}[说說问問道答喊叫想笑骂]")
_NO_CUT_BEHIND: Final = frozenset(OPENERS + ".!?…")
_NO_CUT_BEFORE: Final = frozenset(CLOSERS + "，。！？；：、…—.!?,;:")
_TAG_WORDS: Final = 4
_CLAUSE_MARGIN: Final = 64
_WINDOW_CHARS: Final = 16_000


def sentence_ends(paragraph: str, tongue: Literal["en", "zh"] | None = None) -> tuple[int, ...]:
    """Offsets behind the sentences of one paragraph; the last one is its length.

    Args:
        paragraph: Text of one paragraph.
        tongue: Language; by default that of the paragraph.
    """
    ends: list[int] = []
    end = 0
    before = ""
    speaks = False
    for part in _parts(paragraph, tongue or language(paragraph)):
        part_speaks = speakable(part)
        if ends and not (speaks and part_speaks and _is_new(before, part)):
            ends.pop()
            part_speaks |= speaks
        end += len(part)
        ends.append(end)
        before, speaks = part, part_speaks
    return tuple(ends)


def _parts(paragraph: str, tongue: Literal["en", "zh"]) -> Iterator[str]:
    """What sentencex takes for sentences; joined they are *paragraph*."""
    # sentencex 1.0.32 panics at "A\u3000."; a space of one byte keeps the offsets.
    plain = _SPACE.sub(" ", paragraph)
    start = 0
    while start < len(plain):
        for part in sentencex.segment(tongue, plain[start : _window_end(plain, start)]):
            yield paragraph[start : start + len(part)]
            start += len(part)


def _window_end(text: str, start: int) -> int:
    """How far sentencex may look: its time grows with the square of some texts.

    An end of a sentence behind 16,000 characters, else a space before 32,000.
    """
    first, last = start + _WINDOW_CHARS, start + 2 * _WINDOW_CHARS
    if len(text) <= first:
        return len(text)
    mark = _SENTENCE.search(text, first, last)
    return mark.end() if mark else text.rfind(" ", first, last) + 1 or last


def _is_new(before: str, part: str) -> bool:
    """Whether *part* starts a sentence: not inside ``a.b``, not ``he said`` behind a quotation."""
    if before.endswith(".") and part[0].isalnum():
        return False
    if not before.rstrip().endswith(tuple(CLOSERS)):
        return True
    words = part.split(maxsplit=_TAG_WORDS)[:_TAG_WORDS]
    said = any(word.strip(".,;:!?").lower() in SPEECH_VERBS for word in words)
    return not (said or _TAG_ZH.match(part))


@dataclass(frozen=True, slots=True)
class Measured:
    """A paragraph with all that is needed to cut it.

    Args:
        text: The paragraph.
        ticks: Cost of the text before each offset, ``len(text) + 1`` values.
        words: Words that start before each offset, ``len(text) + 1`` values.
        ends: Offsets behind its sentences; the last one is ``len(text)``.
    """

    text: str
    ticks: tuple[int, ...]
    words: tuple[int, ...]
    ends: tuple[int, ...]


def measure(text: str) -> Measured:
    """Measure a paragraph that holds a letter or digit."""
    return Measured(text, prefix_ticks(text), prefix_words(text), sentence_ends(text))


@dataclass(frozen=True, slots=True)
class Room:
    """How much text may be taken.

    Args:
        budget: Ticks wanted at most.
        limit: Ticks at most where that keeps a sentence whole or avoids a tiny part.
        head: Ticks that are already taken before this text, its change of speaker included.
        head_words: Words that are already taken.
        most: Ticks at most where only that keeps a sentence whole; the limit by default.
    """

    budget: int
    limit: int
    head: int = 0
    head_words: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", max(self.most, self.limit))

    def is_tiny(self, ticks: int, words: int) -> bool:
        """Whether a part is too small to stand alone."""
        return 2 * ticks < self.budget and (ticks < TINY_TICKS or words < TINY_WORDS)


def cut(text: Measured, start: int, room: Room) -> tuple[int, bool] | None:
    """Where to cut the text from *start* on; see the module docstring for the rules.

    Returns:
        The offset behind the part to take and whether a sentence ends there, or None to take all.
        The offset is *start* if only the head of *room* is to be taken.
    """
    place = _place(text, start, room)
    if place is None:
        return None
    at = bisect_right(text.ends, place)
    return place, place == start or (at > 0 and text.ends[at - 1] == place)


def _place(text: Measured, start: int, room: Room) -> int | None:
    cost = partial(_cost, text, start, room)
    if cost(len(text.text)) <= room.budget:
        return None
    at_sentence = _cut_at_sentence(text, start, room)
    if at_sentence is not None or cost(len(text.text)) <= room.limit:
        return at_sentence
    later = text.ends[bisect_right(text.ends, start) :]
    short = list(takewhile(lambda end: cost(end) <= room.limit, later))
    long = list(takewhile(lambda end: cost(end) <= room.most, later[len(short) :]))
    if long:
        return _behind_sentence(text, long, room)
    unit = later[len(short)]
    lone = [start, *short][-1]
    if (lone > start or room.head_words) and text.ticks[unit] - text.ticks[lone] <= room.most:
        return lone
    at_clause = _cut_at_clause(text, start, unit, room)
    return _cut_at_word(text, start, unit, room) if at_clause is None else at_clause


def _cost(text: Measured, start: int, room: Room, end: int) -> int:
    return room.head + text.ticks[end] - text.ticks[start]


def _cut_at_sentence(text: Measured, start: int, room: Room) -> int | None:
    whole = len(text.text)
    cost = partial(_cost, text, start, room)
    later = text.ends[bisect_right(text.ends, start) : -1]
    within = takewhile(lambda end: cost(end) <= room.limit, later)
    ends = [end for end in within if not _leaves_tiny(text, start, end, whole, room)]
    fits = [end for end in ends if cost(end) <= room.budget]
    if not fits:
        return min(ends, default=None)
    full = [end for end in fits if 2 * cost(end) >= room.budget]
    if full and cost(whole) > EQUAL_PARTS * room.budget:
        return min(full, key=lambda end: (_sentence_hash(text, end), -end))
    return _most_equal(fits, cost, whole, room.budget)


def _behind_sentence(text: Measured, ends: list[int], room: Room) -> int | None:
    """Of ends of sentences beyond the limit the one to cut at; None to take all of the text."""
    whole = len(text.text)
    good = (end for end in ends if end == whole or not _rest_is_tiny(text, end, whole, room))
    end = next(good, ends[0])
    return None if end == whole else end


def _cut_at_clause(text: Measured, start: int, unit: int, room: Room) -> int | None:
    cost = partial(_cost, text, start, room)
    within = clause_ends(text.text, start, unit, _reach(text, start, room, room.limit))
    ends = [end for end in within if not _leaves_tiny(text, start, end, unit, room)]
    fits = [end for end in ends if cost(end) <= room.budget]
    if not fits:
        return min(ends, default=None)
    return _most_equal(fits, cost, unit, room.budget)


def _cut_at_word(text: Measured, start: int, unit: int, room: Room) -> int | None:
    cost = partial(_cost, text, start, room)
    for offsets in (word_ends, _letter_ends):
        if fits := list(offsets(text.text, start, unit, _reach(text, start, room, room.budget))):
            return _most_equal(fits, cost, unit, room.budget)
    return None


def _reach(text: Measured, start: int, room: Room, most: int) -> int:
    """The last offset up to which the text from *start* costs no more than *most*."""
    return bisect_right(text.ticks, most - room.head + text.ticks[start]) - 1


def _leaves_tiny(text: Measured, start: int, end: int, whole: int, room: Room) -> bool:
    """Whether a cut at *end* leaves a part of ``[start, whole)`` that is too small."""
    front_words = room.head_words + text.words[end] - text.words[start]
    front = _cost(text, start, room, end)
    return room.is_tiny(front, front_words) or _rest_is_tiny(text, end, whole, room)


def _rest_is_tiny(text: Measured, end: int, whole: int, room: Room) -> bool:
    return room.is_tiny(text.ticks[whole] - text.ticks[end], text.words[whole] - text.words[end])


def _most_equal(ends: list[int], cost: Callable[[int], int], whole: int, budget: int) -> int:
    """Of *ends* the one nearest to a part of ``n = ceil(whole / budget)`` equal ones."""
    total = cost(whole)
    parts = -(-total // budget)
    return min(ends, key=lambda end: (abs(cost(end) * parts - total), end))


def _sentence_hash(text: Measured, end: int) -> bytes:
    at = bisect_right(text.ends, end)
    start = text.ends[at - 2] if at > 1 else 0
    return cut_hash(text.text[start:end], text.text[end : text.ends[at]])


def cut_hash(left: str, right: str) -> bytes:
    """A number for the cut between two texts that depends on nothing else."""
    return blake2b(f"{left.strip()}\n{right.strip()}".encode(), digest_size=8).digest()


def _spoken_span(text: str, start: int, end: int, reach: int) -> range:
    """Offsets in ``(start, end)`` up to *reach* with a letter or digit on either side."""
    first = next((at for at in range(start, end) if text[at].isalnum()), end)
    last = next((at for at in range(end - 1, first, -1) if text[at].isalnum()), first)
    return range(first + 1, min(last, reach) + 1)


def clause_ends(text: str, start: int, end: int, reach: int) -> Iterator[int]:
    """Ends of the clauses inside ``text[start:end]`` up to *reach*, with speech on either side."""
    span = _spoken_span(text, start, end, reach)
    found = _CLAUSE.finditer(text, start, min(end, reach + _CLAUSE_MARGIN))
    return (match.end() for match in found if match.end() in span)


def word_ends(text: str, start: int, end: int, reach: int) -> Iterator[int]:
    """Ends of the words inside ``text[start:end]`` up to *reach*, with speech on either side."""
    for offset in _spoken_span(text, start, end, reach):
        left, right = text[offset - 1], text[offset]
        if left.isspace():
            if not right.isspace():
                yield offset
        elif (is_syllabic(left) or is_syllabic(right)) and _may_part(left, right):
            yield offset


def _may_part(left: str, right: str) -> bool:
    """Whether a line of Chinese may be broken between two characters."""
    return not (
        left in _NO_CUT_BEHIND
        or right in _NO_CUT_BEFORE
        or right.isspace()
        or unicodedata.category(right)[0] == "M"
    )


def _letter_ends(text: str, start: int, end: int, reach: int) -> Iterator[int]:
    # Behind a full stop the cut would make an end of a sentence, which costs more.
    for offset in _spoken_span(text, start, end, reach):
        if text[offset - 1] != "." and unicodedata.category(text[offset])[0] != "M":
            yield offset
