"""How long until one of many running things ends, from how long they have been taking.

Those that still run count too, else a burst of short streams would hide the long ones: the mean
duration is estimated as all time spent over all ends seen, which is the maximum likelihood estimate
for exponential durations with some still open (right-censored).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


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
