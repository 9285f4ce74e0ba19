"""A recogniser that listens to what was spoken (the extra ``asr``: faster-whisper).

Everything here blocks for as long as a recogniser takes, which is a tenth of the audio's length and
more: :mod:`serve_app.jobs.hear_work` runs it in a process of its own.
"""

from __future__ import annotations

from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import machine
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from serve_app.core.asr_check import HeardWord, Hearing, anchors, compare
from serve_app.core.audio import FULL_SCALE, SAMPLE_RATE_HZ, Pcm, duration_s
from serve_app.core.letter_clock import Anchor
from serve_app.core.spoken.rule import Language
from serve_app.errors import ConfigError

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

ALGORITHM: Final = 1
"""Raised whenever the same audio and text are judged differently."""

ASR_RATE_HZ: Final = 16_000
MAX_AUDIO_S: Final = 300.0
"""Longer than any segment; a take that runs on is judged by its length."""

_UP: Final = 2
_DOWN: Final = 3
_TAPS: Final = 96
_BLOCK_BYTES: Final = 2**20
_LIBRARIES: Final = ("faster-whisper", "ctranslate2", "numpy")
_SIMPLIFIED: Final = "以下是普通话的句子。"
"""Makes the model write simplified signs, which the text most likely has."""


class Recogniser:
    """Listens to segments, one at a time; the same audio and text give the same answer.

    Args:
        model_path: Folder of a CTranslate2 Whisper model; nothing is downloaded.
        threads: CPU threads of the model.

    Raises:
        ConfigError: There is no model in the folder, it can't be loaded, or faster-whisper is not
            installed.
    """

    def __init__(self, model_path: str, threads: int = 1) -> None:
        require_model(model_path)
        self._model = _load(model_path, threads)

    def hear(
        self, pcm: Pcm, text: str, language: Language
    ) -> tuple[Hearing, tuple[Anchor, ...]] | None:
        """Listen to one segment; blocks.

        Args:
            pcm: Its audio.
            text: All that it says, its utterances joined by spaces.
            language: Of the text.
        Returns:
            How what was heard compares with the text, and when its words begin; None if its
            language or length is not for this model.
        """
        if language not in self._model.supported_languages or duration_s(len(pcm)) > MAX_AUDIO_S:
            return None
        segments, _ = self._model.transcribe(
            to_asr_rate(pcm),
            language=language,
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            initial_prompt=_SIMPLIFIED if language == "zh" else None,
            word_timestamps=True,
        )
        heard = [
            HeardWord(word.word, float(word.start))
            for segment in segments
            for word in segment.words or ()
        ]
        said = " ".join(word.text.strip() for word in heard)
        return compare(text, said, language), anchors(text, heard, language)


def require_model(model_path: str) -> None:
    """Check what can be checked without loading the model.

    Raises:
        ConfigError: There is no model in the folder, or faster-whisper is not installed.
    """
    if not (Path(model_path) / "model.bin").is_file():
        raise ConfigError(
            f"There is no CTranslate2 Whisper model in {model_path!r} (no model.bin); set the path "
            "of its folder, or switch the check off.",
            "asr",
        )
    try:
        version(_LIBRARIES[0])
    except PackageNotFoundError:
        raise ConfigError(
            "The speech check needs the extra asr: pip install 'vibevoice-serve[asr]'.", "asr"
        ) from None


def revision(model_path: str) -> str:
    """Names all that decides what is heard; reads the whole model, so it blocks.

    Raises:
        ConfigError: As of :func:`require_model`, or the model can't be read.
    """
    require_model(model_path)
    state = blake2b(digest_size=16)
    try:
        for path in sorted(Path(model_path).iterdir()):
            if path.is_file():
                state.update(f"{path.name}\0{path.stat().st_size}\0".encode())
                with path.open("rb") as file:
                    while data := file.read(_BLOCK_BYTES):
                        state.update(data)
    except OSError as error:
        raise ConfigError(
            f"The Whisper model in {model_path!r} can't be read: {error.strerror}.", "asr"
        ) from error
    libraries = "+".join(f"{name}-{version(name)}" for name in _LIBRARIES)
    return f"{libraries}+{machine()}+model-{state.hexdigest()}+a{ALGORITHM}"


def to_asr_rate(pcm: Pcm) -> NDArray[np.float32]:
    """24 kHz samples at the recogniser's 16 kHz, -1..1, shape ``(ceil(2 n / 3),)``.

    A windowed sinc of 97 taps at 48 kHz, cut off at 7.6 kHz, of which only the samples needed are
    computed.
    """
    taps = np.arange(-_TAPS // 2, _TAPS // 2 + 1)
    cutoff = 2 * 7_600 / (SAMPLE_RATE_HZ * _UP)
    kernel = np.sinc(taps * cutoff) * np.blackman(len(taps)) * cutoff * _UP
    size = -(-len(pcm) * _UP // _DOWN)
    edge = _TAPS // 2 // _UP + _DOWN
    padded = np.pad(pcm.astype(np.float32) / FULL_SCALE, (edge, edge + _DOWN))
    out = np.zeros(size, dtype=np.float32)
    for phase in range(_UP):
        # Output k stands at 3k of the doubled signal; even and odd k see different taps.
        at = np.arange(phase, size, _UP) * _DOWN
        for tap, weight in zip(taps, kernel, strict=True):
            if (phase * _DOWN + tap) % _UP == 0:
                out[phase::_UP] += np.float32(weight) * padded[(at + tap) // _UP + edge]
    return out


def _load(path: str, threads: int) -> WhisperModel:
    from faster_whisper import WhisperModel  # noqa: PLC0415 - an extra

    try:
        return WhisperModel(
            path, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"The Whisper model in {path!r} can't be loaded: {error}. Convert it anew with "
            "ct2-transformers-converter.",
            "asr",
        ) from error
