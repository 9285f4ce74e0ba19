"""Changes to the voice library, as an ingress makes them without blocking.

The library's calls ask the store, and an upload is decoded. Threads of the desk's own do that, so
that a slow store takes none from those that encode audio; what has too long a queue is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from serve_app.errors import NotReadyError, OverloadedError
from serve_app.voice_record import VoiceRecord
from serve_app.voice_roster import VoiceRoster

_P = ParamSpec("_P")
_T = TypeVar("_T")
_THREADS: Final = 2


class VoiceDesk:
    """Reads and changes single voices; for one event loop.

    Args:
        roster: The ingress' copy of the library; it is told of changes.
        wait_s: Longest wait for an answer.
        most: Calls at once; one more is refused.
    """

    def __init__(self, roster: VoiceRoster, *, wait_s: float = 30.0, most: int = 8) -> None:
        self._roster, self._library = roster, roster.library
        self._wait_s, self._most, self._running = wait_s, most, 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="voices")

    async def get(self, voice_id: str) -> VoiceRecord:
        """One voice; errors as of ``VoiceLibrary.get``, and those of :meth:`add`."""
        return await self._call(self._library.get, voice_id)

    async def audio(self, voice_id: str) -> bytes:
        """Its FLAC file; errors as of ``VoiceLibrary.audio``, and those of :meth:`add`."""
        return await self._call(self._library.audio, voice_id)

    async def add(self, name: str, data: bytes, consent: str) -> VoiceRecord:
        """Make a voice of a recording; errors as of ``VoiceLibrary.add``, and these.

        Raises:
            NotReadyError: The store was too slow; the change may still come.
            OverloadedError: Too many calls run.
        """
        return await self._call(self._changing(self._library.add), name, data, consent)

    async def delete(self, voice_id: str) -> None:
        """Remove a voice; errors as of ``VoiceLibrary.delete``, and those of :meth:`add`."""
        await self._call(self._changing(self._library.delete), voice_id)

    def close(self) -> None:
        """Start nothing more; what hangs is left to its thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _changing(self, change: Callable[_P, _T]) -> Callable[_P, _T]:
        """*change*, after which the roster knows that it is old, whoever still waits for it."""
        tell = partial(asyncio.get_running_loop().call_soon_threadsafe, self._roster.changed)

        def changed(*args: _P.args, **more: _P.kwargs) -> _T:
            try:
                return change(*args, **more)
            finally:
                tell()

        return changed

    async def _call(self, work: Callable[..., _T], *args: object) -> _T:
        if self._running >= self._most:
            raise OverloadedError(
                f"{self._running} calls to the voice library run, which is the limit; try again "
                "shortly."
            )
        self._running += 1
        call = asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args))
        call.add_done_callback(self._ended)
        await asyncio.wait({call}, timeout=self._wait_s)
        if not call.done():
            raise NotReadyError(
                f"The voice library gave no answer within {self._wait_s:g} s; try again shortly."
            )
        return call.result()

    def _ended(self, call: asyncio.Future[_T]) -> None:
        self._running -= 1
        if not call.cancelled():
            call.exception()  # told to who waits; nobody else needs to hear of it
