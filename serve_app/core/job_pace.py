"""How fast segments are spoken: what is left of a job as a range, and which take is a straggler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_PRIOR_CV: Final = 0.3
"""Spread assumed before two segments have told it, relative to the mean."""

_SIGMAS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until a job is done, as a range."""

    low_s: float
    high_s: float


class Pace:
    """Card seconds per estimated second of speech, learnt from finished segments.

    Sums only: its size does not depend on the job's length.
    """

    def __init__(self) -> None:
        self._count = 0
        self._est_s = self._wall_s = 0.0
        self._ratio_sum = self._ratio_squares = 0.0
        self._longest_s = 0.0

    def learn(self, est_s: float, wall_s: float) -> None:
        """A segment is done; one that cost nothing (from the cache) teaches nothing."""
        if est_s <= 0 or wall_s <= 0:
            return
        ratio = wall_s / est_s
        self._count += 1
        self._est_s += est_s
        self._wall_s += wall_s
        self._ratio_sum += ratio
        self._ratio_squares += ratio * ratio
        self._longest_s = max(self._longest_s, wall_s)

    def expected_s(self, est_s: float) -> float | None:
        """Card seconds that a segment should take; None before the first one is done."""
        return None if not self._count else est_s * self._wall_s / self._est_s

    def eta(self, open_est_s: float, places: int) -> Eta | None:
        """When *open_est_s* seconds of speech are done by so many places; None while unknown.

        The range is two standard errors of the pace, and at its end the longest segment, which
        may be the last.
        """
        expected_s = self.expected_s(open_est_s)
        if expected_s is None or places < 1:
            return None
        if expected_s == 0:
            return Eta(0.0, 0.0)
        middle_s = expected_s / places
        share = min(0.9, _SIGMAS * self._cv() / math.sqrt(self._count))
        return Eta(middle_s * (1 - share), middle_s * (1 + share) + self._longest_s)

    def _cv(self) -> float:
        if self._count < 2:
            return _PRIOR_CV
        mean = self._ratio_sum / self._count
        variance = max(0.0, self._ratio_squares / self._count - mean * mean)
        return math.sqrt(variance) / mean


def remaining_s(
    *, elapsed_s: float, quiet_s: float, heard_s: float, est_s: float, expected_s: float
) -> float:
    """What a running take may still need, judged by how it has gone so far.

    Args:
        elapsed_s: Since it got its place.
        quiet_s: Since it last gave sound, or since its place.
        heard_s: Audio it has given.
        est_s: Audio it should give.
        expected_s: Card seconds such a segment takes.
    """
    if heard_s <= 0:
        return max(expected_s - elapsed_s, quiet_s)
    return max(elapsed_s * max(0.0, est_s - heard_s) / heard_s, quiet_s)
