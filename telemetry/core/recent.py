"""What each model did in the last minutes, in bounded memory: what alerts about speech rest on.

Counts by time, not the last records: a busy node speaks more than anybody keeps in full, and what
is over must be forgotten. Nodes tell sums, which add up over the fleet whatever their clocks say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from telemetry.core.model_book import MOST_MODELS, OTHERS
from telemetry.core.sample import CANCELLED, SynthesisRecord

WINDOW_S: Final = 300.0
STEP_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class RecentStats:
    """One model's last minutes.

    Args:
        model: Its name.
        simulated: Whether any of it was simulated.
        attempts, failed: Segments that were tried, and those that failed; what was cancelled
            counts for nothing.
        audio_s, wall_s: Audio of those that were spoken, and seconds on a slot that they took.
    """

    model: str
    simulated: bool = False
    attempts: int = 0
    failed: int = 0
    audio_s: float = 0.0
    wall_s: float = 0.0

    def merged(self, other: RecentStats) -> RecentStats:
        """The same model's work at two times, or on two nodes."""
        return RecentStats(
            self.model,
            self.simulated or other.simulated,
            self.attempts + other.attempts,
            self.failed + other.failed,
            self.audio_s + other.audio_s,
            self.wall_s + other.wall_s,
        )


def merge_recent(parts: Iterable[RecentStats]) -> dict[str, RecentStats]:
    """The sums of each model, by its name."""
    merged: dict[str, RecentStats] = {}
    for part in parts:
        known = merged.get(part.model)
        merged[part.model] = part if known is None else known.merged(part)
    return merged


class RecentBook:
    """Counts a node's syntheses by time; plain state, whose owner passes the monotonic time in."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, dict[str, RecentStats]]] = deque()

    def add(self, now_s: float, record: SynthesisRecord) -> None:
        """Count a synthesis that ended just now."""
        if record.error == CANCELLED:
            return
        self._forget(now_s)
        if not self._steps or now_s - self._steps[-1][0] >= STEP_S:
            self._steps.append((now_s, {}))
        models = self._steps[-1][1]
        name = record.model if record.model in models or len(models) < MOST_MODELS else OTHERS
        one = RecentStats(name, record.simulated, attempts=1, failed=1)
        if record.error is None:
            one = replace(one, failed=0, audio_s=record.audio_s, wall_s=record.wall_s)
        models[name] = models[name].merged(one) if name in models else one

    def stats(self, now_s: float) -> tuple[RecentStats, ...]:
        """What the last ``WINDOW_S`` saw, by model; one that did nothing is left out."""
        self._forget(now_s)
        return tuple(
            merge_recent(one for _, models in self._steps for one in models.values()).values()
        )

    def _forget(self, now_s: float) -> None:
        while self._steps and now_s - self._steps[0][0] > WINDOW_S:
            self._steps.popleft()
