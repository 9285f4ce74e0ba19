"""Programme loudness by ITU-R BS.1770-5 and EBU R 128, without the filter that goes before it.

The filter's coefficients come from here, so that this part stays pure: K-weighting, then the mean
square of blocks of 400 ms, one each 100 ms, then two gates.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serve_app.core.audio import SAMPLE_RATE_HZ

STEP_SAMPLES: Final = SAMPLE_RATE_HZ // 10
"""100 ms: how far one block lies behind the other."""

_STEPS_OF_BLOCK: Final = 4
_OFFSET_LU: Final = -0.691
_ABSOLUTE_GATE_LUFS: Final = -70.0
_RELATIVE_GATE_LU: Final = -10.0

_SHELF_HZ: Final = 1681.974450955533
_SHELF_DB: Final = 3.999843853973347
_SHELF_Q: Final = 0.7071752369554196
_SHELF_SLOPE: Final = 0.4996667741545416
_HIGH_PASS_HZ: Final = 38.13547087602444
_HIGH_PASS_Q: Final = 0.5003270373238773
_STANDARD_RATE_HZ: Final = 48_000


@dataclass(frozen=True, slots=True)
class Loudness:
    """What was measured.

    Args:
        integrated_lufs: Loudness of the whole; -inf for silence and for less than 0.4 s.
        true_peak_dbtp: Highest swing, interpolated; -inf for nothing but zeros.
        samples: Length.
    """

    integrated_lufs: float
    true_peak_dbtp: float
    samples: int


@dataclass(frozen=True, slots=True)
class LoudnessRules:
    """How loud a finished file is made.

    Args:
        target_lufs: Integrated loudness.
        ceiling_dbtp: True peak of what a listener decodes, at most.
        max_gain_db: Gain either way, at most; what needs more stays quieter or louder.

    Raises:
        ValueError: Not ``target_lufs < ceiling_dbtp < 0``, or a gain below 0.
    """

    target_lufs: float = -16.0
    ceiling_dbtp: float = -1.0
    max_gain_db: float = 30.0

    def __post_init__(self) -> None:
        if not (-70 < self.target_lufs < self.ceiling_dbtp < 0 <= self.max_gain_db < 100):
            raise ValueError(
                f"target {self.target_lufs} LUFS, ceiling {self.ceiling_dbtp} dBTP and gain "
                f"{self.max_gain_db} dB: want -70 < target < ceiling < 0 and 0 <= gain < 100"
            )


def decibels(amplitude: float) -> float:
    """Level of an amplitude relative to full scale; -inf for 0."""
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def k_weighting(rate_hz: int) -> NDArray[np.float64]:
    """The K filter as two second-order sections, a high shelf and a high pass.

    The standard gives coefficients for 48 kHz only. Behind them stand two analogue filters, here
    brought to any rate by the bilinear transform; the high pass keeps the gain of 0.04 dB that
    the standard's rounded one has.

    Returns:
        Shape ``(2, 6)``: b0, b1, b2, 1, a1, a2 of each section.

    Source: the parameters of Brecht De Man, "Evaluation of Implementations of the EBU R128
        Loudness Measurement", AES 145 (2018).
    """
    k = math.tan(math.pi * _SHELF_HZ / rate_hz)
    high = 10 ** (_SHELF_DB / 20)
    middle = high**_SHELF_SLOPE
    norm = 1 + k / _SHELF_Q + k * k
    shelf = [
        (high + middle * k / _SHELF_Q + k * k) / norm,
        2 * (k * k - high) / norm,
        (high - middle * k / _SHELF_Q + k * k) / norm,
        *(1.0, 2 * (k * k - 1) / norm, (1 - k / _SHELF_Q + k * k) / norm),
    ]
    k = math.tan(math.pi * _HIGH_PASS_HZ / rate_hz)
    norm = _high_pass_norm(rate_hz)
    gain = _high_pass_norm(_STANDARD_RATE_HZ) / norm
    high_pass = [
        *(gain, -2 * gain, gain),
        *(1.0, 2 * (k * k - 1) / norm, (1 - k / _HIGH_PASS_Q + k * k) / norm),
    ]
    return np.array([shelf, high_pass])


def _high_pass_norm(rate_hz: int) -> float:
    k = math.tan(math.pi * _HIGH_PASS_HZ / rate_hz)
    return 1 + k / _HIGH_PASS_Q + k * k


class Blocks:
    """The energies of a signal; 8 bytes for each 100 ms, so 0.5 MB for 95 minutes."""

    def __init__(self) -> None:
        self._energies = array("d")

    def push(self, weighted: NDArray[np.float64]) -> None:
        """Take the next K-weighted samples, full scale 1; shape ``(n, STEP_SAMPLES)``."""
        self._energies.extend(np.einsum("ij,ij->i", weighted, weighted).tolist())

    def integrated_lufs(self) -> float:
        """Loudness of everything above both gates; -inf if that is nothing."""
        if len(self._energies) < _STEPS_OF_BLOCK:
            return -math.inf
        sums = np.convolve(np.array(self._energies), np.ones(_STEPS_OF_BLOCK), "valid")
        blocks = sums / (_STEPS_OF_BLOCK * STEP_SAMPLES)
        loud = blocks[blocks > _power(_ABSOLUTE_GATE_LUFS)]
        if not len(loud):
            return -math.inf
        gate_lufs = _lufs(float(loud.mean())) + _RELATIVE_GATE_LU
        return _lufs(float(loud[loud > _power(gate_lufs)].mean()))


def _lufs(power: float) -> float:
    return _OFFSET_LU + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_LU) / 10))
