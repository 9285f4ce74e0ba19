"""Captions: what is said when, in pieces that can be read along.

**Pieces.** Each utterance is cut for itself, so that a caption has one speaker: at ends of
sentences, else of clauses, else between words (in Chinese between two signs), into pieces of at
most two lines, of 42 columns or 20 Chinese signs each, and at most 7 s. Of all cuts the cheapest
wins: few pieces, good ends, even lengths, none under a second. A word longer than a line stands
alone. Every word is in exactly one caption.

**Times** are whole milliseconds, in order and without overlap. They are exact where a segment
begins and ends. Inside one they are estimates (:mod:`serve_app.core.letter_clock`), marked as such;
where a recogniser has heard the words they are aligned to these instead, and marked so. A caption
under a second lasts on into the silence behind it.

Lengths follow what subtitling guides agree on: two lines of 42 characters, one to seven seconds.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Final

from serve_app.core.cut import clause_ends, sentence_ends, word_ends
from serve_app.core.estimate import language
from serve_app.core.letter_clock import Anchor, LetterClock, count_letters
from serve_app.core.segment import Utterance
from serve_app.core.text import join_lines

LINE_COLUMNS: Final = 42
LINE_COLUMNS_ZH: Final = 40
"""A Chinese sign has two columns."""

MAX_S: Final = 7.0
MIN_S: Final = 1.0
_NAME_COLUMNS: Final = 20
_CLAUSE: Final = 0.6
_WORD: Final = 2.0
_SHORT: Final = 1.5
_ENDLESS_WORD: Final = 8.0
_WRAP_COLUMNS: Final = 8


@dataclass(frozen=True, slots=True)
class TimedSegment:
    """A segment that has been spoken.

    Args:
        number: From 0.
        utterances: What it says.
        start_s: When it begins, seconds.
        end_s: When it ends; a segment without audio ends where it starts and has no captions.
        anchors: Times inside it that a recogniser knows.
    """

    number: int
    utterances: tuple[Utterance, ...]
    start_s: float
    end_s: float
    anchors: tuple[Anchor, ...] = ()


@dataclass(frozen=True, slots=True)
class Caption:
    """What is shown at once.

    Args:
        start_ms: First millisecond.
        end_ms: One past the last; later than the start, not later than the next one's.
        speaker: Who says it.
        named: The speaker is another one than before.
        lines: One or two.
        estimated: Start or end is an estimate.
        segment: Number of its segment.
        aligned: Neither is an estimate, and a recogniser has told one of them or both.
    """

    start_ms: int
    end_ms: int
    speaker: str
    named: bool
    lines: tuple[str, ...]
    estimated: bool
    segment: int
    aligned: bool = False

    @property
    def text(self) -> str:
        """In one line."""
        return join_lines(self.lines)


def captions(segments: Iterable[TimedSegment]) -> Iterator[Caption]:
    """The captions of segments in the order of their times; costs time, holds one segment.

    Raises:
        ValueError: A segment ends before it starts, or says nothing.
    """
    last: Caption | None = None
    speaker = ""
    for segment in segments:
        if segment.end_s == segment.start_s:
            continue
        for caption in _of_segment(segment, speaker):
            speaker = caption.speaker
            if last is not None:
                start_ms = max(caption.start_ms, last.end_ms)
                yield _lasting(last, start_ms)
                caption = replace(  # noqa: PLW2901 - the same caption, in order
                    caption, start_ms=start_ms, end_ms=max(caption.end_ms, start_ms + 1)
                )
            last = caption
    if last is not None:
        yield last


def _lasting(caption: Caption, next_ms: int) -> Caption:
    """A short caption lasts on while nothing else is said."""
    shortest_ms = caption.start_ms + round(MIN_S * 1000)
    return replace(caption, end_ms=max(caption.end_ms, min(shortest_ms, next_ms)))


def _of_segment(segment: TimedSegment, speaker: str) -> Iterator[Caption]:
    clock = LetterClock(segment.utterances, segment.start_s, segment.end_s, segment.anchors)
    done = 0
    for said in segment.utterances:
        named = said.speaker != speaker
        speaker = said.speaker
        text = _Text(said.text, clock, done, len(said.speaker) + 2 if named else 0)
        for at, to in text.pieces():
            start_s, end_s = text.span(at, to)
            start_ms = round(start_s * 1000)
            end_ms = round(min(end_s, start_s + MAX_S) * 1000)
            ends = (text.letters(at), text.letters(to))
            known = all(map(clock.is_known, ends))
            yield Caption(
                start_ms,
                max(end_ms, start_ms + 1),
                said.speaker,
                named and at == 0,
                text.lines(at, to),
                estimated=not known,
                segment=segment.number,
                aligned=known and not all(map(clock.is_exact, ends)),
            )
        done += count_letters(said.text)


class _Text:
    """One utterance and the ways to cut it.

    Args:
        text: What is said.
        clock: Of its segment.
        done: Letters of the segment before it.
        name_columns: Columns of the first line that a name needs.
    """

    def __init__(self, text: str, clock: LetterClock, done: int, name_columns: int) -> None:
        size = len(text)
        clauses = set(clause_ends(text, 0, size, size))
        sentences = set(sentence_ends(text))
        self._text = text
        self._places = places = [
            0,
            *sorted({*word_ends(text, 0, size, size), *clauses, *sentences}),
        ]
        self._costs = [
            0.0 if place in sentences else _CLAUSE if place in clauses else _WORD
            for place in places
        ]
        letters = (0, *accumulate(map(str.isalnum, text)))
        widths = (0, *accumulate(map(_width, text)))
        self._letters = [done + letters[place] for place in places]
        self._left = [widths[place] for place in places]
        self._right = [widths[len(text[:place].rstrip())] for place in places]
        self._begin_s, self._end_s = clock.begins(self._letters), clock.ends(self._letters)
        self._columns = LINE_COLUMNS_ZH if language(text) == "zh" else LINE_COLUMNS
        self._name_columns = min(name_columns, _NAME_COLUMNS)

    def pieces(self) -> list[tuple[int, int]]:
        """The places at both ends of each piece, by the cheapest way to the end."""
        size = len(self._places)
        best = [0.0] + [float("inf")] * (size - 1)
        came = [0] * size
        for at in range(size - 1):
            for to in range(at + 1, size):
                if self._letters[to] == self._letters[at]:
                    continue
                cost = self._cost(at, to)
                if cost is None and self._letters[to - 1] > self._letters[at]:
                    break
                total = best[at] + (_ENDLESS_WORD if cost is None else cost)
                if total < best[to]:
                    best[to], came[to] = total, at
        cuts = [size - 1]
        while cuts[-1]:
            cuts.append(came[cuts[-1]])
        return list(pairwise(reversed(cuts)))

    def span(self, at: int, to: int) -> tuple[float, float]:
        """When a piece is said, seconds."""
        return self._begin_s[at], self._end_s[to]

    def letters(self, at: int) -> int:
        """Letters of the segment before a place."""
        return self._letters[at]

    def lines(self, at: int, to: int) -> tuple[str, ...]:
        """A piece as one or two lines, as even as can be."""
        room = self._room(at)
        fits = [
            place
            for place in range(at + 1, to)
            if self._columns_of(at, place) <= room and self._columns_of(place, to) <= self._columns
        ]
        cuts = [at, to]
        if self._columns_of(at, to) > room and fits:
            cuts.insert(1, min(fits, key=lambda place: self._unevenness(at, place, to)))
        offsets = (self._places[cut] for cut in cuts)
        return tuple(self._text[start:end].strip() for start, end in pairwise(offsets))

    def _cost(self, at: int, to: int) -> float | None:
        """What a piece costs; None if it is too long for one."""
        columns, room = self._columns_of(at, to), self._room(at)
        if columns > room:
            wrap = bisect_right(self._right, self._left[at] + room, at + 1, to) - 1
            if wrap <= at or self._columns_of(wrap, to) > self._columns:
                return None
        lasts_s = self._end_s[to] - self._begin_s[at]
        if lasts_s > MAX_S:
            return None
        fill = columns / (2 * self._columns)
        return 1 + self._costs[to] + fill * fill / 2 + _SHORT * max(0.0, MIN_S - lasts_s)

    def _unevenness(self, at: int, place: int, to: int) -> float:
        uneven = abs(self._columns_of(at, place) - self._columns_of(place, to))
        return uneven + _WRAP_COLUMNS * self._costs[place]

    def _room(self, at: int) -> int:
        return self._columns - (0 if at else self._name_columns)

    def _columns_of(self, at: int, to: int) -> int:
        return self._right[to] - self._left[at]


def _width(char: str) -> int:
    if unicodedata.category(char)[0] == "M":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
