"""A recogniser that listens to what was spoken (the extra ``asr``: faster-whisper).

It has a thread of its own, in which the model is loaded at its first use. It takes one segment at a
time; a few may wait, more are not heard at all: the check is a help, and never slows speech down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
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

ASR_RATE_HZ: Final = 16_000
MAX_AUDIO_S: Final = 300.0
"""Longer than any segment; a take that runs on is judged by its length."""

_UP: Final = 2
_DOWN: Final = 3
_TAPS: Final = 96
_SIMPLIFIED: Final = "以下是普通话的句子。"
"""Makes the model write simplified signs, which the text most likely has."""


class AsrChecker:
    """Listens to segments.

    Args:
        model_path: Folder of a CTranslate2 Whisper model; nothing is downloaded.
        languages: What the model knows; other segments are not heard.
        threads: CPU threads of the model.
        timeout_s: For one segment, waiting included.
        max_waiting: Segments that wait or are heard at once; further ones are not heard.

    Raises:
        ConfigError: There is no model in the folder, or faster-whisper is not installed.
    """

    def __init__(
        self,
        model_path: str,
        *,
        languages: Iterable[Language] = ("en", "zh"),
        threads: int = 1,
        timeout_s: float = 120.0,
        max_waiting: int = 8,
    ) -> None:
        _require(model_path)
        self._path, self._threads = model_path, threads
        self._languages = frozenset(languages)
        self._timeout_s, self._max_waiting = timeout_s, max_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="asr")
        self._model: WhisperModel | None = None
        self._waiting = 0

    async def check(
        self, pcm: Pcm, text: str, language: Language
    ) -> tuple[Hearing, tuple[Anchor, ...]] | None:
        """Listen to one segment.

        Args:
            pcm: Its audio.
            text: All that it says, its utterances joined by spaces.
            language: Of the text.
        Returns:
            How what was heard compares with the text, and when its words begin; None if it was
            not heard: too many wait, it took too long, or its language or length is not for this
            model.
        Raises:
            ConfigError: The model can't be loaded.
        """
        unfit = language not in self._languages or duration_s(len(pcm)) > MAX_AUDIO_S
        if unfit or self._waiting >= self._max_waiting:
            return None
        self._waiting += 1
        future = self._thread.submit(self._hear, pcm, text, language)
        # Counted until the thread is done with it: a time-out does not stop a recogniser.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _call(loop, self._left))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if future.cancelled() and task is not None and not task.cancelling():
                return None  # close() took it from the queue; nobody cancelled the caller
            raise

    def close(self) -> None:
        """Stop the thread behind the segment it listens to; waiting ones are not heard. Blocks."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _left(self) -> None:
        self._waiting -= 1

    def _hear(self, pcm: Pcm, text: str, language: Language) -> tuple[Hearing, tuple[Anchor, ...]]:
        if self._model is None:
            self._model = _load(self._path, self._threads)
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


def _call(loop: asyncio.AbstractEventLoop, left: Callable[[], None]) -> None:
    """Run *left* in the loop, unless that has ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(left)


def _require(model_path: str) -> None:
    if not (Path(model_path) / "model.bin").is_file():
        raise ConfigError(
            f"There is no CTranslate2 Whisper model in {model_path!r} (no model.bin); set the path "
            "of its folder, or switch the check off.",
            "asr",
        )
    if find_spec("faster_whisper") is None:
        raise ConfigError(
            "The speech check needs the extra asr: pip install 'vibevoice-serve[asr]'.", "asr"
        )


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
