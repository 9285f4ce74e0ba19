"""What the fleet can take right now, followed from the ingress.

The places of the pool follow the replicas that report and what the thermal guard allows their
cards: a paused card's places are not waited for, and a card that joins brings its own. When every
card is paused, new requests are told so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serve_app.core.fair import FairPool
from serve_app.errors import AllPausedError
from telemetry.cluster import ClusterSnapshot
from telemetry.core.thermal import slots_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Segments that the fleet may speak at once.

    Args:
        replicas: Replicas that report.
        places: Slots that their cards may use now.
        paused: Replicas whose card takes nothing.
    """

    replicas: int
    places: int
    paused: int

    @property
    def all_paused(self) -> bool:
        """Whether there are replicas, and none of their cards takes work."""
        return 0 < self.replicas == self.paused


def load_name(application: str, replica: str) -> str:
    """What a replica is called in its node's reports."""
    return f"{application}#{replica}"


def capacity_of(snapshot: ClusterSnapshot, application: str) -> Capacity:
    """What the application's replicas may speak at once, on the nodes that live."""
    own = load_name(application, "")
    nodes = [node.snapshot for node in snapshot.nodes if node.snapshot and node.state != "dead"]
    states = {guard.uuid: guard.state for node in nodes for guard in node.guards}
    loads = [load for node in nodes for load in node.loads if load.replica.startswith(own)]
    found = [(states.get(load.card_uuid or "", "open"), load.slots) for load in loads]
    return Capacity(
        replicas=len(loads),
        places=sum(slots_of(state, slots) for state, slots in found),
        paused=sum(state == "paused" for state, _ in found),
    )


class CapacityWatch:
    """Keeps the pool as wide as the fleet; :meth:`follow` runs until cancelled.

    Args:
        look: Asks the cluster for what came since a Unix time.
        pool: Its places follow what is seen.
        application: Whose replicas count.
        hold_s: Seconds for which a paused card must at least be cool, told to those who wait.
        period_s: Between two looks.
        wall: Unix time, s.
    """

    def __init__(
        self,
        look: Callable[[float], Awaitable[ClusterSnapshot]],
        pool: FairPool,
        *,
        application: str,
        hold_s: float,
        period_s: float = 1.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._look, self._pool, self._period_s, self._wall = look, pool, period_s, wall
        self._application, self._hold_s = application, hold_s
        self.capacity = Capacity(0, 0, 0)

    def all_paused(self) -> bool:
        """Whether no card takes new work."""
        return self.capacity.all_paused

    def check(self) -> None:
        """Refuse new work that no card would take.

        Raises:
            AllPausedError: Every card is paused.
        """
        if self.capacity.all_paused:
            raise AllPausedError(
                f"All {self.capacity.replicas} cards are paused by the thermal guard until they "
                "have cooled. Try again later, or send the text as a job, which waits.",
                retry_after_s=max(int(self._hold_s), 1),
            )

    async def look_once(self) -> None:
        """Ask the cluster, and let the pool follow."""
        self.capacity = capacity_of(await self._look(self._wall()), self._application)
        if self.capacity.replicas:
            places = max(self.capacity.places, 1)
            if places != self._pool.width:
                logger.info("the fleet has %d places now", places)
                self._pool.resize(places)

    async def follow(self) -> None:
        """Look every second until cancelled."""
        while True:
            try:
                await self.look_once()
            except Exception:
                logger.exception("a look at the fleet failed; its capacity stays as it was")
            await asyncio.sleep(self._period_s)
