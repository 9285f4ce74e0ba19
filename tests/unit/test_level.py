"""Gains are steps, corrections are slow, and nothing ever wraps or clips hard."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.core.audio import FULL_SCALE, Pcm, energy
from serve_app.core.level import LIMITER_DBFS, LevelRules, VoiceLevel, gain_table, level_steps

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KNEE = FULL_SCALE * 10 ** (LIMITER_DBFS / 20)
EVERY_SAMPLE: Pcm = np.arange(-FULL_SCALE, FULL_SCALE).astype(np.int16)
HEIGHTS = np.abs(EVERY_SAMPLE.astype(np.int64))
steps = st.integers(-92, 92)


def through(table: Pcm, pcm: Pcm) -> np.ndarray:
    return table[pcm.view(np.uint16)].astype(np.int64)


def tone(dbfs: float, samples: int = 2400) -> Pcm:
    height = math.sqrt(2) * FULL_SCALE * 10 ** (dbfs / 20)
    return np.rint(height * np.sin(np.arange(samples) * 2 * np.pi / 100)).astype(np.int16)


@untimed
@given(steps)
def test_a_table_is_a_gain_below_the_knee_and_bends_above(gain: int) -> None:
    out = through(gain_table(gain), EVERY_SAMPLE)
    wanted = EVERY_SAMPLE * 10 ** (gain / 80)
    below = np.abs(wanted) < KNEE - 2
    # The ratio has 12 bits behind the point: half of its last one is the largest error.
    assert np.all(np.abs(out - wanted)[below] <= 0.51 + HEIGHTS[below] / 8192)
    assert np.all(np.diff(out) >= 0), "a louder sample must never become a quieter one"
    assert np.all(np.abs(out) < FULL_SCALE - 1), "no sample may reach full scale"
    assert np.all(np.abs(out) <= np.abs(wanted) + 0.51 + HEIGHTS / 8192)
    assert np.array_equal(out[1:], -out[:0:-1]), "both signs are treated alike"


def test_no_gain_changes_nothing_below_the_knee() -> None:
    quiet = EVERY_SAMPLE[HEIGHTS <= KNEE]
    assert np.array_equal(through(gain_table(0), quiet), quiet)


@untimed
@given(st.floats(-49, -3))
def test_levels_are_counted_in_quarter_decibels(dbfs: float) -> None:
    pcm = tone(dbfs)
    exact = 10 * math.log10(energy(pcm) / len(pcm) / FULL_SCALE**2)
    assert abs(level_steps(energy(pcm), len(pcm)) / 4 - exact) <= 0.1251
    assert abs(exact - dbfs) < 0.05


def test_levels_end_at_full_scale_and_at_the_floor() -> None:
    assert level_steps(FULL_SCALE**2, 1) == 0
    assert level_steps(1, 1) == -240


def speak(level: VoiceLevel, pcm: Pcm) -> float:
    """One segment; returns the gain that was in force."""
    gain = level.gain_db
    level.hear(energy(pcm), len(pcm))
    assert level.gain_db == gain, "the gain may not move within a segment"
    level.settle()
    return gain


def test_a_quiet_voice_comes_up_slowly_and_not_too_far() -> None:
    level = VoiceLevel(0.0, LevelRules())
    gains = [speak(level, tone(-33)) for _ in range(6)]
    assert gains == [0.0, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_a_voice_whose_gain_fits_stays() -> None:
    level = VoiceLevel(-4.0, LevelRules())
    assert [speak(level, tone(-19)) for _ in range(3)] == [-4.0] * 3


@untimed
@given(st.floats(-20, 20), st.lists(st.floats(-45, -3), min_size=1, max_size=8))
def test_corrections_stay_in_their_bounds(gain_db: float, levels: list[float]) -> None:
    level = VoiceLevel(gain_db, LevelRules())
    gains = [speak(level, tone(dbfs)) for dbfs in levels] + [level.gain_db]
    assert abs(gains[0] - gain_db) <= 0.125
    assert all(abs(gain - gains[0]) <= 3 for gain in gains)
    assert all(abs(b - a) <= 1 for a, b in itertools.pairwise(gains))
    assert all(gain * 4 == int(gain * 4) for gain in gains)


@untimed
@given(st.floats(-20, 20), st.lists(st.floats(-45, -3), min_size=1, max_size=4))
def test_the_correction_aims_at_all_that_was_heard(gain_db: float, levels: list[float]) -> None:
    level = VoiceLevel(gain_db, LevelRules(max_step_db=6))
    gains = [speak(level, tone(dbfs)) for dbfs in levels]
    power = sum(energy(tone(dbfs)) for dbfs in levels) / (2400 * len(levels) * FULL_SCALE**2)
    wanted = max(-3, min(3, -23 - gains[0] - 10 * math.log10(power)))
    assert abs(level.gain_db - gains[0] - wanted) <= 0.126


def test_a_segment_without_the_voice_changes_nothing() -> None:
    level = VoiceLevel(0.0, LevelRules())
    speak(level, tone(-33))
    gain = level.gain_db
    level.hear(0, 0)
    level.settle()
    assert level.gain_db == gain


def test_the_correction_can_be_turned_off() -> None:
    level = VoiceLevel(1.5, LevelRules(max_correction_db=0))
    assert {speak(level, tone(-40)) for _ in range(4)} == {1.5}


@pytest.mark.parametrize("gain_db", [20.5, -21, math.nan, math.inf])
def test_absurd_gains_are_refused(gain_db: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        VoiceLevel(gain_db, LevelRules())
