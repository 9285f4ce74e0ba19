"""The beginning of a stream, read before anybody asks for it.

A short script is often complete some milliseconds after its first sound. Whoever waits for that can
answer it as a whole, with its length and how it ended in front.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Self


class Ahead:
    """Bytes of a stream in order; for one reader, who closes it.

    Args:
        body: The stream; closing this closes it.
        head: What was read of it so far.
    """

    def __init__(self, body: AsyncGenerator[bytes, None], head: bytes) -> None:
        self._body, self._head = body, head
        self._next: asyncio.Future[bytes] | None = None
        self.whole = False

    async def read_on(self, wait_s: float) -> None:
        """Read for that long, or to the end.

        Raises:
            ServeError: As the stream does; it is closed then.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        try:
            while not self.whole and (left_s := deadline_s - loop.time()) > 0:
                upcoming = self._upcoming()
                await asyncio.wait({upcoming}, timeout=left_s)
                if upcoming.done():
                    self._head += self._taken(upcoming)
        except BaseException:
            await self.aclose()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        if self.whole:
            raise StopAsyncIteration
        if self._next is None:
            return await anext(self._body)
        await asyncio.wait({self._next})
        if data := self._taken(self._next):
            return data
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the stream, even in the middle of a read."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})
        await self._body.aclose()

    def _upcoming(self) -> asyncio.Future[bytes]:
        if self._next is None:
            self._next = asyncio.ensure_future(self._read())
        return self._next

    async def _read(self) -> bytes:
        return await anext(self._body, b"")

    def _taken(self, read: asyncio.Future[bytes]) -> bytes:
        """What a finished read brought; the stream never yields nothing but at its end."""
        self._next = None
        data = read.result()
        self.whole = not data
        return data
