"""Faster and slower at the same pitch: exact lengths, same bytes for any chunking, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm
from serve_app.tempo import Tempo

SPEEDS = (0.25, 0.4, 0.5, 0.8, 1.25, 1.5, 2.0, 3.0, 4.0)


def paced(pcm: Pcm, speed: float, sizes: list[int]) -> Pcm:
    tempo = Tempo(speed)
    parts = []
    start = turn = 0
    while start < len(pcm):
        size = sizes[turn % len(sizes)]
        parts.append(tempo.push(pcm[start : start + size]))
        start, turn = start + size, turn + 1
    return np.concatenate([*parts, tempo.close()])


def tone(hz: float, seconds: float) -> Pcm:
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    wave: Pcm = np.rint(8000 * np.sin(2 * np.pi * hz * times)).astype(np.int16)
    return wave


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(0, 30_000),
    speed=st.floats(0.25, 4.0),
    sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=4),
)
def test_length_and_bytes_do_not_depend_on_the_chunks(
    samples: int, speed: float, sizes: list[int]
) -> None:
    sizes = [max(size, samples // 50) for size in sizes]
    noise = np.random.default_rng(samples).integers(-9000, 9000, samples).astype(np.int16)
    one = paced(noise, speed, [max(samples, 1)])
    assert len(one) == round(samples / speed)
    assert one.dtype == np.int16
    assert np.array_equal(paced(noise, speed, sizes), one)


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_pitch_stays(speed: float) -> None:
    out = paced(tone(440.0, 2.0), speed, [4_800]).astype(float)
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    peak_hz = np.argmax(spectrum) * SAMPLE_RATE_HZ / len(out)
    assert peak_hz == pytest.approx(440.0, rel=0.02)


@pytest.mark.parametrize("speed", SPEEDS)
def test_every_sound_is_still_there_and_at_its_place(speed: float) -> None:
    signal = np.zeros(10 * SAMPLE_RATE_HZ, np.int16)
    starts_s = [0.0, 1.0, 3.0, 5.0, 7.0, 9.9]
    for start_s in starts_s:
        start = round(start_s * SAMPLE_RATE_HZ)
        signal[start : start + 2_400] = tone(400.0, 0.1)
    loud = np.flatnonzero(np.abs(paced(signal, speed, [5_000]).astype(int)) > 5_000)
    gaps = np.flatnonzero(np.diff(loud) > 0.2 * SAMPLE_RATE_HZ / speed)
    found_s = loud[np.concatenate(([0], gaps + 1))] / SAMPLE_RATE_HZ
    assert len(found_s) == len(starts_s)
    assert found_s * speed == pytest.approx(starts_s, abs=0.1)


@pytest.mark.parametrize("speed", [0.0, 0.2, 4.1, float("nan")])
def test_other_speeds_are_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Tempo(speed)
