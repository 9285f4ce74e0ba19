"""Which replicas are better left alone for a while, and until when.

A replica whose card is sick fails at once, is idle for it, and would draw segment after segment
from those that work. So after a fault it is avoided for :data:`FAULT_S`, and twice as long after
each further one that comes behind that time, up to :data:`FAULT_MOST_S`. What fails while it is
avoided was sent before and counts as the same fault. A take that ends well behind that time
forgives all of them, and so do :data:`FORGET_S` without any.

A replica that has refused a segment, since its card is too hot, is avoided for :data:`REFUSED_S`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

REFUSED_S: Final = 1.0
FAULT_S: Final = 2.0
FAULT_MOST_S: Final = 60.0
FORGET_S: Final = 300.0


@dataclass(slots=True)
class _Penalty:
    until_s: float
    faults: int = 0


class AvoidedReplicas:
    """Remembers refusals and faults, of replicas that may come and go.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._penalties: dict[str, _Penalty] = {}

    def refused(self, replica: str) -> None:
        """It took no segment."""
        penalty = self._penalties.setdefault(replica, _Penalty(0.0))
        penalty.until_s = max(penalty.until_s, self._clock() + REFUSED_S)

    def failed(self, replica: str) -> None:
        """A take failed on it."""
        now_s = self._clock()
        penalty = self._penalties.setdefault(replica, _Penalty(0.0))
        if penalty.faults and now_s < penalty.until_s:
            return
        penalty.until_s = now_s + min(FAULT_S * 2.0**penalty.faults, FAULT_MOST_S)
        penalty.faults += 1

    def spoke(self, replica: str) -> None:
        """A take ended well on it."""
        penalty = self._penalties.get(replica)
        if penalty is not None and penalty.until_s <= self._clock():
            del self._penalties[replica]

    def until_s(self) -> dict[str, float]:
        """Replicas to avoid, each with the time of the clock up to which."""
        now_s = self._clock()
        self._penalties = {
            replica: penalty
            for replica, penalty in self._penalties.items()
            if now_s < penalty.until_s + (FORGET_S if penalty.faults else 0.0)
        }
        return {
            replica: penalty.until_s
            for replica, penalty in self._penalties.items()
            if now_s < penalty.until_s
        }
