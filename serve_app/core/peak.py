"""True peaks: how high a signal swings between its samples.

The samples are interpolated four times over, as ITU-R BS.1770-5 (annex 2) asks. The filter's
coefficients are whole numbers: every product and sum is exact in double precision, so that the
peaks are the same on every machine, in whichever order a library adds them up and however the
signal was chunked.

The signal is cut into frames of 1 ms. A row is a frame with the sixteen samples on each side of it
that the interpolation needs; most rows are too quiet to matter, and nobody interpolates them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from serve_app.core.audio import FULL_SCALE, Pcm, silence

FRAME: Final = 24
"""Samples of a frame."""

REACH: Final = 16
"""Samples on each side of a point that it is interpolated from."""

UNIT: Final = 1 << 15
"""Interpolated values are counted in parts of a sample's step: this many make one."""

OVERSAMPLING: Final = 4
_ROW: Final = FRAME + 2 * REACH
_KAISER_BETA: Final = 6.0
_ROWS_AT_ONCE: Final = 64
"""So few that the product is made in the calling thread: a pool of threads costs more."""


def _kernel() -> NDArray[np.float64]:
    """A sinc under a Kaiser window, as whole numbers in parts of :data:`UNIT`.

    Returns:
        Shape ``(OVERSAMPLING * 2 * REACH + 1,)``; the middle is the point itself.
    """
    half = OVERSAMPLING * REACH
    at = np.arange(-half, half + 1) / OVERSAMPLING
    return np.rint(UNIT * np.sinc(at) * np.kaiser(2 * half + 1, _KAISER_BETA))


def _interpolator() -> NDArray[np.float64]:
    """What a row is multiplied with to get the points between its frame's samples.

    Returns:
        Shape ``(row, points between two samples * FRAME)``, read-only.
    """
    kernel = _kernel()
    between = OVERSAMPLING - 1
    matrix = np.zeros((_ROW, between, FRAME))
    source, target = np.meshgrid(np.arange(_ROW), np.arange(FRAME), indexing="ij")
    for point in range(between):
        distance = (target + REACH - source) * OVERSAMPLING + point + 1
        inside = np.abs(distance) <= OVERSAMPLING * REACH
        matrix[:, point][inside] = kernel[distance[inside] + OVERSAMPLING * REACH]
    flat = matrix.reshape(_ROW, -1)
    flat.setflags(write=False)
    return flat


_INTERPOLATOR: Final = _interpolator()

OVERSHOOT: Final = int(np.abs(_INTERPOLATOR).sum(axis=0).max())
"""No interpolated point is higher than this times the row's highest sample, in :data:`UNIT`."""


class Rows:
    """Cuts a signal into rows, whatever the chunks it comes in; it begins after silence."""

    def __init__(self) -> None:
        self._rest = silence(REACH)

    def push(self, pcm: Pcm) -> Pcm:
        """Take the next samples and return the rows that are complete.

        Returns:
            Shape ``(n, 56)``, read-only; the frames of all rows, joined, are the signal.
        """
        signal = np.concatenate((self._rest, pcm))
        count = max(0, (len(signal) - 2 * REACH) // FRAME)
        self._rest = signal[count * FRAME :].copy()
        if not count:
            return np.empty((0, _ROW), np.int16)
        return sliding_window_view(signal, _ROW)[: count * FRAME : FRAME]

    def close(self) -> Pcm:
        """The last rows, filled up with silence; once, at the end."""
        return self.push(silence(REACH + FRAME - 1))


def heights(rows: Pcm) -> NDArray[np.int64]:
    """Highest sample of each row, shape ``(len(rows),)``."""
    if not len(rows):
        return np.zeros(0, np.int64)
    highest: NDArray[np.int64] = np.maximum(
        rows.max(axis=1).astype(np.int64), -rows.min(axis=1).astype(np.int64)
    )
    return highest


def true_peaks(rows: Pcm) -> NDArray[np.float64]:
    """How high the signal swings from each sample up to the next.

    Args:
        rows: Shape ``(n, 56)``.

    Returns:
        Shape ``(n, 24)``: whole numbers, in parts of :data:`UNIT`, not below the sample itself.
    """
    peaks = np.empty((len(rows), FRAME))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE].astype(np.float64)
        points = some @ _INTERPOLATOR
        np.abs(points, out=points)
        own = np.abs(some[:, REACH : REACH + FRAME]) * UNIT
        between = points.reshape(len(some), OVERSAMPLING - 1, FRAME).max(axis=1)
        np.maximum(own, between, out=peaks[start : start + len(some)])
    return peaks


class PeakMeter:
    """The highest true peak of a signal, whatever the chunks it comes in."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._highest = 0.0

    def push(self, pcm: Pcm) -> None:
        """Take the next samples."""
        self._look(self._rows.push(pcm))

    def close(self) -> float:
        """The peak relative to full scale; once, at the end."""
        self._look(self._rows.close())
        return self._highest / (UNIT * FULL_SCALE)

    def _look(self, rows: Pcm) -> None:
        # Only what could be higher than all before is interpolated.
        top = heights(rows)
        self._highest = max(self._highest, float(top.max(initial=0)) * UNIT)
        candidates = rows[top * OVERSHOOT > self._highest]
        self._highest = max(self._highest, float(true_peaks(candidates).max(initial=0.0)))
