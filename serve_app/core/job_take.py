"""What is known of a kept take without its audio, and where it lies in the whole.

The place of a segment in the finished signal is arithmetic on what is kept of each part: how much
silence stands at its ends, and how long it is. So captions and the time range of a doubtful
segment need no audio, and a script of ten hours has its places at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from serve_app.core.audio import duration_s, samples_of
from serve_app.core.letter_clock import Anchor, unpack_anchors
from serve_app.core.segment import Boundary
from serve_app.core.stitch import pause_s as pause_of


@dataclass(frozen=True, slots=True)
class WordCheck:
    """What a recogniser heard in a part.

    Args:
        by: Revision of the recogniser.
        words: Words of the text.
        heard: How many of them it heard.
        anchors: Where, packed (:func:`serve_app.core.letter_clock.pack_anchors`): letters from the
            part's first, times from the first sample as spoken.
    """

    by: str
    words: int
    heard: int
    anchors: str = ""


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One stretch that was spoken in one go: a segment, or a piece of one after a split.

    Args:
        before: What lies before it.
        pause_s: Explicit pause before it, or None.
        samples: Length as spoken.
        source_start: First sample that is kept.
        kept: Samples kept; 0 if nothing could be heard.
        lead: Silence at the beginning of what is kept, samples.
        tail: Silence at its end, samples.
        findings: What the quality check says against it, in words.
        lost_words: Whether words are missing.
        letters: Letters and digits of its text; 0 in takes of an older version.
        check: What a recogniser heard; None if none has listened.
    """

    before: Boundary
    pause_s: float | None
    samples: int
    source_start: int
    kept: int
    lead: int
    tail: int
    findings: tuple[str, ...] = ()
    lost_words: bool = False
    letters: int = 0
    check: WordCheck | None = None


@dataclass(frozen=True, slots=True)
class TakeInfo:
    """A kept take of one segment.

    Args:
        key: Content key it was spoken for.
        revision: Of the engine that spoke it.
        parts: At least one.
        wall_s: Card seconds of the takes that count.
        bad_takes: Takes that failed the check before.
        faults: Takes that a fault ended before.
        cached: It came from the cache.
    """

    key: str
    revision: str
    parts: tuple[PartInfo, ...]
    wall_s: float = 0.0
    bad_takes: int = 0
    faults: int = 0
    cached: bool = False

    @property
    def audio_s(self) -> float:
        """Seconds kept, without the pauses between."""
        return duration_s(sum(part.kept for part in self.parts))

    @property
    def findings(self) -> tuple[str, ...]:
        """All that speaks against it."""
        return tuple(text for part in self.parts for text in part.findings)

    @property
    def doubtful(self) -> bool:
        """The check complains, and no better take was found."""
        return any(part.findings for part in self.parts)

    @property
    def lost_words(self) -> bool:
        """Words are missing."""
        return any(part.lost_words for part in self.parts)

    @property
    def word_recall(self) -> float | None:
        """Share of its words that a recogniser heard; None if none listened to all of it."""
        checks = [part.check for part in self.parts if part.check is not None]
        if len(checks) < len(self.parts):
            return None
        words = sum(check.words for check in checks)
        return sum(check.heard for check in checks) / words if words else 1.0

    def placed(self, before: Boundary, pause_s: float | None) -> TakeInfo:
        """The same audio where a script has it: its first part takes what lies before it there."""
        first, *rest = self.parts
        return replace(self, parts=(replace(first, before=before, pause_s=pause_s), *rest))


@dataclass(frozen=True, slots=True)
class Span:
    """Where a segment lies in the finished signal, samples; *end* is one past the last."""

    start: int
    end: int


class _Row:
    """Parts put one behind another, as the stitcher puts them."""

    def __init__(self) -> None:
        self.end = 0
        self._tail = self._owed = 0

    def put(self, part: PartInfo) -> int | None:
        """Put the next part; its first sample, or None if it has no sound."""
        wished = pause_of(part.before) if part.pause_s is None else part.pause_s
        pause = max(samples_of(wished), self._owed)
        if not part.kept:
            self._owed = pause
            return None
        start = self.end + max(0, pause - self._tail - part.lead)
        self.end = start + part.kept
        self._tail, self._owed = part.tail, 0
        return start


def spans(takes: Iterable[TakeInfo]) -> Iterator[Span]:
    """Where each take lies, in order, as the stitcher places it; one without sound has no length.

    Args:
        takes: From the first segment on, without a gap.
    """
    row = _Row()
    for take in takes:
        starts = [start for part in take.parts if (start := row.put(part)) is not None]
        yield Span(starts[0] if starts else row.end, row.end)


def anchors_of(parts: Iterable[PartInfo], speed: float = 1.0) -> tuple[Anchor, ...]:
    """Known times inside a segment, from its start in the finished signal, in order.

    They are where its later parts begin, and where a recogniser heard its words.

    Args:
        parts: Of its take.
        speed: Of the finished signal.
    """
    found: list[Anchor] = []
    row, letters = _Row(), 0
    first: int | None = None
    for part in parts:
        start = row.put(part)
        if not part.letters:
            return ()
        if start is not None:
            first = start if first is None else first
            if letters:
                found.append(Anchor(letters, duration_s(start - first)))
            found += _in_signal(part, letters, start - first)
        letters += part.letters
    return tuple(Anchor(anchor.letters, anchor.at_s / speed) for anchor in found)


def _in_signal(part: PartInfo, letters: int, start: int) -> Iterator[Anchor]:
    """What was heard in a part whose first kept sample is *start*."""
    moved_s = duration_s(start - part.source_start)
    for anchor in unpack_anchors(part.check.anchors if part.check else ""):
        yield Anchor(letters + anchor.letters, max(0.0, anchor.at_s + moved_s))
