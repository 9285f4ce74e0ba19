"""A bounded number of places, shared by turns.

Each request sends many segments, and all requests share the slots of all cards. Handing free
slots out in arrival order would let one 90-minute script, which queues its whole look-ahead at
once, keep a short request waiting for minutes. So places go round: one to each owner that waits,
and within an owner first come, first served, which keeps a script's segments in plan order.

Who asks with a higher number as its priority waits until nobody with a lower one does: 0 is for
requests that someone listens to, and whoever can wait says so.

Some places can be kept free (:meth:`FairPool.reserve`): long jobs leave so the last ones to
requests that someone listens to.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol


class Places(Protocol):
    """Places for concurrent work."""

    def place(self, owner: Hashable, *, first: bool = False) -> AbstractAsyncContextManager[None]:
        """Hold one place; *first* puts it before the owner's other ones."""
        ...


class FairPool:
    """Places for concurrent work, given to owners by turns.

    Args:
        width: Places in all, at least 1.
        on_change: Called after each change of who has or wants a place; must be quick.
        clock: Monotonic time, s.
    Raises:
        ValueError: *width* is below 1.
    """

    def __init__(
        self,
        width: int,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if width < 1:
            raise ValueError(f"a pool needs at least one place, not {width}")
        self._width = width
        self._reserved = 0
        self._used = 0
        self._on_change, self._clock = on_change, clock
        self._turn_s: dict[tuple[int, Hashable], float] = {}
        self._waiting: dict[int, OrderedDict[Hashable, deque[asyncio.Future[None]]]] = {}

    @property
    def width(self) -> int:
        """Places in all."""
        return self._width

    @property
    def usable(self) -> int:
        """Places that may be taken: all but the reserved ones."""
        return max(0, self._width - self._reserved)

    @property
    def idle(self) -> int:
        """Usable places that nobody has and nobody waits for."""
        return 0 if self._waiting else max(0, self.usable - self._used)

    @property
    def used(self) -> int:
        """Places taken right now."""
        return self._used

    @property
    def waiting(self) -> int:
        """Callers that wait for a place."""
        return sum(len(queue) for level in self._waiting.values() for queue in level.values())

    def waits_s(self) -> float:
        """For how long an owner of priority 0 that waits has had no turn, at most; 0 if none waits.

        Not the age of a place that is asked for: a long script asks for its next ones early.
        """
        since = [since_s for (priority, _), since_s in self._turn_s.items() if priority == 0]
        return self._clock() - min(since) if since else 0.0

    def resize(self, width: int) -> None:
        """Change the number of places; those taken beyond it are given back as they end.

        Raises:
            ValueError: *width* is below 1.
        """
        if width < 1:
            raise ValueError(f"a pool needs at least one place, not {width}")
        self._width = width
        self._hand_out()

    def reserve(self, places: int) -> None:
        """Keep so many places free from now on; those taken are given back as they end.

        Raises:
            ValueError: *places* is negative.
        """
        if places < 0:
            raise ValueError(f"{places} places can't be reserved")
        self._reserved = places
        self._hand_out()

    def at(self, priority: int) -> Places:
        """The same places, asked for with *priority*; see :meth:`place`."""
        return _Level(self, priority)

    @asynccontextmanager
    async def place(
        self, owner: Hashable, *, first: bool = False, priority: int = 0
    ) -> AsyncIterator[None]:
        """Hold one place.

        Args:
            owner: Whose turn it is.
            first: A repeated attempt, which goes before the owner's other segments.
            priority: Of those that wait, the lowest number goes first.
        """
        await self._acquire(owner, priority, first=first)
        try:
            yield
        finally:
            self._used -= 1
            self._hand_out()
            self._on_change()

    async def _acquire(self, owner: Hashable, priority: int, *, first: bool) -> None:
        if self._used < self.usable and not self._waiting:
            self._used += 1
            self._on_change()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        level = self._waiting.setdefault(priority, OrderedDict())
        queue = level.setdefault(owner, deque())
        self._turn_s.setdefault((priority, owner), self._clock())
        queue.appendleft(place) if first else queue.append(place)
        self._on_change()
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled() or not place.done():
                self._forget(owner, priority, place)
            else:  # handed over and cancelled in the same step of the loop
                self._used -= 1
                self._hand_out()
            self._on_change()
            raise

    def _forget(self, owner: Hashable, priority: int, place: asyncio.Future[None]) -> None:
        level = self._waiting.get(priority)
        queue = None if level is None else level.get(owner)
        if level is None or queue is None or place not in queue:
            return
        queue.remove(place)
        if not queue:
            del level[owner], self._turn_s[priority, owner]
        if not level:
            del self._waiting[priority]

    def _hand_out(self) -> None:
        while self._waiting and self._used < self.usable:
            priority = min(self._waiting)
            level = self._waiting[priority]
            owner, queue = level.popitem(last=False)
            place = queue.popleft()
            if queue:
                level[owner] = queue
                self._turn_s[priority, owner] = self._clock()
            else:
                del self._turn_s[priority, owner]
            if not level:
                del self._waiting[priority]
            if not place.done():
                self._used += 1
                place.set_result(None)


class _Level:
    """The places of a pool, asked for with one priority."""

    def __init__(self, pool: FairPool, priority: int) -> None:
        self._pool, self._priority = pool, priority

    def place(self, owner: Hashable, *, first: bool = False) -> AbstractAsyncContextManager[None]:
        """See :class:`Places`."""
        return self._pool.place(owner, first=first, priority=self._priority)
