"""Whether a store can be written to, found out by writing: bounded, and not at every question."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from serve_app.config import VoiceSettings
from serve_app.errors import ServeError
from serve_app.jobs.folder import Folder
from serve_app.jobs.settings import JobSettings
from serve_app.voice_store import FolderStore

_FRESH_S: Final = 15.0
_WAIT_S: Final = 3.0


class StoreProbe:
    """Tries a store at most every few seconds, one try at a time in a thread of its own.

    Args:
        name: What the store holds, for messages.
        attempt: Writes and takes away something; blocks.
        fresh_s: So long a result stands.
        wait_s: Longest wait for a try.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        attempt: Callable[[], None],
        *,
        fresh_s: float = _FRESH_S,
        wait_s: float = _WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._attempt = name, attempt
        self._fresh_s, self._wait_s, self._clock = fresh_s, wait_s, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-probe")
        self._last: tuple[float, Future[str | None]] | None = None

    async def problem(self) -> str | None:
        """Why the store can't be written to, or None."""
        if self._last is None or (
            self._last[1].done() and self._clock() - self._last[0] >= self._fresh_s
        ):
            self._last = (self._clock(), self._thread.submit(self._try))
        trying = asyncio.wrap_future(self._last[1])
        try:
            async with asyncio.timeout(self._wait_s):
                # Shielded: the thread goes on, and its result serves who asks next.
                return await asyncio.shield(trying)
        except TimeoutError:
            return f"the {self._name} has not answered for {self._wait_s:g} s"

    def _try(self) -> str | None:
        try:
            self._attempt()
        except ServeError as error:
            return f"the {self._name} can't be written to: {error.message}"
        except Exception as error:  # noqa: BLE001 - any backend's own error is an answer here
            return f"the {self._name} can't be written to ({type(error).__name__})"
        return None

    def close(self) -> None:
        """Try no more; a try that hangs is left to its thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def job_store_probe(settings: JobSettings | None) -> StoreProbe | None:
    """The probe of the jobs' store; None where there are no jobs.

    Raises:
        ConfigError: Its path has no usable backend.
    """
    if settings is None:
        return None
    folder = Folder(settings.store, settings.store_options)

    def attempt() -> None:
        name = f".probe-{uuid.uuid4().hex}"
        folder.write(name, b"")
        folder.remove(name)

    return StoreProbe("job store", attempt)


def voice_store_probe(settings: VoiceSettings) -> StoreProbe | None:
    """The probe of the configured voice library; None where there is none.

    Raises:
        ConfigError: Its path has no usable backend.
    """
    if settings.path is None:
        return None
    store = FolderStore(settings.path, settings.storage)

    def attempt() -> None:
        name = f".probe-{uuid.uuid4().hex}"
        store.write(name, b"")
        store.remove(name)

    return StoreProbe("voice library", attempt)
