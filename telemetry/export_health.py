"""Whether exports succeed: a collector that is dead, slow or refuses must be seen somewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from telemetry.core.export_state import ExportState

LATE_S = 10.0
"""An export that takes longer counts as failing while it still runs."""


class ExportHealth:
    """Counts the exports of one exporter; may be asked from any thread.

    Args:
        signal: ``traces`` or ``metrics``.
        clock: Monotonic time, s.
        problem: Why there is no exporter at all, or None.
    """

    def __init__(
        self,
        signal: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        problem: str | None = None,
    ) -> None:
        self.signal, self._clock, self._problem = signal, clock, problem
        self._lock = threading.Lock()
        self._failures = 0
        self._dropped = 0
        self._began_s: float | None = None
        self._failing_since_s: float | None = None if problem is None else clock()

    @property
    def failures(self) -> int:
        """Exports that failed or were refused so far."""
        return self._failures

    def failing_s(self) -> float:
        """Seconds since the first failure behind the last success; 0 while exports succeed."""
        with self._lock:
            now_s, began_s = self._clock(), self._began_s
            if self._failing_since_s is not None:
                return now_s - self._failing_since_s
            late = began_s is not None and now_s - began_s > LATE_S
            return now_s - began_s if late and began_s is not None else 0.0

    def problem(self) -> str | None:
        """What is wrong, for people; None while exports succeed."""
        if self._problem is not None:
            return self._problem
        failing_s = self.failing_s()
        return (
            f"no {self.signal} could be exported for {failing_s:.0f} s" if failing_s > 0 else None
        )

    def dropped(self) -> None:
        """Count a span for which there was no room."""
        with self._lock:
            self._dropped += 1

    @property
    def state(self) -> ExportState:
        """All of it, as plain data."""
        return ExportState(
            self.signal, self.failing_s(), self._failures, self._dropped, self.problem()
        )

    def watch(self, exporter: Any) -> Any:
        """Count what *exporter*, of spans or metrics, does from now on; returns it."""
        export = exporter.export

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self._began_s = began_s = self._clock()
            good = False
            try:
                result = export(*args, **kwargs)
                good = result.name == "SUCCESS"
                return result
            finally:
                self._ended(began_s, good=good)

        exporter.export = counted
        return exporter

    def _ended(self, began_s: float, *, good: bool) -> None:
        with self._lock:
            self._began_s = None
            if good:
                self._failing_since_s = None
                return
            self._failures += 1
            if self._failing_since_s is None:
                self._failing_since_s = began_s
