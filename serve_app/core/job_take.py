"""What is known of a kept take without its audio, and where it lies in the whole.

The place of a segment in the finished signal is arithmetic on what is kept of each part: how much
silence stands at its ends, and how long it is. So captions and the time range of a doubtful
segment need no audio, and a script of ten hours has its places at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from serve_app.core.audio import duration_s, samples_of
from serve_app.core.segment import Boundary
from serve_app.core.stitch import pause_s as pause_of


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

    def placed(self, before: Boundary, pause_s: float | None) -> TakeInfo:
        """The same audio where a script has it: its first part takes what lies before it there."""
        first, *rest = self.parts
        return replace(self, parts=(replace(first, before=before, pause_s=pause_s), *rest))


@dataclass(frozen=True, slots=True)
class Span:
    """Where a segment lies in the finished signal, samples; *end* is one past the last."""

    start: int
    end: int


def spans(takes: Iterable[TakeInfo]) -> Iterator[Span]:
    """Where each take lies, in order, as the stitcher places it; one without sound has no length.

    Args:
        takes: From the first segment on, without a gap.
    """
    at = tail = owed = 0
    for take in takes:
        start: int | None = None
        for part in take.parts:
            wished = pause_of(part.before) if part.pause_s is None else part.pause_s
            pause = max(samples_of(wished), owed)
            if not part.kept:
                owed = pause
                continue
            at += max(0, pause - tail - part.lead)
            start = at if start is None else start
            at += part.kept
            tail, owed = part.tail, 0
        yield Span(at if start is None else start, at)
