"""How loud a voice is made: a fixed gain, a slow correction, and a limiter that never clips.

Levels are counted in steps of 0.25 dB. A sum that comes out a little different on another machine
then still gives the same step, and with it the same bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from serve_app.core.audio import FULL_SCALE, Pcm, power_limit

STEPS_PER_DB: Final = 4
MAX_GAIN_DB: Final = 20.0
"""Largest fixed gain either way; a voice that needs more was recorded badly."""

LIMITER_DBFS: Final = -1.0
"""Samples above this are bent towards full scale instead of being cut off there."""

_FLOOR_DBFS: Final = -60
_LEVELS: Final = tuple(
    power_limit((step + 0.5) / STEPS_PER_DB) for step in range(_FLOOR_DBFS * STEPS_PER_DB, 0)
)
"""Mean squares at which one step of level becomes the next."""

_RATIO_ONE: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class LevelRules:
    """How the slow correction of a voice works.

    Args:
        target_dbfs: Level that every voice's sound should have: mean power over its frames that
            are not silent. -23 is where a voice of about -25 LUFS stands.
        max_correction_db: Farthest the correction may go, either way; 0 turns it off.
        max_step_db: Farthest it may move from one segment of a voice to the next.
    """

    target_dbfs: float = -23.0
    max_correction_db: float = 3.0
    max_step_db: float = 1.0


class VoiceLevel:
    """The gain of one voice in one signal; constant within a segment.

    Args:
        gain_db: Fixed gain of this voice, -20..20, rounded to 0.25 dB.
        rules: Bounds of the slow correction.

    Raises:
        ValueError: *gain_db* is out of range.
    """

    def __init__(self, gain_db: float, rules: LevelRules) -> None:
        if not abs(gain_db) <= MAX_GAIN_DB:
            raise ValueError(f"gain {gain_db} dB is outside -{MAX_GAIN_DB}..{MAX_GAIN_DB} dB")
        self._fixed = _steps(gain_db)
        self._correction = 0
        self._rules = rules
        self._energy = 0
        self._samples = 0
        self._heard = False
        self._table: Pcm | None = None

    @property
    def correction_db(self) -> float:
        """Slow correction in force, dB."""
        return self._correction / STEPS_PER_DB

    @property
    def gain_db(self) -> float:
        """Whole gain in force, dB."""
        return (self._fixed + self._correction) / STEPS_PER_DB

    def hear(self, energy: int, samples: int) -> None:
        """Count sound of the running segment.

        Args:
            energy: Sum of squares before any gain.
            samples: How many samples that is; frames that are not silent only.
        """
        if samples:
            self._energy += energy
            self._samples += samples
            self._heard = True

    def settle(self) -> None:
        """End a segment: if the voice spoke in it, move its correction towards the target."""
        if not self._heard:
            return
        self._heard = False
        level = level_steps(self._energy, self._samples) + self._fixed
        reach = _steps(self._rules.max_correction_db)
        step = _steps(self._rules.max_step_db)
        wanted = max(-reach, min(reach, _steps(self._rules.target_dbfs) - level))
        move = max(-step, min(step, wanted - self._correction))
        if move:
            self._correction += move
            self._table = None

    def apply(self, pcm: Pcm) -> Pcm:
        """*pcm* with the gain in force, limited; each sample by itself."""
        if self._table is None:
            self._table = gain_table(self._fixed + self._correction)
        return self._table.take(pcm.view(np.uint16))


def level_steps(energy: int, samples: int) -> int:
    """Level in steps of 0.25 dB relative to full scale, rounded, not below -60 dB.

    Args:
        energy: Sum of squares.
        samples: At least 1.
    """
    return bisect_right(_LEVELS, energy // samples) + _FLOOR_DBFS * STEPS_PER_DB


@lru_cache(maxsize=32)  # of 128 KiB; making one costs as much as stitching seconds of sound
def gain_table(steps: int) -> Pcm:
    """Gain and limiter as one table: entry ``x`` (as unsigned) is what the sample ``x`` becomes.

    Above :data:`LIMITER_DBFS` the height ``h`` over the knee becomes ``h * r / (h + r)`` with
    ``r`` the room up to full scale: slope 1 at the knee, never above full scale, monotone, and
    the same for both signs. Below the knee a gain of 0 changes nothing.

    Args:
        steps: Gain in steps of 0.25 dB.

    Returns:
        Shape ``(65536,)``, read-only: all streams share it.
    """
    ratio = round(_RATIO_ONE * 10 ** (steps / (20 * STEPS_PER_DB)))
    samples = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.int64)
    height = (np.abs(samples) * ratio + _RATIO_ONE // 2) // _RATIO_ONE
    knee = round(FULL_SCALE * 10 ** (LIMITER_DBFS / 20))
    room = FULL_SCALE - 1 - knee
    over = np.maximum(height - knee, 0)
    bent = np.where(over > 0, knee + over * room // (over + room), height)
    table: Pcm = (np.sign(samples) * bent).astype(np.int16)
    table.setflags(write=False)
    return table


def _steps(level_db: float) -> int:
    return round(level_db * STEPS_PER_DB)
