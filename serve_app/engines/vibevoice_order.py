"""A segment between the event loop that asked for it and the thread that speaks it.

It goes down as an :class:`Order`; its frames come back through it and leave in chunks of the size
asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from serve_app.core.audio import BYTES_PER_SAMPLE, Pcm, samples_of
from serve_app.engines.base import Chunk, SpeakTask
from serve_app.engines.vibevoice_loop import Row
from serve_app.engines.vibevoice_prompt import Turns
from serve_app.errors import EngineCrashedError, ServeError


@dataclass(frozen=True, slots=True)
class Ended:
    """How a segment's row ended, the tokens it read and the frames it gave."""

    finish: Literal["stop", "length"]
    tokens: int
    frames: int


class Order:
    """A segment on its way through the thread; made and read on one event loop.

    Args:
        turns: What to say.
        row: Its place in the batch, not yet in it.
    """

    def __init__(self, turns: Turns, row: Row) -> None:
        self.turns, self.row = turns, row
        self.tokens = 0
        self.failed_beside: int | None = None  # so many rows, for lack of memory; once more then
        self._loop = asyncio.get_running_loop()
        self._items: deque[Pcm | Ended | ServeError] = deque()
        self._news = asyncio.Event()
        self.over = asyncio.Event()

    async def next(self) -> Pcm | Ended:
        """The next frame, or how it ended.

        Raises:
            ServeError: It failed.
        """
        while not self._items:
            self._news.clear()
            await self._news.wait()
        item = self._items.popleft()
        if isinstance(item, ServeError):
            raise item
        return item

    async def gone(self, grace_s: float) -> None:
        """Wait until the thread has let go of it, *grace_s* at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.over.wait()

    def give(self, item: Pcm | Ended | ServeError, *, last: bool) -> None:
        """Called by the thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._arrive, item, last)

    def _arrive(self, item: Pcm | Ended | ServeError, last: bool) -> None:
        if isinstance(item, EngineCrashedError):
            self._items.clear()
        self._items.append(item)
        self._news.set()
        if last:
            self.over.set()


class Packer:
    """Frames in, chunks of the size asked for out.

    Args:
        task: Whose frames they are.
    """

    def __init__(self, task: SpeakTask) -> None:
        voices = {line.voice for line in task.lines}
        self._voice = voices.pop() if len(voices) == 1 else None
        self._size = max(1, samples_of(task.chunk_s)) * BYTES_PER_SAMPLE
        self._held = b""

    def add(self, pcm: bytes) -> list[Chunk]:
        """Whole chunks that are there with *pcm*."""
        self._held += pcm
        whole = len(self._held) // self._size * self._size
        ready, self._held = self._held[:whole], self._held[whole:]
        return [
            Chunk(ready[at : at + self._size], self._voice) for at in range(0, whole, self._size)
        ]

    def rest(self) -> list[Chunk]:
        """What is left at the end, a chunk or none."""
        return [Chunk(self._held, self._voice)] if self._held else []
