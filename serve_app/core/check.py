"""Figures of a check of a card: what was spoken, how fast, and whether a batch changes a voice.

Nothing is filled in: a figure that could not be measured is None, and ``missing`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import numpy as np

from serve_app.core.audio import BYTES_PER_S, FULL_SCALE, pcm_from_bytes

STEP: Final = 1 / FULL_SCALE
"""The finest difference that 16-bit samples show, relative to full scale."""


@dataclass(frozen=True, slots=True)
class Take:
    """A segment as it was spoken.

    Args:
        number: Of the segment, from 1; the same number is the same text, voices and seed.
        pcm: Its audio, 16 bit, 24 kHz.
        wall_s: From its start to its end.
        first_audio_s: From its start to its first chunk, or None without one.
        tokens: Tokens read, or None if it failed.
        frames: Frames written, or None if it failed.
        cut_off: Ended by its bound and not by itself.
        error: Why it failed, or None.
    """

    number: int
    pcm: bytes
    wall_s: float
    first_audio_s: float | None = None
    tokens: int | None = None
    frames: int | None = None
    cut_off: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a run was; failed segments count for the time and for nothing else.

    Args:
        slots: Segments at once, as asked for.
        slots_at_end: As the engine had them at the end; fewer if memory was short.
        segments: Spoken whole.
        failed: What each of the others failed with.
        cut_off: Spoken segments that ended by their bound.
        wall_s: From the first start to the last end.
        audio_s: Seconds of audio.
        real_time_factor: Wall seconds per audio second.
        audio_s_per_s: Its inverse.
        first_audio_median_s, first_audio_max_s: From a segment's start to its first chunk.
        frames_per_s: Frames written, a second.
        tokens_per_s: Tokens of prompts read and frames written, a second.
    """

    slots: int
    slots_at_end: int
    segments: int
    failed: tuple[str, ...]
    cut_off: int
    wall_s: float
    audio_s: float
    real_time_factor: float | None
    audio_s_per_s: float | None
    first_audio_median_s: float | None
    first_audio_max_s: float | None
    frames_per_s: float | None
    tokens_per_s: float | None


@dataclass(frozen=True, slots=True)
class CardUse:
    """What a card was seen to do during a run; None where it told nothing.

    Args:
        samples: Readings.
        metered_s: From the first to the last reading.
        mem_before_bytes, mem_peak_bytes, mem_after_bytes: Memory in use, all programs counted.
        temp_start_c, temp_max_c: Core temperature.
        power_mean_w: Mean of the readings.
        energy_j: Over ``metered_s``.
        energy_from: ``counter`` of the card, or ``power`` readings summed up.
        throttle: Everything that held the clocks down at some reading.
        throttled_share: Share of readings with any of it.
        missing: Why a figure is None, by its name.
    """

    samples: int
    metered_s: float
    mem_before_bytes: int | None = None
    mem_peak_bytes: int | None = None
    mem_after_bytes: int | None = None
    temp_start_c: float | None = None
    temp_max_c: float | None = None
    power_mean_w: float | None = None
    energy_j: float | None = None
    energy_from: str | None = None
    throttle: tuple[str, ...] | None = None
    throttled_share: float | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Segments spoken alone against the same ones in a batch, sample by sample, in 16 bits.

    Args:
        slots: Of the batch.
        segments: Compared.
        identical: Of them, with the same bytes.
        other_length: Of them, with another number of samples; the figures leave these out.
        worst: Largest difference of a sample, relative to the loudest of its segment.
        worst_rms: Largest root mean square of a segment's differences, relative to its own.
    """

    slots: int
    segments: int
    identical: int
    other_length: int
    worst: float | None
    worst_rms: float | None


def speed(takes: Sequence[Take], slots: int, slots_at_end: int, wall_s: float) -> Speed:
    """The figures of a run."""
    spoken = [take for take in takes if take.error is None]
    audio_s = sum(len(take.pcm) for take in spoken) / BYTES_PER_S
    firsts = [take.first_audio_s for take in spoken if take.first_audio_s is not None]
    frames = sum(take.frames or 0 for take in spoken)
    tokens = frames + sum(take.tokens or 0 for take in spoken)
    timed = wall_s > 0 and audio_s > 0
    return Speed(
        slots=slots,
        slots_at_end=slots_at_end,
        segments=len(spoken),
        failed=tuple(f"segment {t.number}: {t.error}" for t in takes if t.error is not None),
        cut_off=sum(take.cut_off for take in spoken),
        wall_s=wall_s,
        audio_s=audio_s,
        real_time_factor=wall_s / audio_s if timed else None,
        audio_s_per_s=audio_s / wall_s if timed else None,
        first_audio_median_s=median(firsts) if firsts else None,
        first_audio_max_s=max(firsts, default=None),
        frames_per_s=frames / wall_s if timed else None,
        tokens_per_s=tokens / wall_s if timed else None,
    )


def compare(alone: Sequence[Take], batch: Sequence[Take], slots: int) -> Comparison | None:
    """Compare the segments that both have; None if there is none."""
    others = {take.number: take for take in batch if take.error is None and take.pcm}
    pairs = [
        (take.pcm, others[take.number].pcm)
        for take in alone
        if take.error is None and take.pcm and take.number in others
    ]
    if not pairs:
        return None
    same_length = [pair for pair in pairs if len(pair[0]) == len(pair[1])]
    gaps = [_gaps(*pair) for pair in same_length]
    return Comparison(
        slots=slots,
        segments=len(pairs),
        identical=sum(one == other for one, other in pairs),
        other_length=len(pairs) - len(same_length),
        worst=max((gap for gap, _ in gaps), default=None),
        worst_rms=max((rms for _, rms in gaps), default=None),
    )


def _gaps(alone: bytes, batch: bytes) -> tuple[float, float]:
    one = pcm_from_bytes(alone).astype(np.float64)
    gap = pcm_from_bytes(batch) - one
    loudest, power = np.abs(one).max(), np.mean(one**2)
    if loudest == 0:
        return (0.0, 0.0) if not gap.any() else (float("inf"), float("inf"))
    return float(np.abs(gap).max() / loudest), float(np.sqrt(np.mean(gap**2) / power))


def statement(comparison: Comparison | None, dtype: str | None) -> str:
    """What a comparison says, for people."""
    if comparison is None:
        return "Not compared: no segment was spoken both alone and in a batch."
    found = (
        f"{comparison.identical} of {comparison.segments} segments are the same bytes alone and "
        f"at {comparison.slots} slots"
    )
    if comparison.other_length:
        found += f"; {comparison.other_length} have another length"
    if comparison.worst is not None:
        found += (
            f"; largest difference {comparison.worst:.2e} of a segment's loudest sample, "
            f"{comparison.worst_rms:.2e} rms"
        )
    found += f". Samples have 16 bits: nothing below {STEP:.1e} of full scale can be seen."
    if comparison.identical == comparison.segments:
        return found
    if dtype == "float32":
        return f"{found} In float32 a batch should change nothing that can be heard: look into it."
    return f"{found} With 16-bit weights last bits may differ and grow: no bar is set here."
