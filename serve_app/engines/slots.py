"""Places for segments, given out in the order in which callers came."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from serve_app.errors import EngineCrashedError

CLIMB_AFTER: Final = 16
"""Successes after which a lowered number rises by one; twice as many where it was lowered
after it had risen."""

_MOST_CLIMB_AFTER: Final = 256


def closed_error() -> EngineCrashedError:
    """What callers get from an engine that has been closed."""
    return EngineCrashedError("this engine has been closed; speak the segment on another replica")


class Slots:
    """A counter of places that callers take in the order in which they came.

    Args:
        limit: Places, at least 1.

    Raises:
        ValueError: *limit* is below 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._wanted = _checked(limit)
        self._successes, self._climb_after, self._has_climbed = 0, CLIMB_AFTER, False
        self._busy = 0
        self._closed = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Places there are; more may be taken for a while after the number was lowered."""
        return self._limit

    @property
    def busy(self) -> int:
        """Places taken."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Callers in line."""
        return len(self._waiters)

    def resize(self, limit: int) -> None:
        """Change the number of places; those taken stay taken.

        Raises:
            ValueError: *limit* is below 1.
        """
        self._limit = self._wanted = _checked(limit)
        self._successes, self._climb_after, self._has_climbed = 0, CLIMB_AFTER, False
        self._grant()

    def lower(self, limit: int) -> None:
        """Have no more than *limit* places for now: there turned out to be no room for more."""
        if limit < self._limit:
            self._limit = max(1, limit)
            if self._has_climbed:
                self._climb_after = min(2 * self._climb_after, _MOST_CLIMB_AFTER)
        self._successes, self._has_climbed = 0, False

    def succeeded(self) -> None:
        """Somebody had room enough; after many of them a lowered number rises by one."""
        self._successes += 1
        if self._limit < self._wanted and self._successes >= self._climb_after:
            self._limit, self._successes, self._has_climbed = self._limit + 1, 0, True
            self._grant()

    async def acquire(self) -> None:
        """Take a place, waiting for one in line; a cancelled wait takes none.

        Raises:
            EngineCrashedError: The slots are closed.
        """
        if self._closed:
            raise closed_error()
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._grant()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        self._busy -= 1
        self._grant()

    def close(self) -> None:
        """Refuse everyone in line and everyone who comes later."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(closed_error())

    def _grant(self) -> None:
        while self._waiters and self._busy < self._limit:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._busy += 1
                waiter.set_result(None)


def _checked(limit: int) -> int:
    if limit < 1:
        raise ValueError(f"{limit} slots; an engine needs at least 1")
    return limit
