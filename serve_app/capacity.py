"""What the fleet can take right now, followed from the ingress.

The places of the pool follow the replicas that report and what the thermal guard allows their
cards: a paused card's places are not waited for, and a card that joins brings its own. When every
card is paused, new requests are told so.

A node's telemetry that was restarted knows no replica and no guard at first, and hears of them one
by one. What it said before counts meanwhile, or the pool would shrink to its first replica.
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
from telemetry.core.replica_reports import ReplicaLoad
from telemetry.core.thermal import GuardState, slots_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Segments that the fleet may speak at once.

    Args:
        replicas: Replicas that report.
        places: Slots that their cards may use now.
        paused: Replicas whose card takes nothing.
        busy: Segments that are being spoken.
    """

    replicas: int
    places: int
    paused: int
    busy: int = 0

    @property
    def full(self) -> bool:
        """Whether there are places, and all of them speak."""
        return 0 < self.places <= self.busy

    @property
    def all_paused(self) -> bool:
        """Whether there are replicas, and none of their cards takes work."""
        return 0 < self.replicas == self.paused


def load_name(application: str, replica: str) -> str:
    """What a replica is called in its node's reports."""
    return f"{application}#{replica}"


@dataclass(slots=True)
class _Replica:
    """What was heard of a replica last.

    Args:
        node: Ray node id.
        card_uuid: Its card, or None.
        slots: Of its engine.
        busy: Slots of them that speak.
        state: What the guard said of its card last.
        heard_s: Monotonic time of its last report.
    """

    node: str
    card_uuid: str | None
    slots: int
    busy: int
    state: GuardState
    heard_s: float


class Roll:
    """The replicas of one application, as their nodes tell of them.

    Args:
        application: Whose replicas count.
        forget_s: Seconds after which a replica that its node no longer names is gone.
    """

    def __init__(self, application: str, forget_s: float = 20.0) -> None:
        self._own, self._forget_s = load_name(application, ""), forget_s
        self._replicas: dict[str, _Replica] = {}

    def follow(self, snapshot: ClusterSnapshot, now_s: float) -> Capacity:
        """What the replicas may speak at once at monotonic time *now_s*."""
        living = {node.id: node.snapshot for node in snapshot.nodes if node.state != "dead"}
        for name, told in living.items():
            for load in told.loads if told is not None else ():
                if load.replica.startswith(self._own):
                    self._heard(name, load, now_s)
        states = {
            guard.uuid: guard.state
            for told in living.values()
            for guard in (told.guards if told is not None else ())
        }
        self._replicas = {
            name: replica
            for name, replica in self._replicas.items()
            if replica.node in living and now_s - replica.heard_s < self._forget_s
        }
        replicas = self._replicas.values()
        for replica in replicas:
            replica.state = states.get(replica.card_uuid or "", replica.state)
        return Capacity(
            replicas=len(replicas),
            places=sum(slots_of(replica.state, replica.slots) for replica in replicas),
            paused=sum(replica.state == "paused" for replica in replicas),
            busy=sum(replica.busy for replica in replicas),
        )

    def _heard(self, node: str, load: ReplicaLoad, now_s: float) -> None:
        known = self._replicas.get(load.replica)
        state: GuardState = "open" if known is None else known.state
        self._replicas[load.replica] = _Replica(
            node, load.card_uuid, load.slots, load.busy, state, now_s
        )


class CapacityWatch:
    """Keeps the pool as wide as the fleet; :meth:`follow` runs until cancelled.

    Args:
        look: Asks the cluster for what came since a Unix time.
        pool: Its places follow what is seen.
        application: Whose replicas count.
        hold_s: Seconds for which a paused card must at least be cool, told to those who wait.
        period_s: Between two looks.
        clock: Monotonic time, s.
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
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._look, self._pool, self._period_s = look, pool, period_s
        self._clock, self._wall = clock, wall
        self._roll, self._hold_s = Roll(application), hold_s
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
        self.capacity = self._roll.follow(await self._look(self._wall()), self._clock())
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
