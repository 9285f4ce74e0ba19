"""Reference recordings of voices: what the engine asks for, and those named in its options.

The engine asks a :class:`VoiceSource` and nothing else; the voice library stands behind the same
face (:mod:`serve_app.engines.vibevoice_library`).
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from serve_app.core.audio import FULL_SCALE, SAMPLE_RATE_HZ, Pcm
from serve_app.errors import ConfigError, VoiceAudioError
from serve_app.voice_file import MAX_UPLOAD_BYTES
from serve_app.voice_upload import voice_from_upload

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
        """A recording, mono at 24 kHz, shape ``(n,)``; the same one as long as the source lives.

        Raises:
            ServeError: It can't be had.
        """
        ...


class FileVoices:
    """Voices from files, checked and levelled as uploads to the voice library are.

    The files are read once: one that changes later is another voice after the next start.

    Args:
        paths: By id, in order.

    Raises:
        ConfigError: A file can't be read or can't become a voice.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._kept = {voice: _read(voice, Path(path)) for voice, path in paths.items()}

    @property
    def ids(self) -> tuple[str, ...]:
        """See :class:`VoiceSource`."""
        return tuple(self._kept)

    def samples(self, voice_id: str) -> Samples:
        """See :class:`VoiceSource`."""
        return samples_of_pcm(self._kept[voice_id])


def samples_of_pcm(pcm: Pcm) -> Samples:
    """16-bit samples as the model takes them, full scale -1..1."""
    return pcm.astype(np.float32) / np.float32(FULL_SCALE)


def content_of(voices: VoiceSource) -> str:
    """Hash of all recordings and their ids, 12 hexadecimal digits.

    Raises:
        VoiceAudioError: One is nothing that a model may be given.
    """
    digest = sha256()
    for voice in voices.ids:
        samples = checked(voice, voices.samples(voice))
        digest.update(sha256(voice.encode()).digest() + sha256(samples.tobytes()).digest())
    return digest.hexdigest()[:12]


def checked(voice_id: str, samples: NDArray[np.floating]) -> Samples:
    """What a model may be given.

    Raises:
        VoiceAudioError: Not mono, not finite, silent, or shorter than 1 s or longer than 30 s.
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
        raise VoiceAudioError(f"voice {voice_id!r} {what}", "voice")
    return samples.astype(np.float32, copy=False)


def _read(voice_id: str, path: Path) -> Pcm:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_UPLOAD_BYTES + 1)
        return voice_from_upload(data).pcm
    except OSError as error:
        raise ConfigError(f"voice {voice_id!r}: can't read {path}: {error}", "engine") from error
    except VoiceAudioError as error:
        raise ConfigError(f"voice {voice_id!r}, {path}: {error}", "engine") from error
