"""The voices of the library as an ingress lists them: a copy that is at most so old.

The library's own calls block and ask the store. A request needs the names at once, so a thread of
the roster's own reads them, one reading at a time however many ask, and a store that is slow or
gone for a while leaves the last copy in use.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from serve_app.config import VoiceSettings
from serve_app.engines.base import EngineInfo, Voice
from serve_app.errors import NotReadyError
from serve_app.readiness import Readiness, Replicas
from serve_app.voice_record import VoiceRecord
from serve_app.voices import VoiceLibrary


@dataclass(frozen=True, slots=True)
class _Copy:
    """What the library held when it was asked, and how many changes were known then."""

    read_s: float
    changes: int
    voices: tuple[VoiceRecord, ...]


class VoiceRoster:
    """Lists a library without blocking; for one event loop.

    Args:
        library: The library.
        fresh_s: A copy of this age needs no look at the store.
        stale_s: A copy of this age still serves while the store can't be reached.
        wait_s: Longest wait for a reading.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        library: VoiceLibrary,
        *,
        fresh_s: float = 2.0,
        stale_s: float = 300.0,
        wait_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.library = library
        self._fresh_s, self._stale_s, self._wait_s = fresh_s, stale_s, wait_s
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="roster")
        self._known: _Copy | None = None
        self._changes = 0
        self._reading: tuple[asyncio.Task[None], float] | None = None

    def changed(self) -> None:
        """Say that a voice was added or deleted here: copies begun before it are old."""
        self._changes += 1

    async def voices(self) -> tuple[VoiceRecord, ...]:
        """Usable voices, oldest first; within twice ``wait_s``.

        Raises:
            NotReadyError: The store can't be reached, and no copy is young enough.
        """
        asked_s, problem = self._clock(), "the store is slow"
        while not self._is_fresh(asked_s):
            reading, since_s = self._reading or self._begin()
            left_s = since_s + self._wait_s - self._clock()
            await asyncio.wait({reading}, timeout=max(0.0, left_s))
            if not reading.done():
                break
            if self._reading is not None and self._reading[0] is reading:
                self._reading = None
            if error := reading.exception():
                problem = str(error)
                break
        if self._known is not None and self._clock() - self._known.read_s <= self._stale_s:
            return self._known.voices
        raise NotReadyError(f"the voices can't be listed: {problem}; try again shortly")

    async def extended(self, engine: EngineInfo) -> EngineInfo:
        """*engine* with the library's voices behind its own, if it speaks with them.

        Raises:
            NotReadyError: See :meth:`voices`.
        """
        if not engine.library_languages:
            return engine
        added = tuple(
            Voice(record.id, record.name, engine.library_languages)
            for record in await self.voices()
        )
        return replace(engine, voices=(*engine.voices, *added))

    async def close(self) -> None:
        """Start no more reading; one that hangs is left to its thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._reading is not None:
            self._reading[0].cancel()
            await asyncio.wait({self._reading[0]})

    def _is_fresh(self, asked_s: float) -> bool:
        known = self._known
        if known is None or known.changes != self._changes:
            return False
        return known.read_s >= asked_s or self._clock() - known.read_s <= self._fresh_s

    def _begin(self) -> tuple[asyncio.Task[None], float]:
        self._reading = asyncio.create_task(self._read()), self._clock()
        return self._reading

    async def _read(self) -> None:
        started_s, changes = self._clock(), self._changes
        loop = asyncio.get_running_loop()
        listing = await loop.run_in_executor(self._thread, self.library.list)
        self._known = _Copy(started_s, changes, listing.voices)


class LibraryReplicas:
    """Replicas whose engine facts name the library's voices too, as :class:`Replicas` does.

    Args:
        replicas: The replicas.
        roster: The library's voices.
    """

    def __init__(self, replicas: Replicas, roster: VoiceRoster) -> None:
        self._replicas, self._roster = replicas, roster

    async def engine(self) -> EngineInfo:
        """See :class:`Replicas`.

        Raises:
            NotReadyError: No replica has answered yet, or the voices can't be listed.
        """
        return await self._roster.extended(await self._replicas.engine())

    async def readiness(self) -> Readiness:
        """See :class:`Replicas`."""
        return await self._replicas.readiness()


def open_roster(settings: VoiceSettings) -> VoiceRoster | None:
    """The roster of the configured library, or None where there is none.

    Raises:
        ConfigError: Its path has no usable backend.
    """
    if settings.path is None:
        return None
    library = VoiceLibrary(settings.path, options=settings.storage, max_voices=settings.max_voices)
    return VoiceRoster(library)
