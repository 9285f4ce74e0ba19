"""A bounded number of places, shared by turns.

Each request sends many segments, and all requests share the slots of all cards. Handing free
slots out in arrival order would let one 90-minute script, which queues its whole look-ahead at
once, keep a short request waiting for minutes. So places go round: one to each owner that waits,
and within an owner first come, first served, which keeps a script's segments in plan order.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class FairPool:
    """Places for concurrent work, given to owners by turns.

    Args:
        width: Places in all, at least 1.
    Raises:
        ValueError: *width* is below 1.
    """

    def __init__(self, width: int) -> None:
        if width < 1:
            raise ValueError(f"a pool needs at least one place, not {width}")
        self._width = width
        self._used = 0
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def width(self) -> int:
        """Places in all."""
        return self._width

    @property
    def used(self) -> int:
        """Places taken right now."""
        return self._used

    @property
    def waiting(self) -> int:
        """Callers that wait for a place."""
        return sum(len(queue) for queue in self._waiting.values())

    def resize(self, width: int) -> None:
        """Change the number of places; those taken beyond it are given back as they end.

        Raises:
            ValueError: *width* is below 1.
        """
        if width < 1:
            raise ValueError(f"a pool needs at least one place, not {width}")
        self._width = width
        self._hand_out()

    @asynccontextmanager
    async def place(self, owner: Hashable, *, first: bool = False) -> AsyncIterator[None]:
        """Hold one place; *first* puts a repeated attempt before the owner's other segments."""
        await self._acquire(owner, first=first)
        try:
            yield
        finally:
            self._used -= 1
            self._hand_out()

    async def _acquire(self, owner: Hashable, *, first: bool) -> None:
        if self._used < self._width and not self._waiting:
            self._used += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(owner, deque())
        queue.appendleft(place) if first else queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled() or not place.done():
                self._forget(owner, place)
            else:  # handed over and cancelled in the same step of the loop
                self._used -= 1
                self._hand_out()
            raise

    def _forget(self, owner: Hashable, place: asyncio.Future[None]) -> None:
        queue = self._waiting.get(owner)
        if queue is not None and place in queue:
            queue.remove(place)
            if not queue:
                del self._waiting[owner]

    def _hand_out(self) -> None:
        while self._waiting and self._used < self._width:
            owner, queue = self._waiting.popitem(last=False)
            place = queue.popleft()
            if queue:
                self._waiting[owner] = queue
            if not place.done():
                self._used += 1
                place.set_result(None)
