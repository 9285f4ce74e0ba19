"""A segment between the event loop that asked for it and the thread that speaks it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from serve_app.core.audio import Pcm
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
