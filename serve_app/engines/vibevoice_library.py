"""The voice library on a replica: a voice is read when a segment first asks for it.

A voice's id is the hash of its samples, so what was read once never changes and needs no second
look: a voice added on another machine is found by its first segment, and the segments that already
have a deleted one finish with it. What is read stays in memory up to a bound.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

import numpy as np

from serve_app.core.audio import SAMPLE_RATE_HZ, Pcm
from serve_app.engines.lru import ByteLru
from serve_app.engines.slots import closed_error
from serve_app.engines.vibevoice_voices import Samples, VoiceSource, samples_of_pcm
from serve_app.errors import EngineError, NotFoundError, NotReadyError, UnknownVoiceError
from serve_app.voice_record import VOICE_ID
from serve_app.voices import VoiceLibrary

KEPT_BYTES: Final = 64 << 20
"""Recordings kept in memory: 46 of 30 s."""

FETCH_TIMEOUT_S: Final = 20.0

TEST_VOICE: Final = "test-voice"
"""A sound made by arithmetic, for the warm-up of an engine that has no recording yet."""

_TEST_S: Final = 3.0


class LibraryVoices:
    """Recordings of the voice library; :meth:`held` on one event loop, :meth:`pcm` anywhere.

    Args:
        library: Where they are.
        kept_bytes: Bound of what stays in memory besides what segments hold.
        timeout_s: For reading one voice.
    """

    def __init__(
        self,
        library: VoiceLibrary,
        *,
        kept_bytes: int = KEPT_BYTES,
        timeout_s: float = FETCH_TIMEOUT_S,
    ) -> None:
        self._library, self._timeout_s = library, timeout_s
        self._kept: ByteLru[str, Pcm] = ByteLru(kept_bytes, lambda pcm: pcm.nbytes)
        self._held: dict[str, Pcm] = {}
        self._holders: Counter[str] = Counter()
        # One thread: of many segments that ask for a new voice at once, one reads it.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="voices")
        self._closed = False

    @asynccontextmanager
    async def held(self, voice_ids: Iterable[str]) -> AsyncIterator[None]:
        """Read voices and keep them in memory for the length of a block.

        Args:
            voice_ids: Ids of the library; others are passed over.

        Raises:
            UnknownVoiceError: The library has no such voice.
            ServeError: Its record or audio is damaged.
            EngineError: The store can't be reached, or not in time, or the engine was closed.
        """
        mine: list[str] = []
        try:
            for voice in voice_ids:
                if is_library_id(voice):
                    self._held[voice] = await self._fetched(voice)
                    self._holders[voice] += 1
                    mine.append(voice)
            yield
        finally:
            for voice in mine:
                self._holders[voice] -= 1
                if not self._holders[voice]:
                    del self._holders[voice], self._held[voice]

    def pcm(self, voice_id: str) -> Pcm:
        """Samples of a voice; blocks while it is read, if no one holds it.

        Raises:
            UnknownVoiceError, ServeError, NotReadyError: See :meth:`held`.
        """
        known = self._held.get(voice_id)
        if known is None:
            known = self._kept.get(voice_id)
        return self._read(voice_id) if known is None else known

    def close(self) -> None:
        """Start no more reading; idempotent."""
        self._closed = True
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def _fetched(self, voice_id: str) -> Pcm:
        known = self._held.get(voice_id)
        if known is not None:
            return known
        if self._closed:
            raise closed_error()
        reading = asyncio.get_running_loop().run_in_executor(self._reader, self.pcm, voice_id)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await reading
        except asyncio.CancelledError:
            if self._closed and reading.cancelled():  # by close(), and not by the caller's end
                raise closed_error() from None
            raise
        except TimeoutError as error:
            raise EngineError(
                f"voice {voice_id} was not read within {self._timeout_s:g} s; the voice store is "
                "slow or gone"
            ) from error
        except NotReadyError as error:
            raise EngineError(f"voice {voice_id} can't be read: {error}") from error

    def _read(self, voice_id: str) -> Pcm:
        try:
            return self._kept.put(voice_id, self._library.pcm(voice_id))
        except NotFoundError as error:
            raise UnknownVoiceError(
                f"the library has no voice {voice_id!r} (any more); GET /v1/audio/voices lists "
                "them",
                "voice",
            ) from error


class JoinedVoices:
    """A :class:`VoiceSource` over fixed voices, the library's and the test voice.

    Args:
        fixed: Voices that are there from the start.
        library: The others, or None.
    """

    def __init__(self, fixed: VoiceSource, library: LibraryVoices | None) -> None:
        self._fixed, self._library = fixed, library

    @property
    def ids(self) -> tuple[str, ...]:
        """The fixed voices."""
        return self._fixed.ids

    def samples(self, voice_id: str) -> Samples:
        """See :class:`VoiceSource`."""
        if voice_id in self._fixed.ids:
            return self._fixed.samples(voice_id)
        if voice_id == TEST_VOICE:
            return test_voice()
        if self._library is None:
            raise UnknownVoiceError(f"there is no voice {voice_id!r}", "voice")
        return samples_of_pcm(self._library.pcm(voice_id))


def is_library_id(voice_id: str) -> bool:
    """Whether *voice_id* looks like one of the voice library."""
    return re.fullmatch(VOICE_ID, voice_id) is not None


def test_voice() -> Samples:
    """Harmonics of 120 Hz that swell three times a second; always the same."""
    times = np.arange(round(_TEST_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    wave = sum(np.sin(2 * math.pi * 120 * k * times) / k for k in range(1, 9))
    swell = 0.1 + np.abs(np.sin(3 * math.pi * times))
    return (0.05 * wave * swell).astype(np.float32)
