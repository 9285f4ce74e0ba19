"""Segments, one after another, become one signal: trimmed, faded, paused and levelled.

A segment passes through while it is being spoken::

             silence | edge   sound ... sound   edge | silence         what the engine sent
    ... pause        | fade-in                fade-out |      pause    what is kept, and the seam

* **Seam.** Between the sounds of two segments lies the pause of their boundary; the silence the
  engine left inside the kept edges counts towards it. An explicit pause takes the boundary's
  place: exactly so much silence lies between the two sounds. Neither can be shorter than the
  edges kept, 80 ms at most.
* **Bounded.** Silence that may turn out to be the end is held back, two seconds at most; older
  silence flows on and counts towards the pause that follows, but can't be taken back.
* **Level.** A voice's fixed gain, and from its second segment on a slow correction towards the
  target, taken from all its sound before. Both are constant within a segment.
* **Same bytes for any chunking.** Each decision is taken in integers on frames counted from the
  segment's start, and each sample is mapped by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from serve_app.core.audio import SILENCE_DBFS, Pcm, power_limit, samples_of, silence
from serve_app.core.level import LevelRules, VoiceLevel
from serve_app.core.segment import Boundary
from serve_app.core.trim import Trim, TrimRules

PAUSES: Final[Mapping[Boundary, float]] = MappingProxyType(
    {
        Boundary.START: 0.0,
        Boundary.CLAUSE: 0.15,
        Boundary.SENTENCE: 0.35,
        Boundary.PARAGRAPH: 0.8,
        Boundary.TURN: 0.35,
    }
)
"""Seconds of silence before what stands behind a boundary, between segments and inside one."""


def pause_s(boundary: Boundary) -> float:
    """Seconds of silence that belong to *boundary* where the script asks for no other."""
    return PAUSES[boundary]


@dataclass(frozen=True, slots=True)
class StitchRules:
    """How seams are made.

    Args:
        edge_s: Silence of the engine's own that stays at each end of a segment, at most.
        fade_s: Linear fade at each end of what stays; not longer than the edge.
        hold_s: Silence held back while it may still be the segment's end; not shorter than the
            edge.
        silence_dbfs: Mean power under which a 5 ms frame is silence.
        pauses: Seconds of silence by boundary.
        level: The slow correction of each voice.

    Raises:
        ValueError: Not ``0 <= fade_s <= edge_s <= hold_s``.
    """

    edge_s: float = 0.040
    fade_s: float = 0.008
    hold_s: float = 2.0
    silence_dbfs: float = SILENCE_DBFS
    pauses: Mapping[Boundary, float] = field(default_factory=lambda: PAUSES)
    level: LevelRules = field(default_factory=LevelRules)

    def __post_init__(self) -> None:
        if not 0 <= self.fade_s <= self.edge_s <= self.hold_s:
            raise ValueError(
                f"fade {self.fade_s} s, edge {self.edge_s} s and hold {self.hold_s} s must not "
                "be negative, and each not longer than the next"
            )


@dataclass(frozen=True, slots=True)
class SegmentSpan:
    """Where a segment lies in the signal, in samples.

    Sample ``p`` of what the engine sent is sample ``start + p - source_start`` of the signal, as
    long as that lies before ``end``: nothing inside a segment is cut or stretched.

    Args:
        start: First sample kept, in the signal.
        end: One past the last.
        source_start: The first sample kept, counted in what the engine sent.
    """

    start: int
    end: int
    source_start: int


@dataclass(slots=True)
class _Open:
    """The segment being spoken.

    Args:
        trim: Decides what is kept.
        pause: Silence wanted between the sound before it and its own, samples.
        voice: Who spoke last.
        start: Its first sample in the signal; None until it has one.
    """

    trim: Trim
    pause: int
    voice: VoiceLevel
    start: int | None = None


class Stitcher:
    """Joins segments, given one after another and each in chunks of any size.

    ``begin``, ``feed`` as often as there are chunks, ``end``; so for each segment; then
    ``finish``. What they return, joined, is the signal. A call out of this order raises
    RuntimeError.

    Args:
        rules: How seams are made.
        gains_db: Fixed gain by voice, -20..20 dB. Voices not in it, and None, share one level
            with a gain of 0, so that memory is bounded by this mapping.

    Raises:
        ValueError: A gain is out of range.
    """

    def __init__(self, rules: StitchRules, gains_db: Mapping[str, float]) -> None:
        self._pauses = rules.pauses
        self._trim_rules = TrimRules(
            edge=samples_of(rules.edge_s),
            fade=samples_of(rules.fade_s),
            hold=samples_of(rules.hold_s),
            limit=power_limit(rules.silence_dbfs),
        )
        self._common = VoiceLevel(0.0, rules.level)
        self._levels = {voice: VoiceLevel(gain, rules.level) for voice, gain in gains_db.items()}
        self._open: _Open | None = None
        self._finished = False
        self._tail = 0
        self._owed = 0
        self._samples_out = 0
        self._segments = 0
        self._silent_segments = 0
        self._last_span: SegmentSpan | None = None

    @property
    def samples_out(self) -> int:
        """Length of the signal returned so far."""
        return self._samples_out

    @property
    def segments(self) -> int:
        """Segments ended, silent ones among them."""
        return self._segments

    @property
    def silent_segments(self) -> int:
        """Segments ended that had no sound and left nothing in the signal."""
        return self._silent_segments

    @property
    def last_span(self) -> SegmentSpan | None:
        """Where the segment ended last lies; None before the first and after a silent one."""
        return self._last_span

    def gain_db(self, voice: str | None) -> float:
        """Whole gain of *voice* now, fixed and slow, dB."""
        return self._level(voice).gain_db

    def begin(self, before: Boundary, pause_s: float | None = None) -> None:
        """Start a segment.

        Args:
            before: What stands between it and the segment before.
            pause_s: Silence wanted between the two sounds instead of the boundary's.

        Raises:
            ValueError: *pause_s* is negative or not a number.
        """
        if self._open is not None or self._finished:
            raise RuntimeError("begin() belongs after end() and before finish()")
        wanted = _pause_samples(self._pauses[before] if pause_s is None else pause_s)
        # A silent segment hands its pause on to the next.
        self._open = _Open(Trim(self._trim_rules), max(wanted, self._owed), self._common)

    def feed(self, samples: Pcm, voice: str | None) -> Pcm:
        """Take the segment's next samples and return those of the signal that are ready.

        Args:
            samples: Any number, also none.
            voice: Who speaks them, or None where the engine can't tell.
        """
        segment = self._running("feed")
        if not len(samples):
            return silence(0)
        segment.voice = self._level(voice)
        sound = segment.trim.take(samples, segment.voice.apply(samples))
        segment.voice.hear(sound.energy, sound.samples)
        return self._put(segment, segment.trim.ready())

    def end(self) -> Pcm:
        """End the segment and return the rest of it."""
        segment = self._running("end")
        sound = segment.trim.close()
        segment.voice.hear(sound.energy, sound.samples)
        closing = self._put(segment, segment.trim.rest())
        for level in (self._common, *self._levels.values()):
            level.settle()
        self._open = None
        self._segments += 1
        if segment.start is None:
            self._silent_segments += 1
            self._owed = segment.pause
            self._last_span = None
        else:
            self._owed = 0
            self._tail = segment.trim.tail
            self._last_span = SegmentSpan(segment.start, self._samples_out, segment.trim.start)
        return closing

    def finish(self, final_pause_s: float | None = None) -> Pcm:
        """End the signal.

        Args:
            final_pause_s: Silence wanted after the last sound; None for no more than is there.

        Raises:
            ValueError: *final_pause_s* is negative or not a number.
        """
        if self._open is not None or self._finished:
            raise RuntimeError("finish() belongs after end(), once")
        wanted = 0 if final_pause_s is None else _pause_samples(final_pause_s)
        self._finished = True
        return self._pad(max(wanted, self._owed) - self._tail)

    def _running(self, call: str) -> _Open:
        if self._open is None:
            raise RuntimeError(f"{call}() belongs between begin() and end()")
        return self._open

    def _level(self, voice: str | None) -> VoiceLevel:
        return self._common if voice is None else self._levels.get(voice, self._common)

    def _put(self, segment: _Open, kept: Pcm) -> Pcm:
        """Let *kept* into the signal, behind the pause if it is the segment's first."""
        pause = silence(0)
        if segment.start is None and segment.trim.has_sound:
            pause = self._pad(segment.pause - self._tail - segment.trim.lead)
            segment.start = self._samples_out
        self._samples_out += len(kept)
        return np.concatenate((pause, kept))

    def _pad(self, samples: int) -> Pcm:
        padding = silence(max(0, samples))
        self._samples_out += len(padding)
        return padding


def _pause_samples(seconds: float) -> int:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"a pause of {seconds} s is not a length of time")
    return samples_of(seconds)
