"""A job's events: numbered, so that a listener who comes back misses nothing.

The last few hundred are kept. Whoever asks for more, or comes back to another runner than he
left, first gets a snapshot, which holds all that the events before it said.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job.

    Args:
        id: ``SERIES-NUMBER``; the number grows with every event.
        kind: ``snapshot``, ``status``, ``segment``, ``warning`` or ``edition``.
        data: As JSON takes it.
    """

    id: str
    kind: str
    data: Mapping[str, Any]


class Feed:
    """Events of one job.

    Args:
        series: Names this feed among all that the job has ever had: a job that is read back from
            the store counts its events from 1 again.
        limit: Events kept.
    """

    def __init__(self, series: str, limit: int = 256) -> None:
        self._series = series
        self._events: deque[JobEvent] = deque(maxlen=limit)
        self._count = 0
        self._closed = False
        self._news = asyncio.Event()

    def publish(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell everyone who follows."""
        self._count += 1
        self._events.append(JobEvent(f"{self._series}-{self._count}", kind, data))
        self._wake()

    def close(self) -> None:
        """The job is gone, or this runner is: nothing more will come."""
        self._closed = True
        self._wake()

    async def changed(self) -> bool:
        """Wait for news; False once nothing more will come."""
        if not self._closed:
            await self._news.wait()
        return not self._closed

    async def follow(
        self, after: str | None, snapshot: Callable[[], Mapping[str, Any]]
    ) -> AsyncGenerator[JobEvent, None]:
        """Yield events behind the one with the id *after*, and then as they come."""
        seen = self._known(after)
        if seen is None:
            seen = self._count
            yield JobEvent(f"{self._series}-{seen}", "snapshot", snapshot())
        while True:
            if seen < self._count - len(self._events):
                seen = self._count
                yield JobEvent(f"{self._series}-{seen}", "snapshot", snapshot())
            elif seen < self._count:
                event = self._events[seen - self._count]
                seen += 1
                yield event
            elif not await self.changed():
                return

    def _known(self, after: str | None) -> int | None:
        """How many events came up to *after*, or None if that can't be told."""
        series, _, number = (after or "").partition("-")
        if series != self._series or not number.isdigit():
            return None
        seen = int(number)
        return seen if self._count - len(self._events) <= seen <= self._count else None

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
