"""How many places jobs leave free: never the last ones that interactive requests need.

Jobs and requests live in different processes, so no pool can hold both. Instead the jobs' pool
has as many places as there are slots and keeps some of them free::

    free = max(reserve, what the ingresses have or want right now)

but no more than leaves the jobs their least share. So a request finds a slot at once while
there are no more of them than *reserve*; where there are more, jobs send nothing new until they
have made room, and each segment that ends makes some. What a job is speaking is never taken away.
Where few slots leave jobs none at all, they get one for a moment whenever requests have kept
them out for *patience_s*. A report that is not renewed is forgotten, so that an ingress that died
holds nothing.

The reserve is for the next request. Where none has come for *quiet_s* nobody needs it: of eight
slots it is an eighth of a job's speed, and the first request that comes then waits once for the
segment that ends first, and finds the reserve from there on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShareRules:
    """How the slots are shared.

    Args:
        reserve_share: Part of the slots that jobs leave free although nobody wants them; at
            least one slot where there are two or more, none if it is 0 or nobody has asked for
            long.
        least_share: Part of the slots that jobs may always use, rounded down.
        fresh_s: How long a report of an ingress counts.
        patience_s: How long requests may keep jobs from all slots before a job gets one.
        turn_s: How long that slot is offered.
        quiet_s: How long after the last request the reserve is kept.
    """

    reserve_share: float = 0.05
    least_share: float = 0.25
    fresh_s: float = 3.0
    patience_s: float = 30.0
    turn_s: float = 1.0
    quiet_s: float = 300.0


class JobShare:
    """Follows what the ingresses report and says how many places jobs leave free.

    Args:
        slots: Segments that all cards speak at once, at least 1.
        rules: How they are shared.
        clock: Monotonic seconds.
    """

    def __init__(self, slots: int, rules: ShareRules, clock: Callable[[], float]) -> None:
        self._rules, self._clock = rules, clock
        self._demands: dict[str, tuple[int, float]] = {}
        self._shut_out_s: float | None = None
        self._wanted_s: float | None = None
        self.slots = slots

    def report(self, ingress: str, demand: int) -> None:
        """An ingress has or wants so many places now."""
        now = self._clock()
        self._demands[ingress] = (demand, now)
        if demand:
            self._wanted_s = now

    @property
    def demand(self) -> int:
        """Places that requests have or want, by reports that still count."""
        oldest = self._clock() - self._rules.fresh_s
        self._demands = {who: it for who, it in self._demands.items() if it[1] >= oldest}
        return sum(demand for demand, _ in self._demands.values())

    @property
    def reserved(self) -> int:
        """Places that jobs leave free now, ``0 <= reserved <= slots``."""
        least = int(self.slots * self._rules.least_share)
        return self._patient(min(max(self._reserve, self.demand), self.slots - least))

    @property
    def _reserve(self) -> int:
        """Places for requests that are still to come."""
        share, wanted_s = self._rules.reserve_share, self._wanted_s
        if wanted_s is None or self._clock() - wanted_s > self._rules.quiet_s:
            return 0
        return max(self.slots >= 2 and share > 0, round(self.slots * share))

    def _patient(self, reserved: int) -> int:
        """*reserved*, less one slot for a moment where jobs had none for too long."""
        if reserved < self.slots:
            self._shut_out_s = None
            return reserved
        now = self._clock()
        if self._shut_out_s is None:
            self._shut_out_s = now
        over_s = now - self._shut_out_s - self._rules.patience_s
        if over_s > self._rules.turn_s:
            self._shut_out_s = now
        return reserved - 1 if 0 <= over_s <= self._rules.turn_s else reserved
