"""A gain and a limiter for true peaks, 5 ms behind the signal.

Where the signal would swing above the ceiling, its gain is lowered beforehand, in a straight line
over 3.3 ms, and comes back slowly::

    needed      ----__------------      gain that keeps each sample and what follows it low enough
    ahead       --____------------      the lowest needed within the look-ahead
    released    --____......------      ... which may only rise slowly
    smoothed    -.____.......-----      mean over the look-ahead: never above what is needed

Gains are whole numbers and their means are sums of whole numbers: the result is the same for any
chunking and on any machine. A signal that stays below the ceiling with a gain of 0 dB passes
unchanged.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serve_app.core.audio import FULL_SCALE, SAMPLE_RATE_HZ, Pcm, silence
from serve_app.core.peak import FRAME, OVERSHOOT, REACH, UNIT, Rows, heights, true_peaks

LAG_SAMPLES: Final = 119
"""The output is never more samples behind the input than this; just under 5 ms."""

_AHEAD: Final = LAG_SAMPLES - (FRAME - 1) - REACH
_ONE: Final = 1 << 20
_RELEASE_PER_S: Final = 10.0
_RELEASE: Final = round(_ONE * _RELEASE_PER_S / SAMPLE_RATE_HZ)
_MARGIN_DB: Final = 0.6
"""Other meters interpolate with other filters: up to this much apart near a full-scale step."""


class Limiter:
    """One signal. What :meth:`push` and :meth:`close` return, joined, is as long as the input.

    Args:
        gain_db: Gain before the limiter.
        ceiling_dbtp: True peaks stay below this; below 0.

    Raises:
        ValueError: A number is not finite, or the ceiling not below 0.
    """

    def __init__(self, gain_db: float = 0.0, ceiling_dbtp: float = -1.0) -> None:
        if not (math.isfinite(gain_db) and math.isfinite(ceiling_dbtp) and ceiling_dbtp < 0):
            raise ValueError(f"no limiter with gain {gain_db} dB, ceiling {ceiling_dbtp} dBTP")
        self._gain = 10 ** (gain_db / 20)
        # Highest true peak that may pass as it is, before the gain.
        self._room = FULL_SCALE * UNIT * 10 ** ((ceiling_dbtp - _MARGIN_DB - gain_db) / 20)
        self._rows = Rows()
        self._waiting = silence(0)
        self._needed = np.full(_AHEAD + 1, _ONE, np.int64)
        self._released = np.full(_AHEAD, _ONE, np.int64)
        # Gains before the first sample's: the look-ahead starts in the silence before it.
        self._early = _AHEAD

    def push(self, pcm: Pcm) -> Pcm:
        """Take the next samples, any number, and return those that are ready."""
        self._waiting = np.concatenate((self._waiting, pcm))
        gains = self._smoothed(self._released_gains(self._needed_gains(self._rows.push(pcm))))
        early = min(self._early, len(gains))
        self._early -= early
        gains = gains[early:]
        ready, self._waiting = self._waiting[: len(gains)], self._waiting[len(gains) :].copy()
        limited: Pcm = np.rint(ready * (gains * self._gain)).astype(np.int16)
        return limited

    def close(self) -> Pcm:
        """The rest; once, and nothing may be pushed after it."""
        left = len(self._waiting)
        return self.push(silence(LAG_SAMPLES + FRAME))[:left]

    def _needed_gains(self, rows: Pcm) -> NDArray[np.int64]:
        """Gain that each sample's own peak needs, in parts of ``_ONE``; shape ``(n * 24,)``."""
        needed = np.full((len(rows), FRAME), _ONE, np.int64)
        high = heights(rows) * OVERSHOOT > self._room
        if high.any():
            peaks = np.maximum(true_peaks(rows[high]), self._room)
            needed[high] = np.floor(_ONE * (self._room / peaks))
        return needed.reshape(-1)

    def _released_gains(self, needed: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lowest gain needed from the sample before up to the look-ahead, rising slowly."""
        joined = np.concatenate((self._needed, needed))
        self._needed = joined[len(needed) :].copy()
        ahead = _sliding_min(joined, _AHEAD + 2)
        line = _RELEASE * np.arange(len(ahead) + 1)
        falling = np.concatenate((self._released[-1:], ahead)) - line
        released: NDArray[np.int64] = (np.minimum.accumulate(falling) + line)[1:]
        return released

    def _smoothed(self, released: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean over the look-ahead, as a factor."""
        joined = np.concatenate((self._released, released))
        self._released = joined[len(released) :].copy()
        sums = np.concatenate(([0], np.cumsum(joined)))
        width = _AHEAD + 1
        means: NDArray[np.float64] = (sums[width:] - sums[:-width]) / (width * _ONE)
        return means


def _sliding_min(values: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Lowest of each *width* neighbours, shape ``(len(values) - width + 1,)``, or none."""
    if len(values) < width:
        return values[:0]
    span = 1
    lowest = values
    while 2 * span <= width:
        lowest = np.minimum(lowest[:-span], lowest[span:])
        span *= 2
    rest = width - span
    return np.minimum(lowest[: len(lowest) - rest], lowest[rest:])
