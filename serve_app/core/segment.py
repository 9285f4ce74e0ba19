"""Segments: what one card speaks in one go, and how one is split.

**Kinds of cuts**, best first: a turn, a paragraph, a sentence, a clause. A cut inside a clause
(between two words, in Chinese between two signs, in an endless word between two letters) is the
last resort and counts as a clause. :mod:`serve_app.core.cut` says where paragraphs are cut. What
the utterances say is the text without the spaces at the cuts.

**Halving** (:func:`halve`) is for a segment that stayed bad: at the end of the utterance or
sentence nearest to the middle by estimate, at the first of two equally near; if it is one sentence,
at the nearest end of a clause, else of a word. A single word is not split.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, Literal

from serve_app.core.cut import Room, clause_ends, cut, measure, sentence_ends, word_ends
from serve_app.core.estimate import TICKS_PER_S, TURN_TICKS, speech_ticks

MIN_BUDGET_S: Final = 1.0


class Boundary(StrEnum):
    """What lies before a piece of text."""

    START = "start"
    TURN = "turn"
    PARAGRAPH = "paragraph"
    SENTENCE = "sentence"
    CLAUSE = "clause"


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of one speaker's paragraph.

    Args:
        speaker: Name in the script.
        text: Clean, in one line, without spaces at its ends; holds a letter or digit.
        before: What lies before it in the script.
    """

    speaker: str
    text: str
    before: Boundary


@dataclass(frozen=True, slots=True)
class Segment:
    """What one card speaks in one go.

    Args:
        index: Position in the script, from 0; the halves of a segment share it.
        utterances: In order; at least one.
        before: What lies before the first one.
        pause_s: Explicit pause before it, or None.
        est_s: Estimated seconds of speech, without pauses.
    """

    index: int
    utterances: tuple[Utterance, ...]
    before: Boundary
    pause_s: float | None
    est_s: float


def utterance_ticks(utterance: Utterance) -> int:
    """Estimated cost of one utterance, with the change of speaker before it."""
    turn = utterance.before in {Boundary.START, Boundary.TURN}
    return speech_ticks(utterance.text) + turn * TURN_TICKS


def make_segment(index: int, utterances: tuple[Utterance, ...], pause_s: float | None) -> Segment:
    """A segment of *utterances* with its estimate."""
    est_s = sum(map(utterance_ticks, utterances)) / TICKS_PER_S
    return Segment(index, utterances, utterances[0].before, pause_s, est_s)


def sentences(paragraph: str, tongue: Literal["en", "zh"] | None = None) -> list[str]:
    """The sentences of one paragraph, each with the spaces behind it; joined they are all of it."""
    ends = sentence_ends(paragraph, tongue)
    return [paragraph[start:end] for start, end in pairwise((0, *ends))]


def pieces(text: str, budget_s: float) -> tuple[tuple[str, Boundary], ...]:
    """Cut one paragraph into pieces within a budget.

    Args:
        text: Clean text of one paragraph.
        budget_s: Estimated seconds that no piece exceeds; at least 1.
    Returns:
        Pieces with what lies before each (START for the first one); joined they are *text*.
    Raises:
        ValueError: *budget_s* is below 1.
    """
    if budget_s < MIN_BUDGET_S:
        raise ValueError(f"A budget of {budget_s:g} s is below {MIN_BUDGET_S:g} s.")
    if not text:
        return ()
    budget = int(budget_s * TICKS_PER_S)
    found: list[tuple[str, Boundary]] = []
    text_measured = measure(text)
    start, before = 0, Boundary.START
    while place := cut(text_measured, start, Room(budget, budget)):
        found.append((text[start : place[0]], before))
        start, before = place[0], Boundary.SENTENCE if place[1] else Boundary.CLAUSE
    return (*found, (text[start:], before))


def halve(segment: Segment) -> tuple[Segment, Segment] | None:
    """Split a segment that could not be spoken; see the module docstring for the rule.

    Returns:
        Both halves, with the index of *segment*; the first has its pause. None if it is one word.
    """
    texts = [measure(utterance.text) for utterance in segment.utterances]
    costs = [utterance_ticks(utterance) for utterance in segment.utterances]
    done = 0
    places: list[tuple[int, int, int]] = []
    for at, (text, ticks) in enumerate(zip(texts, costs, strict=True)):
        lead = done + ticks - text.ticks[-1]
        places += [(lead + text.ticks[end], at, end) for end in text.ends]
        done += ticks
    places.pop()
    kind = Boundary.SENTENCE
    if not places:
        kind = Boundary.CLAUSE
        lead = costs[0] - texts[0].ticks[-1]
        places = [(lead + texts[0].ticks[end], 0, end) for end in _inner_ends(texts[0].text)]
    if not places:
        return None
    _, at, end = min(places, key=lambda place: abs(2 * place[0] - sum(costs)))
    return _split(segment, at, end, kind)


def _inner_ends(text: str) -> list[int]:
    """Ends of clauses, else of words, with something to speak on either side."""
    whole = len(text)
    return list(clause_ends(text, 0, whole, whole)) or list(word_ends(text, 0, whole, whole))


def _split(segment: Segment, at: int, end: int, kind: Boundary) -> tuple[Segment, Segment]:
    cut_one = segment.utterances[at]
    left, right = cut_one.text[:end].strip(), cut_one.text[end:].strip()
    first = (*segment.utterances[:at], Utterance(cut_one.speaker, left, cut_one.before))
    rest = segment.utterances[at + 1 :]
    if right:
        rest = (Utterance(cut_one.speaker, right, kind), *rest)
    return (
        make_segment(segment.index, first, segment.pause_s),
        make_segment(segment.index, rest, None),
    )
