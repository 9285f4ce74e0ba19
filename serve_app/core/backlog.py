"""How long until one of many running things ends, from how long they have been taking.

Those that still run count too, else a burst of short streams would hide the long ones: the mean
duration is estimated as all time spent over all ends seen, which is the maximum likelihood estimate
for exponential durations with some still open (right-censored).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

_LONGEST_WAIT_S: Final = 120  # beyond it OpenAI's client does not wait as told
_RATE_FROM: Final = 64


def next_end_s(ended_s: Sequence[float], running_s: Sequence[float], *, most_s: int) -> int:
    """Whole seconds until one of those that run is likely to end, within 1..*most_s*.

    Args:
        ended_s: Durations of those that ended lately, s.
        running_s: How long each of the others has been running, s.
        most_s: Upper bound of the answer.
    """
    spent_s = sum(ended_s) + sum(running_s)
    mean_s = spent_s / max(1, len(ended_s))
    wait_s = math.ceil(mean_s / max(1, len(running_s)))
    return min(max(wait_s, 1), most_s)


class Turnover:
    """Things that begin and end, and how long it is likely to be until the next one ends.

    Its owner passes monotonic times in, s.
    """

    def __init__(self) -> None:
        self._begun: dict[int, float] = {}
        self._ended: deque[float] = deque(maxlen=_RATE_FROM)
        self._tickets = 0

    @property
    def running(self) -> int:
        """How many have not ended."""
        return len(self._begun)

    def begin(self, now_s: float) -> int:
        """One begins; returns its ticket."""
        self._tickets += 1
        self._begun[self._tickets] = now_s
        return self._tickets

    def end(self, ticket: int, now_s: float, *, counts: bool = True) -> None:
        """It ends; what was only refused says nothing of how long the others take."""
        begun_s = self._begun.pop(ticket)
        if counts:
            self._ended.append(now_s - begun_s)

    def next_end_s(self, now_s: float) -> int:
        """As of :func:`next_end_s`, by the last ones that ended and those that run."""
        running = [now_s - begun_s for begun_s in self._begun.values()]
        return next_end_s(list(self._ended), running, most_s=_LONGEST_WAIT_S)
