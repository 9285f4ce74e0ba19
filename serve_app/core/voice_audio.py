"""How a recording becomes a voice: brought to the common level, freed of silence at its ends.

Level and silence are those of the rest of the service (:mod:`serve_app.core.level`,
:mod:`serve_app.core.audio`): the mean power of the 5 ms frames that are not silent. The gain is
one number for the whole recording, in steps of 0.25 dB, and measured again on the samples that
come out, so that what is kept stands at the level and not near it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serve_app.core.audio import (
    FRAME_SAMPLES,
    FULL_SCALE,
    SILENCE_DBFS,
    Pcm,
    duration_s,
    frame_energies,
    power_limit,
    samples_of,
)
from serve_app.core.level import LIMITER_DBFS, MAX_GAIN_DB, STEPS_PER_DB, LevelRules, level_steps
from serve_app.errors import VoiceAudioError

TARGET_DBFS: Final = LevelRules().target_dbfs
"""Level of every stored voice."""

MAX_PEAK: Final = 10.0
"""Highest sample taken, relative to full scale: float files may overshoot by 20 dB."""

PARAM: Final = "audio_sample"
"""Request field that an upload comes in."""

_SWAY_S: Final = 0.05

_STEPS: Final = range(-48 * STEPS_PER_DB, round(MAX_GAIN_DB) * STEPS_PER_DB + 1)
"""Gains tried; 48 dB less is more than any signal below MAX_PEAK needs."""

_MAX_BANGS_DB: Final = 10.0
"""How far the typical frame may stay below the target; in speech it is 1 to 4 dB."""

_MAX_LIMITED_DB: Final = 2.0
"""Level that the limiter may take and the gain give back; speech loses next to none."""


@dataclass(frozen=True, slots=True)
class VoiceRules:
    """Bounds of a voice.

    Args:
        min_s, max_s: Length after trimming.
        min_sound_s: Sound in it, pauses not counted.
        edge_s: Silence kept at each end.
    """

    min_s: float = 1.0
    max_s: float = 30.0
    min_sound_s: float = 0.5
    edge_s: float = 0.05


def check_samples(samples: NDArray[np.float32]) -> None:
    """Refuse numbers that are no signal.

    Args:
        samples: Any shape, full scale -1..1.

    Raises:
        VoiceAudioError: A sample is NaN, infinite or beyond :data:`MAX_PEAK`.
    """
    finite = np.isfinite(samples)
    if not finite.all():
        raise VoiceAudioError(
            f"{int((~finite).sum())} of {samples.size} samples are not finite numbers; "
            "export the recording again, best with 16 bits",
            PARAM,
        )
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > MAX_PEAK:
        raise VoiceAudioError(
            f"the recording reaches {peak:.3g} times full scale, the limit is {MAX_PEAK:g}; "
            "export it again, best with 16 bits",
            PARAM,
        )


def centred(mono: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """*mono* without its offset and what swings slower than about 10 Hz.

    Two moving means over 50 ms are taken off. A mean over the whole would not do: speech has one
    of its own, which would then stand as an offset in the silence around it. To be done before
    resampling, which makes a click of an offset that ends with the file.

    Args:
        mono: Shape ``(n,)``, finite.
        rate_hz: Its rate.
    """
    if not len(mono):
        return mono
    half = round(rate_hz * _SWAY_S / 2)
    width = 2 * half + 1
    sway = mono.astype(np.float64)
    for _ in range(2):
        # Mirrored at the ends; one more in front, for a sum up to before the first sample.
        sums = np.cumsum(np.pad(sway, (half + 1, half), mode="reflect"))
        sway = (sums[width:] - sums[:-width]) / width
    return (mono - sway).astype(np.float32)


def voice_pcm(mono: NDArray[np.float32], rules: VoiceRules | None = None) -> Pcm:
    """The samples of a voice: at :data:`TARGET_DBFS`, trimmed.

    Args:
        mono: Shape ``(n,)``, 24 kHz, full scale -1..1, centred (:func:`centred`).
        rules: Bounds of its length.

    Returns:
        Shape ``(m,)`` with m a multiple of 120 (5 ms).

    Raises:
        VoiceAudioError: It is not finite, silent, too quiet, made of bangs, or too short or long.
    """
    rules = rules or VoiceRules()
    check_samples(mono)
    framed = mono[: len(mono) // FRAME_SAMPLES * FRAME_SAMPLES].astype(np.float64)
    if not len(framed):
        raise VoiceAudioError("the recording is empty; send 1 to 30 s of speech", PARAM)
    return _trimmed(_levelled(framed), rules)


def _levelled(mono: NDArray[np.float64]) -> Pcm:
    """*mono* with the gain that brings it to the target, limited, as 16 bits."""
    first = _linear_step(np.square(mono).reshape(-1, FRAME_SAMPLES).mean(axis=1))
    last = min(first + round(_MAX_LIMITED_DB * STEPS_PER_DB), _STEPS[-1])
    for step in range(first, last + 1):
        pcm = _gained(mono, step)
        energies = frame_energies(pcm)
        loud = energies[_loud_frames(energies)]
        samples = len(loud) * FRAME_SAMPLES
        if samples and level_steps(int(loud.sum()), samples) >= TARGET_DBFS * STEPS_PER_DB:
            return pcm
    raise _bangs()


def _linear_step(powers: NDArray[np.float64]) -> int:
    """Gain in steps with which the sounding frames just reach the target, limiter aside.

    With more gain more frames count as sound, which pulls their mean down: the level climbs in
    parts and falls in jumps, and may reach the target at several gains, with a bang as the only
    sound or with the noise of the room as sound. That one is taken which is nearest to the gain
    that brings the typical frame there: the median weighted by amplitude, which neither many
    silent frames nor a few bangs move far.

    Args:
        powers: Mean square of each frame, full scale 1; shape ``(frames,)``.

    Raises:
        VoiceAudioError: It is silent, too quiet for a gain of 20 dB, or bangs make up its level.
    """
    steps = np.arange(_STEPS.start, _STEPS.stop)
    gains = 10.0 ** (steps / (10 * STEPS_PER_DB))
    ranked = np.sort(powers)[::-1]
    sums = np.concatenate(([0.0], np.cumsum(ranked)))
    counts = np.searchsorted(-ranked, -(10 ** (SILENCE_DBFS / 10)) / gains, side="right")
    if not counts[-1]:
        raise VoiceAudioError("the recording is silent; send 1 to 30 s of speech", PARAM)
    amplitudes = np.cumsum(np.sqrt(ranked))
    typical_db = 10 * math.log10(ranked[np.searchsorted(amplitudes, amplitudes[-1] / 2)])
    levels = gains * sums[counts] / np.maximum(counts, 1)
    enough = levels >= 10 ** ((TARGET_DBFS - 0.5 / STEPS_PER_DB) / 10)
    reached = np.flatnonzero(enough[1:] & ~enough[:-1]) + 1
    if not len(reached):
        level_db = 10 * math.log10(levels[-1]) - MAX_GAIN_DB
        raise VoiceAudioError(
            f"the recording is too quiet: its sound stands at {level_db:.1f} dBFS, the limit is "
            f"{TARGET_DBFS - MAX_GAIN_DB:.1f} dBFS; record it nearer or louder",
            PARAM,
        )
    off_db = typical_db + steps[reached] / STEPS_PER_DB - TARGET_DBFS
    best = int(np.argmin(np.abs(off_db)))
    if off_db[best] < -_MAX_BANGS_DB:
        raise _bangs()
    return int(steps[reached[best]])


def _bangs() -> VoiceAudioError:
    return VoiceAudioError(
        f"the recording can't be brought to the common level of {TARGET_DBFS:g} dBFS: short bangs "
        "or clicks stand far above the rest; cut them out",
        PARAM,
    )


def _gained(mono: NDArray[np.float64], step: int) -> Pcm:
    """*mono* with a gain in steps, bent above the knee as :func:`level.gain_table` does.

    In floats, so that a quiet recording of 24 bits is not rounded to 16 before its gain.
    """
    height = np.abs(mono) * (FULL_SCALE * 10 ** (step / (20 * STEPS_PER_DB)))
    knee = FULL_SCALE * 10 ** (LIMITER_DBFS / 20)
    room = FULL_SCALE - 1 - knee
    over = np.maximum(height - knee, 0.0)
    bent = np.minimum(height, knee) + over * room / (over + room)
    pcm: Pcm = np.rint(np.copysign(bent, mono)).astype(np.int16)
    return pcm


def _loud_frames(energies: NDArray[np.int64]) -> NDArray[np.intp]:
    """Positions of the frames that are not silent."""
    return np.flatnonzero(energies >= power_limit(SILENCE_DBFS) * FRAME_SAMPLES)


def _trimmed(pcm: Pcm, rules: VoiceRules) -> Pcm:
    """*pcm* from a little before its first sound to a little behind its last, length checked."""
    loud = _loud_frames(frame_energies(pcm))
    edge = samples_of(rules.edge_s) // FRAME_SAMPLES
    start = max(0, int(loud[0]) - edge)
    kept = pcm[start * FRAME_SAMPLES : (int(loud[-1]) + 1 + edge) * FRAME_SAMPLES]
    length_s = duration_s(len(kept))
    sound_s = duration_s(len(loud) * FRAME_SAMPLES)
    if not rules.min_s <= length_s <= rules.max_s:
        raise VoiceAudioError(
            f"the recording is {length_s:.2f} s long without the silence at its ends, a voice "
            f"needs {rules.min_s:g} to {rules.max_s:g} s; 10 to 30 s of plain speech are best",
            PARAM,
        )
    if sound_s < rules.min_sound_s:
        raise VoiceAudioError(
            f"the recording holds {sound_s:.2f} s of sound, a voice needs {rules.min_sound_s:g} s; "
            "10 to 30 s of plain speech are best",
            PARAM,
        )
    # A copy, so that a long recording isn't kept alive by a short voice.
    return kept.copy()
