"""Times work that is done bit by bit, such as the stitching of a stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Not for two threads at once.

    Args:
        clock: Monotonic time, s.
        wall: Unix time, s.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall = clock, wall
        self._began: float | None = None
        self._ended_s = self._first_s = 0.0
        self._busy_s = 0.0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Time a block."""
        started_s = self._clock()
        if self._began is None:
            self._began, self._first_s = self._wall(), started_s
        try:
            yield
        finally:
            self._ended_s = self._clock()
            self._busy_s += self._ended_s - started_s

    @property
    def work(self) -> tuple[float, float, float] | None:
        """Unix times of the first beginning and the last end, and seconds of work; None without."""
        if self._began is None:
            return None
        return self._began, self._began + self._ended_s - self._first_s, self._busy_s
