"""What is kept of one segment: its sound, a little silence at both ends, and a fade in it.

Sound and silence are told apart on 5 ms frames counted from the segment's start. What comes out
of :meth:`Trim.ready` depends on the whole frames taken so far only, so that the sum of it is the
same for any chunking; what a fade at the end might still need stays inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_app.core.audio import FRAME_SAMPLES, Pcm, energy, frame_energies, silence


@dataclass(frozen=True, slots=True)
class TrimRules:
    """Bounds in samples, ``0 <= fade <= edge <= hold``.

    Args:
        edge: Silence kept at each end, at most.
        fade: Linear fade at each end of what is kept, from and to zero.
        hold: Silence held back while it may still be the end; older silence is let go.
        limit: Mean square under which a frame is silence.
    """

    edge: int
    fade: int
    hold: int
    limit: int


@dataclass(frozen=True, slots=True)
class Sound:
    """What was heard in some samples.

    Args:
        energy: Sum of squares over the frames that are not silent.
        samples: Length of those frames.
    """

    energy: int
    samples: int


class Trim:
    """Takes a segment in chunks and gives back what is kept of it; positions count from 0.

    ``take`` and ``ready`` for each chunk, then ``close`` and ``rest``.
    """

    def __init__(self, rules: TrimRules) -> None:
        self._rules = rules
        self._first: int | None = None
        self._last = 0
        self._framed = 0
        self._base = 0
        self._carry = silence(0)
        self._held = silence(0)

    @property
    def has_sound(self) -> bool:
        """Some frame was not silent."""
        return self._first is not None

    @property
    def start(self) -> int:
        """First position kept; 0 before the first sound."""
        return 0 if self._first is None else max(0, self._first - self._rules.edge)

    @property
    def lead(self) -> int:
        """Silence kept before the first sound."""
        return 0 if self._first is None else self._first - self.start

    @property
    def tail(self) -> int:
        """Silence let go of after the last sound so far; after :meth:`rest` all that is kept."""
        return max(0, self._base - self._last)

    def take(self, raw: Pcm, levelled: Pcm) -> Sound:
        """Take the next samples and tell what is heard in the frames now whole.

        Args:
            raw: As the engine sent them; decides between sound and silence.
            levelled: The same as they shall be kept.
        """
        waiting = np.concatenate((self._carry, raw))
        energies = frame_energies(waiting)
        loud = np.flatnonzero(energies >= self._rules.limit * FRAME_SAMPLES)
        if len(loud):
            self._note(int(loud[0]) * FRAME_SAMPLES, (int(loud[-1]) + 1) * FRAME_SAMPLES)
        whole = len(energies) * FRAME_SAMPLES
        self._framed += whole
        self._carry = waiting[whole:].copy()
        self._held = np.concatenate((self._held, levelled))
        return Sound(int(energies[loud].sum()), len(loud) * FRAME_SAMPLES)

    def close(self) -> Sound:
        """Judge the last frame, which may have stayed short."""
        short = len(self._carry)
        power = energy(self._carry)
        if not short or power < self._rules.limit * short:
            return Sound(0, 0)
        self._note(0, short)
        return Sound(power, short)

    def ready(self) -> Pcm:
        """Samples that are sure to stay; before the first sound, drops what is sure to go."""
        if self._first is None:
            self._drop(self._framed - self._rules.edge)
            return silence(0)
        self._drop(self.start)
        return self._let_go(max(self._last - self._rules.fade, self._framed - self._rules.hold))

    def rest(self) -> Pcm:
        """What is kept of the samples still held, once and after :meth:`close`."""
        if self._first is None:
            return silence(0)
        ready = self.ready()
        # Silence that was let go can't be trimmed any more; there is room left to fade it.
        kept = max(self._last + self._rules.edge, self._base + self._rules.fade)
        closing = self._let_go(min(self._base + len(self._held), kept))
        return np.concatenate((ready, faded_out(closing, self._rules.fade)))

    def _note(self, first: int, last: int) -> None:
        if self._first is None:
            self._first = self._framed + first
        self._last = self._framed + last

    def _let_go(self, until: int) -> Pcm:
        begun = self._base - self.start
        return faded_in(self._drop(until), begun, self._rules.fade)

    def _drop(self, until: int) -> Pcm:
        gone = self._held[: max(0, until - self._base)]
        # A copy, so that a short rest doesn't keep a long chunk alive.
        self._held = self._held[len(gone) :].copy()
        self._base += len(gone)
        return gone


def faded_in(pcm: Pcm, begun: int, fade: int) -> Pcm:
    """*pcm* with the part of a linear fade from zero that falls into it.

    Args:
        pcm: Shape ``(n,)``.
        begun: Samples that stood between the fade's start and *pcm*.
        fade: Length of the fade.
    """
    left = min(fade - begun, len(pcm))
    if left <= 0:
        return pcm
    weights = np.arange(begun, begun + left)
    return np.concatenate((_weighted(pcm[:left], weights, fade), pcm[left:]))


def faded_out(pcm: Pcm, fade: int) -> Pcm:
    """*pcm* with a linear fade to zero over its last *fade* samples, or over all if it is shorter.

    The slope is the same in both cases.
    """
    left = min(fade, len(pcm))
    if not left:
        return pcm
    split = len(pcm) - left
    weights = np.arange(left)[::-1]
    return np.concatenate((pcm[:split], _weighted(pcm[split:], weights, fade)))


def _weighted(pcm: Pcm, weights: NDArray[np.int_], whole: int) -> Pcm:
    """``pcm * weights / whole``, rounded half up."""
    weighted: Pcm = ((2 * pcm.astype(np.int64) * weights + whole) // (2 * whole)).astype(np.int16)
    return weighted
