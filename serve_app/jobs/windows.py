"""How far a stream between processes may run ahead of whoever reads it.

Serve lets a streaming call run on and keeps what nobody has taken yet: of a long job that is
hundreds of MiB. So the reader tells how many items it has taken, and the stream waits for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

TAKEN_EVERY: Final = 4
"""Items after which a reader tells how far it is; a window holds more than so many."""


class Window:
    """One stream; for one writer.

    Args:
        most: Items that may be under way.
    """

    def __init__(self, most: int) -> None:
        self._most, self._sent, self._taken = most, 0, 0
        self._changed = asyncio.Event()

    async def send(self) -> None:
        """Count an item that is to be sent, once there is room for it."""
        while self._sent - self._taken >= self._most:
            self._changed.clear()
            await self._changed.wait()
        self._sent += 1

    def taken(self, count: int) -> None:
        """The reader has taken so many in all; what comes late says nothing new."""
        self._taken = max(self._taken, count)
        self._changed.set()


class Windows:
    """The streams that run, by the names that their readers gave them.

    Args:
        most: Items of each that may be under way.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[str, Window] = {}

    @contextmanager
    def open(self, reader: str) -> Iterator[Window]:
        """A window for a stream, as long as it runs."""
        window = self._open[reader] = Window(self._most)
        try:
            yield window
        finally:
            del self._open[reader]

    def taken(self, reader: str, count: int) -> None:
        """See :meth:`Window.taken`; a stream that has ended needs no word."""
        if reader in self._open:
            self._open[reader].taken(count)
