"""Sounds and audio files for the tests of the voice library."""

from __future__ import annotations

import io

import numpy as np
import soundfile as sf
from numpy.typing import NDArray


def speech(seconds: float, rate: int, seed: int, level_dbfs: float) -> NDArray[np.float32]:
    """Syllables: harmonics of a wandering pitch with noise, swelling four times a second.

    Starts and ends in sound; its mean power is *level_dbfs*.
    """
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.3, 1.0) * t))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    wave = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 8))
    wave = (wave + 0.1 * rng.standard_normal(n)) * (0.3 + np.abs(np.cos(4 * np.pi * t)))
    power = max(float(np.mean(np.square(wave))), 1e-12)
    scaled: NDArray[np.float32] = (wave * 10 ** (level_dbfs / 20) / np.sqrt(power)).astype(
        np.float32
    )
    return scaled


def file_of(samples: NDArray[np.float32], rate: int, container: str, subtype: str) -> bytes:
    """An audio file; *samples* of shape ``(n,)`` or ``(n, channels)``."""
    stream = io.BytesIO()
    sf.write(stream, samples, rate, format=container, subtype=subtype)
    return stream.getvalue()
