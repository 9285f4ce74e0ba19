"""Reference recordings of voices, from files.

The engine asks a :class:`VoiceSource` and nothing else, so that a library of voices can stand in
its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from serve_app.core.audio import SAMPLE_RATE_HZ
from serve_app.errors import ConfigError

MIN_S: Final = 1.0
MAX_S: Final = 30.0
"""Longer recordings make nothing better, and encoding them is the peak of memory."""

Samples = NDArray[np.float32]


class VoiceSource(Protocol):
    """Where recordings come from."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Voices there are, in the order in which speakers take them by default."""
        ...

    def samples(self, voice_id: str) -> Samples:
        """A recording, mono at 24 kHz, shape ``(n,)``.

        Raises:
            ConfigError: It can't be had or is no recording of a voice.
        """
        ...


class FileVoices:
    """Voices from files that soundfile reads (WAV, FLAC, OGG, MP3).

    Args:
        paths: By id, in order.

    Raises:
        ConfigError: There are none.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        if not paths:
            raise ConfigError(
                "the vibevoice engine has no voices; name at least one recording in "
                "engine options: voices: {id: path}",
                "engine",
            )
        self._paths = {voice: Path(path) for voice, path in paths.items()}

    @property
    def ids(self) -> tuple[str, ...]:
        """See :class:`VoiceSource`."""
        return tuple(self._paths)

    def samples(self, voice_id: str) -> Samples:
        """See :class:`VoiceSource`; several channels are mixed to one."""
        path = self._paths[voice_id]
        try:
            sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"voice {voice_id!r}: can't read {path}: {error}", "engine"
            ) from error
        length_s = sound.shape[0] / rate_hz
        if not np.isfinite(sound).all():
            raise ConfigError(
                f"voice {voice_id!r}: {path} holds NaN or infinity; record it again", "engine"
            )
        if not MIN_S <= length_s <= MAX_S:
            raise ConfigError(
                f"voice {voice_id!r}: {path} lasts {length_s:.1f} s; give {MIN_S:.0f} to "
                f"{MAX_S:.0f} s",
                "engine",
            )
        mono = sound.mean(axis=1, dtype=np.float32)
        same = rate_hz == SAMPLE_RATE_HZ
        return checked(voice_id, mono if same else soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ))


def checked(voice_id: str, samples: NDArray[np.floating]) -> Samples:
    """What a model may be given.

    Raises:
        ConfigError: Not mono, not finite, silent, or shorter than 1 s or longer than 30 s.
    """
    what = ""
    if samples.ndim != 1:
        what = f"has the shape {samples.shape}; give mono samples"
    elif not MIN_S <= samples.size / SAMPLE_RATE_HZ <= MAX_S + 0.01:
        seconds = samples.size / SAMPLE_RATE_HZ
        what = f"lasts {seconds:.1f} s; give {MIN_S:.0f} to {MAX_S:.0f} s"
    elif not np.isfinite(samples).all():
        what = "holds numbers that are no sound (NaN or infinite)"
    elif not np.abs(samples).max() > 1e-4:
        what = "is silent"
    if what:
        raise ConfigError(f"voice {voice_id!r} {what}", "engine")
    return samples.astype(np.float32, copy=False)
