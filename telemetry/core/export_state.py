"""How the exports of one or many processes go, as plain data, in bounded memory.

A process whose collector is dead can't say so through the collector. It says so to its node with
its load, and nodes tell it to whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from telemetry.core.replica_reports import MAX_REPLICAS, REPORT_EXPIRY_S


@dataclass(frozen=True, slots=True)
class ExportState:
    """How the exports of one signal go.

    Args:
        signal: ``traces`` or ``metrics``.
        failing_s: For how long none has succeeded; 0 while they do.
        failures: Exports that failed or were refused so far.
        dropped: Spans that found their queue full so far.
        problem: What is wrong, for people, or None.
    """

    signal: str
    failing_s: float = 0.0
    failures: int = 0
    dropped: int = 0
    problem: str | None = None

    def merged(self, other: ExportState) -> ExportState:
        """The same signal of two exporters: sums, and the worse of the two."""
        worse = max(self, other, key=lambda state: (state.problem is not None, state.failing_s))
        return ExportState(
            self.signal,
            worse.failing_s,
            self.failures + other.failures,
            self.dropped + other.dropped,
            worse.problem,
        )


Exports = tuple[ExportState, ...]
"""Of each signal that a process exports."""


def merge_exports(parts: Iterable[ExportState]) -> Exports:
    """The state of each signal over all *parts*."""
    merged: dict[str, ExportState] = {}
    for part in parts:
        known = merged.get(part.signal)
        merged[part.signal] = part if known is None else known.merged(part)
    return tuple(merged.values())


class ExportBook:
    """What a node's replicas said of their exports; its owner passes the monotonic time in.

    Counts stay when a replica has left, as counters must.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Exports]] = {}
        self._counted: dict[str, ExportState] = {}

    def heard(self, now_s: float, process: str, exports: Exports) -> None:
        """Take what a process says."""
        _, before = self._last.pop(process, (now_s, ()))
        earlier = {state.signal: state for state in before}
        for state in exports:
            known = earlier.get(state.signal, ExportState(state.signal))
            new = ExportState(
                state.signal,
                failures=_more(known.failures, state.failures),
                dropped=_more(known.dropped, state.dropped),
            )
            total = self._counted.get(state.signal, ExportState(state.signal))
            self._counted[state.signal] = total.merged(new)
        self._last[process] = (now_s, exports)
        while len(self._last) > MAX_REPLICAS:
            del self._last[next(iter(self._last))]

    def states(self, now_s: float) -> Exports:
        """Each signal: all that was ever counted, and the worst of those that still report."""
        living = [
            ExportState(state.signal, state.failing_s, problem=state.problem)
            for heard_s, exports in self._last.values()
            if now_s - heard_s <= REPORT_EXPIRY_S
            for state in exports
        ]
        return merge_exports([*self._counted.values(), *living])


def _more(before: int, now: int) -> int:
    """What a count has grown by; one that is below the last has begun anew."""
    return now - before if now >= before else now
