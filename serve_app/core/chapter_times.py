"""Where chapters begin: in a script, and in its audio.

A job keeps the marks (:func:`mark`): letters and digits before each chapter. They hold for the
segments of the plan whatever becomes of the audio. A segment spoken again in other words still
counts with the words of the plan.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from serve_app.core.chapters import Heading
from serve_app.core.label import name_key, read_label, without_aside
from serve_app.core.letter_clock import LetterClock, count_letters
from serve_app.core.script import NARRATOR, Script
from serve_app.core.segment import Segment
from serve_app.core.text import clean

_PAUSES = re.compile(r"(\[ ?pause[^\[\]]{0,40}\])", re.IGNORECASE)
_NARRATOR_KEY: Final = name_key(NARRATOR)
_MAX_WAYS: Final = 64


@dataclass(frozen=True, slots=True)
class Chapter:
    """Where a chapter begins in a script.

    Args:
        title: As a list of chapters shows it.
        level: 1 for the outermost kind.
        turn: Index of the turn.
        paragraph: Index of the paragraph in it.
        offset: Characters of the paragraph before it; nearly always 0.
    """

    title: str
    level: int
    turn: int
    paragraph: int
    offset: int


@dataclass(frozen=True, slots=True)
class ChapterMark:
    """Where a chapter begins among the words of a plan.

    Args:
        title: As a list of chapters shows it.
        letters: Letters and digits of the script before it.
    """

    title: str
    letters: int


@dataclass(frozen=True, slots=True)
class ChapterStart:
    """Where a chapter begins in the audio.

    Args:
        title: As a list of chapters shows it.
        start_s: Seconds from the start.
        estimated: It begins inside a segment.
    """

    title: str
    start_s: float
    estimated: bool


def locate(headings: Iterable[Heading], text: str, script: Script) -> tuple[Chapter, ...]:
    """Find headings in the script that a text became.

    Args:
        headings: As lines of the text, in order.
        text: What the script was read from.
        script: Before its figures are put into words.
    Returns:
        Those that something is spoken behind.
    Raises:
        ValueError: *script* was not read from *text*.
    """
    spoken = [
        (turn, at, paragraph.text)
        for turn, said in enumerate(script.turns)
        for at, paragraph in enumerate(said.paragraphs)
    ]
    stream = "".join(char for *_, said in spoken for char in said if char.isalnum())
    ends = tuple(accumulate(count_letters(said) for *_, said in spoken))
    names = frozenset(map(name_key, script.speakers))
    before = _letters_before_lines(clean(text).split("\n"), stream, names)
    chapters = []
    for heading in headings:
        letters = before[heading.line]
        if letters >= len(stream):
            continue
        index = bisect_right(ends, letters)
        turn, paragraph, said = spoken[index]
        inside = letters - (ends[index - 1] if index else 0)
        offset = [at for at, char in enumerate(said) if char.isalnum()][inside] if inside else 0
        chapters.append(Chapter(heading.title, heading.level, turn, paragraph, offset))
    return tuple(chapters)


def mark(chapters: Iterable[Chapter], script: Script) -> tuple[ChapterMark, ...]:
    """Chapters as the segments of a plan see them.

    Args:
        chapters: In order.
        script: That is planned: the same turns and paragraphs, perhaps with figures in words.
    """
    sizes = {
        (turn, at): count_letters(paragraph.text)
        for turn, said in enumerate(script.turns)
        for at, paragraph in enumerate(said.paragraphs)
    }
    before = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
    return tuple(
        ChapterMark(
            chapter.title,
            before[chapter.turn, chapter.paragraph]
            + count_letters(
                script.turns[chapter.turn].paragraphs[chapter.paragraph].text[: chapter.offset]
            ),
        )
        for chapter in chapters
    )


def chapter_starts(
    marks: Iterable[ChapterMark],
    segments: Sequence[Segment],
    spans_s: Sequence[tuple[float, float] | None],
) -> tuple[ChapterStart, ...]:
    """Where chapters begin in the audio.

    Args:
        marks: In order.
        segments: All of the plan, with its words.
        spans_s: Start and end of each, seconds; None while that can't be told.
    Returns:
        Those whose place is known. Of several that begin together the first names all.
    Raises:
        ValueError: There are not as many spans as segments.
    """
    if len(segments) != len(spans_s):
        raise ValueError(f"{len(segments)} segments have {len(spans_s)} spans")
    ends = tuple(
        accumulate(sum(count_letters(said.text) for said in item.utterances) for item in segments)
    )
    starts: list[ChapterStart] = []
    last = -1
    for found in marks:
        index = bisect_right(ends, found.letters)
        span = spans_s[index] if index < len(segments) else None
        if span is None or found.letters == last:
            continue
        last = found.letters
        inside = found.letters - (ends[index - 1] if index else 0)
        clock = LetterClock(segments[index].utterances, *span)
        (start_s,) = clock.begins([inside])
        starts.append(ChapterStart(found.title, start_s, inside > 0))
    return tuple(starts)


def _letters_before_lines(lines: Sequence[str], stream: str, names: frozenset[str]) -> list[int]:
    """Letters of a script's words before each line of its text.

    Labels of the script's speakers are not among the words, nor are pauses. Where it is open what
    the reader of scripts took for one, the words themselves tell: a line is read in every way that
    fits them, and of these ways only those count that reach the end.
    """
    steps: list[dict[int, set[int]]] = []
    ways = {0}
    for line in lines:
        parts = [
            ("".join(filter(str.isalnum, part)), optional) for part, optional in _parts(line, names)
        ]
        step = {at: _reached(at, parts, stream) for at in ways}
        ways = set(sorted(set().union(*step.values()))[-_MAX_WAYS:])
        if not ways:
            raise ValueError(f"the script was not read from this text; see the line {line[:80]!r}")
        steps.append(step)
    before = []
    ways = {len(stream)}
    for step in reversed(steps):
        ways = {at for at, reached in step.items() if not ways.isdisjoint(reached)}
        if not ways:
            raise ValueError("the script was not read from this text; it has more words")
        before.append(min(ways))
    return before[::-1]


def _reached(at: int, parts: Sequence[tuple[str, bool]], stream: str) -> set[int]:
    """Where reading a line from *at* can end."""
    ways = {at}
    for letters, optional in parts:
        fits = {way + len(letters) for way in ways if stream.startswith(letters, way)}
        if optional and len(ways) < _MAX_WAYS:
            fits |= ways
        ways = fits or (ways if optional else fits)
    return ways


def _parts(line: str, names: frozenset[str]) -> list[tuple[str, bool]]:
    """The parts of a line that may be words, and of each whether it may be none."""
    parts: list[tuple[str, bool]] = []
    begun = False
    for at, part in enumerate(_PAUSES.split(line)):
        pause = at % 2 == 1
        label = None if begun or pause else read_label(part.strip())
        label = label and without_aside(label, names)
        if label is not None and label.key in names:
            # Behind what may be no pause, and for the narrator, who needs none, it is open.
            if at or label.key == _NARRATOR_KEY:
                parts.append((part.strip().removesuffix(label.rest), True))
            part = label.rest  # noqa: PLW2901 - the rest of it
            begun = True
        parts.append((part, pause))
        begun = begun or (not pause and bool(part.strip()))
    return parts
