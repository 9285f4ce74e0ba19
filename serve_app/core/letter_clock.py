"""When each letter of a segment is spoken.

A place in a text is counted in letters and digits: cuts take spaces away, but never those.

The audio of a segment is known at its two ends. Between them time runs as
:mod:`serve_app.core.estimate` has it, with the silence that the script puts between utterances.
Where a recogniser has heard words (anchors), time runs so from one to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serve_app.core.estimate import prefix_ticks
from serve_app.core.segment import Utterance
from serve_app.core.stitch import pause_s

_PACKED: Final = re.compile(r"(\d{1,9}):(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in a segment whose time is known.

    Args:
        letters: Letters and digits of the segment before it.
        at_s: When the next one begins, seconds from the segment's start.
    """

    letters: int
    at_s: float


def pack_anchors(anchors: Iterable[Anchor]) -> str:
    """Anchors as one string, ``letters:milliseconds`` each; those before the start are left out.

    A word takes ten bytes so, and a hundred as an object: a book has 100,000 words.
    """
    return " ".join(
        f"{anchor.letters}:{round(anchor.at_s * 1000)}" for anchor in anchors if anchor.at_s >= 0
    )


def unpack_anchors(packed: str) -> tuple[Anchor, ...]:
    """The anchors of :func:`pack_anchors`, to the millisecond; what is none of them is left out."""
    return tuple(
        Anchor(int(letters), int(at_ms) / 1000) for letters, at_ms in _PACKED.findall(packed)
    )


def count_letters(text: str) -> int:
    """Letters and digits of *text*."""
    return sum(map(str.isalnum, text))


class LetterClock:
    """Times of one segment.

    Args:
        utterances: What it says; holds a letter or digit.
        start_s: When it begins, seconds.
        end_s: When it ends; not before its start.
        anchors: Known times inside it; those out of order are ignored.

    Raises:
        ValueError: It says nothing, or ends before it starts.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        start_s: float,
        end_s: float,
        anchors: Sequence[Anchor] = (),
    ) -> None:
        if end_s < start_s:
            raise ValueError(f"a segment that starts at {start_s} s can't end at {end_s} s")
        begins, stops = _model(utterances, end_s - start_s)
        self.letters = len(begins)
        if not self.letters:
            raise ValueError("a segment without a letter or digit has no times")
        known = _in_order(anchors, self.letters, end_s - start_s)
        self._known = frozenset(anchor.letters for anchor in known)
        xs = [0.0, *(float(begins[anchor.letters]) for anchor in known), float(stops[-1])]
        ys = [start_s, *(start_s + anchor.at_s for anchor in known), end_s]
        self._begins = np.append(np.interp(begins, xs, ys), end_s)
        self._begins[0] = start_s
        self._stops = np.append(start_s, np.interp(stops, xs, ys))
        self._stops[-1] = end_s

    def begins(self, places: Sequence[int]) -> list[float]:
        """When the letters behind *places* begin, seconds; that behind the last is the end."""
        return [float(time) for time in self._begins[list(places)]]

    def ends(self, places: Sequence[int]) -> list[float]:
        """When the letters before *places* end, seconds; that before the first is the start."""
        return [float(time) for time in self._stops[list(places)]]

    def is_exact(self, letters: int) -> bool:
        """Whether this place is an end of the segment."""
        return letters in {0, self.letters}

    def is_known(self, letters: int) -> bool:
        """Whether the time at this place is more than an estimate."""
        return self.is_exact(letters) or letters in self._known


def _model(
    utterances: Sequence[Utterance], duration_s: float
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """Begin and end of each letter, seconds from the start, in order and within the duration."""
    begins: list[int] = []
    stops: list[int] = []
    owner: list[int] = []
    silences: list[float] = []
    done = 0
    for number, utterance in enumerate(utterances):
        ticks = prefix_ticks(utterance.text)
        places = [at for at, char in enumerate(utterance.text) if char.isalnum()]
        begins += (done + ticks[at] for at in places)
        stops += (done + ticks[at + 1] for at in places)
        owner += [number] * len(places)
        silences.append(pause_s(utterance.before) if number else 0.0)
        done += ticks[-1]
    silent = np.cumsum(silences)
    if len(silent) and silent[-1] > duration_s / 2:
        silent *= duration_s / 2 / silent[-1]
    rate = (duration_s - float(silent[-1])) / done if done else 0.0
    paused = silent[np.array(owner, dtype=np.intp)] if len(silent) else silent
    return np.array(begins, dtype=np.float64) * rate + paused, np.array(stops) * rate + paused


def _in_order(anchors: Sequence[Anchor], letters: int, duration_s: float) -> list[Anchor]:
    kept: list[Anchor] = []
    last = Anchor(0, 0.0)
    for anchor in anchors:
        if last.letters < anchor.letters < letters and last.at_s < anchor.at_s < duration_s:
            kept.append(anchor)
            last = anchor
    return kept
