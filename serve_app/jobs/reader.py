"""Finished files read from the store in threads, so that no event loop waits for a disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from serve_app.errors import NotReadyError
from serve_app.jobs.folder import Folder

_THREADS: Final = 4
_BLOCK_BYTES: Final = 512 * 1024
_BLOCK_TIMEOUT_S: Final = 60.0


class FileReader:
    """Reads what a runner has made; any process may that reaches the store.

    Args:
        folder: The store.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="job-files")

    async def blocks(
        self, job_id: str, name: str, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        """Bytes ``start <= at < stop`` of a job's file.

        Raises:
            FileNotFoundError: It is gone.
            NotReadyError: The store can't be reached, or is too slow.
        """
        path = f"jobs/{job_id}/output/{name}"
        reading = _Reading(self._folder.blocks(path, start, stop, _BLOCK_BYTES))
        loop = asyncio.get_running_loop()
        try:
            while True:
                async with asyncio.timeout(_BLOCK_TIMEOUT_S):
                    data = await loop.run_in_executor(self._threads, reading.next)
                if data is None:
                    return
                yield data
        except TimeoutError:
            raise NotReadyError("the job store is too slow; try again shortly") from None
        finally:
            self._threads.submit(reading.close)

    def close(self) -> None:
        """Start nothing more; what hangs is left to its thread."""
        self._threads.shutdown(wait=False)


class _Reading:
    """An open file; whoever was cancelled may still be in a thread when it is closed."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks: Iterator[bytes] | None = blocks
        self._lock = threading.Lock()

    def next(self) -> bytes | None:
        with self._lock:
            return None if self._blocks is None else next(self._blocks, None)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._blocks = None
