"""How loud a signal is, and the gain that brings a finished file to its target.

Everything streams: a signal is a function that gives its chunks from the start again, and nothing
but a number for each 100 ms is kept. Where the peaks leave no room for the gain the limiter takes
some loudness away again; how much is measured, and made up for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from scipy.signal import sosfilt

from serve_app.core.audio import FULL_SCALE, SAMPLE_RATE_HZ, Pcm, silence
from serve_app.core.limiter import Limiter
from serve_app.core.loudness import (
    STEP_SAMPLES,
    Blocks,
    Loudness,
    LoudnessRules,
    decibels,
    k_weighting,
)
from serve_app.core.peak import PeakMeter
from serve_app.core.portions import portions

Source: TypeAlias = Callable[[], Iterable[Pcm]]
"""A signal that can be read again: each call gives its chunks from the start."""

_BIAS: Final = 1e-15
"""Keeps the filter's memory away from denormal numbers, a hundred times slower, in silence."""

_TOLL: Final = 1.7
"""Gain that is worth 1 LU where the limiter works, measured on speech; a first guess."""

_MAX_TOLL: Final = 6.0
_CLOSE_LU: Final = 1.5
"""So little missing is made up for to within 0.75 LU without another look."""

_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class Levelling:
    """What is done to a signal as a whole.

    Args:
        gain_db: Gain before the limiter.
        ceiling_dbtp: What the limiter keeps true peaks below.
        before: The signal as it is.
    """

    gain_db: float
    ceiling_dbtp: float
    before: Loudness


class LoudnessMeter:
    """Measures one signal, given in chunks of any size."""

    def __init__(self) -> None:
        self._sections = k_weighting(SAMPLE_RATE_HZ)
        self._memory = np.zeros((len(self._sections), 2))
        self._blocks, self._peaks = Blocks(), PeakMeter()
        self._rest = silence(0)
        self._samples = 0

    def push(self, pcm: Pcm) -> None:
        """Take the next samples."""
        self._samples += len(pcm)
        self._peaks.push(pcm)
        joined = np.concatenate((self._rest, pcm))
        whole = len(joined) // STEP_SAMPLES * STEP_SAMPLES
        self._rest = joined[whole:].copy()
        if whole:
            signal = joined[:whole] * (1 / FULL_SCALE) + _BIAS
            weighted, self._memory = sosfilt(self._sections, signal, zi=self._memory)
            self._blocks.push(weighted.reshape(-1, STEP_SAMPLES))

    def close(self) -> Loudness:
        """The result; once, at the end."""
        return Loudness(
            self._blocks.integrated_lufs(), decibels(self._peaks.close()), self._samples
        )


def measure(chunks: Iterable[Pcm]) -> Loudness:
    """Loudness and true peak of a whole signal."""
    meter = LoudnessMeter()
    for portion in portions(chunks):
        meter.push(portion)
    return meter.close()


def limited(chunks: Iterable[Pcm], gain_db: float, ceiling_dbtp: float) -> Iterator[Pcm]:
    """The signal with a gain and true peaks below the ceiling; as long as it was."""
    limiter = Limiter(gain_db, ceiling_dbtp)
    for portion in portions(chunks):
        yield limiter.push(portion)
    yield limiter.close()


def levelling(
    source: Source, rules: LoudnessRules | None = None, headroom_db: float = 0.0
) -> Levelling:
    """Find the gain that brings a signal to its target.

    Args:
        source: The signal; read once if the limiter has nothing to do, twice for speech, five
            times at most.
        rules: Target and ceiling.
        headroom_db: Kept free under the ceiling, for a lossy codec.

    Returns:
        No gain for a signal that has no loudness: silence, or less than 0.4 s.
    """
    rules = rules or LoudnessRules()
    ceiling_dbtp = rules.ceiling_dbtp - headroom_db
    before = measure(source())
    if before.integrated_lufs == -math.inf:
        return Levelling(0.0, ceiling_dbtp, before)
    gain_db = _bounded(rules.target_lufs - before.integrated_lufs, rules)
    if gain_db + before.true_peak_dbtp > ceiling_dbtp - 1:
        gain_db = _made_up(source, rules, gain_db, ceiling_dbtp)
    return Levelling(gain_db, ceiling_dbtp, before)


def _made_up(source: Source, rules: LoudnessRules, gain_db: float, ceiling_dbtp: float) -> float:
    """The gain that makes up for what the limiter takes: the secant method, from *gain_db* on."""
    toll, last_db, last_lufs = _TOLL, gain_db, -math.inf
    for _ in range(_ROUNDS):
        lufs = measure(limited(source(), gain_db, ceiling_dbtp)).integrated_lufs
        if math.isfinite(last_lufs):
            gained_lu = max(lufs - last_lufs, (gain_db - last_db) / _MAX_TOLL)
            toll = max(1.0, (gain_db - last_db) / gained_lu)
        last_db, last_lufs = gain_db, lufs
        missing_lu = rules.target_lufs - lufs
        gain_db = _bounded(gain_db + toll * missing_lu, rules)
        if abs(missing_lu) <= _CLOSE_LU or gain_db == last_db:
            break
    return gain_db


def _bounded(gain_db: float, rules: LoudnessRules) -> float:
    return max(-rules.max_gain_db, min(rules.max_gain_db, gain_db))
