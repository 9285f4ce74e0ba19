"""From the voice's samples to chunks: resampled, trimmed, faded, with silence in between.

Whole sentences go through at once, so that a sentence's bytes depend on nothing but its samples
and how samples are cut into chunks changes no byte. Rounding is that of
:func:`serve_app.core.audio.finite_to_pcm`, after all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from serve_app.core.audio import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    SILENCE_DBFS,
    Pcm,
    bytes_from_pcm,
    finite_to_pcm,
    frame_energies,
    power_limit,
    samples_of,
    silence,
)
from serve_app.engines.base import Chunk
from serve_app.engines.piper_phonemes import Breath

SENTENCE_GAP_S: Final = 0.35
"""Silence between the sounds of two sentences; the same as between two segments."""

BREATH_GAP_S: Final = 0.15
"""Silence where a very long sentence is cut at a clause."""

EDGE_S: Final = 0.04
"""Near-silence of the voice's own that is kept around each sentence."""

FADE_S: Final = 0.008

RESAMPLER: Final = f"soxr-{version('soxr')}"


class Seam:
    """Trims sentences and decides about the silence between them."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._new_line = True
        self._tail = 0

    def line(self, pause_s: float) -> None:
        """A line begins; pauses of lines without sound add up."""
        self._pause_s = pause_s + (self._pause_s if self._new_line else 0.0)
        self._new_line = True

    def join(self, sound: NDArray[np.float32], breath: Breath) -> Pcm:
        """*sound* trimmed and faded, with the silence that belongs before it.

        The silence is counted from sound to sound, as between segments: the edges that are kept
        are part of it.
        """
        pcm, lead, tail = _trimmed(sound)
        if self._new_line:
            gap_s = self._pause_s
        else:
            gap_s = SENTENCE_GAP_S if breath.opens else BREATH_GAP_S
        gap = max(0, samples_of(gap_s) - lead - self._tail)
        self._new_line, self._pause_s, self._tail = False, 0.0, tail
        return np.concatenate([silence(gap), pcm])


def resample(samples: NDArray[np.float32], rate_hz: float) -> NDArray[np.float32]:
    """*samples* taken at *rate_hz*, at 24 kHz; both of shape ``(n,)``, full scale -1..1."""
    out: NDArray[np.float32] = soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return out


def _trimmed(sound: NDArray[np.float32]) -> tuple[Pcm, int, int]:
    """Samples with short faded edges, and how many of them at each end are silence."""
    loud = np.flatnonzero(
        frame_energies(finite_to_pcm(sound)) >= power_limit(SILENCE_DBFS) * FRAME_SAMPLES
    )
    if loud.size == 0:
        return finite_to_pcm(sound), 0, 0
    first, last = int(loud[0]) * FRAME_SAMPLES, int(loud[-1] + 1) * FRAME_SAMPLES
    start, stop = max(0, first - samples_of(EDGE_S)), min(sound.size, last + samples_of(EDGE_S))
    kept = sound[start:stop].copy()
    ramp = np.linspace(0.0, 1.0, min(samples_of(FADE_S), kept.size), dtype=np.float32)
    kept[: ramp.size] *= ramp
    kept[kept.size - ramp.size :] *= ramp[::-1]
    return finite_to_pcm(kept), first - start, stop - last


def chunks_of(pcm: Pcm, samples: int, voice: str) -> Iterator[Chunk]:
    """*pcm* in pieces of *samples*, the last one shorter."""
    for start in range(0, pcm.size, samples):
        yield Chunk(bytes_from_pcm(pcm[start : start + samples]), voice)
