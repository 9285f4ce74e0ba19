"""Who writes for which job, so that a job can be removed and nothing of it comes back."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from serve_app.errors import NotReadyError

_REMEMBERED: Final = 1_000
"""Jobs that were removed; a write that is later than so many of them is none of a thread's."""


class Writers:
    """Counts writes by job. Every method may block; safe for many threads.

    Args:
        limit_s: How long a removal waits for writes at work.
    """

    def __init__(self, limit_s: float = 20.0) -> None:
        self._limit_s = limit_s
        self._changed = threading.Condition()
        self._counts: Counter[str] = Counter()
        self._removed: OrderedDict[str, None] = OrderedDict()

    def begin(self, job_id: str) -> None:
        """A job is made, perhaps under the id of one that was removed."""
        with self._changed:
            self._removed.pop(job_id, None)

    @contextmanager
    def writing(self, job_id: str) -> Iterator[None]:
        """Write for a job as long as this is open.

        Raises:
            NotReadyError: The job is being removed, or is gone.
        """
        with self._changed:
            if job_id in self._removed:
                raise NotReadyError(f"Job {job_id} is being removed: nothing is written for it.")
            self._counts[job_id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._counts[job_id] -= 1
                if not self._counts[job_id]:
                    del self._counts[job_id]
                self._changed.notify_all()

    @contextmanager
    def removing(self, job_id: str) -> Iterator[None]:
        """Wait until nobody writes for a job; nobody can any more, unless the block fails.

        Raises:
            NotReadyError: A write takes too long; try again.
        """
        with self._changed:
            self._removed[job_id] = None
            while len(self._removed) > _REMEMBERED:
                self._removed.popitem(last=False)
        try:
            self._wait(job_id)
            yield
        except BaseException:
            self.begin(job_id)
            raise

    def _wait(self, job_id: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: job_id not in self._counts, self._limit_s):
                raise NotReadyError(
                    f"Job {job_id} is still being written after {self._limit_s:g} s; try again."
                )
