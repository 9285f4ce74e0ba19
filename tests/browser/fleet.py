"""A cluster of simulated cards whose time goes on by a step with each look at it.

The cards, the nodes' telemetry, the cluster view and the body of ``/get_metrics`` are the real
ones; only the clock and Ray are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from telemetry.body import to_json
from telemetry.card_watch import CardWatch
from telemetry.cluster import ClusterView, NodeInfo
from telemetry.core.alert_rules import RULES
from telemetry.core.reader import CardReader, NoCards
from telemetry.core.sample import SynthesisRecord
from telemetry.core.thermal import ThermalRules
from telemetry.node import NodeTelemetry
from telemetry.simulated import CardModel, SimulatedCards
from telemetry.snapshot import NodeSnapshot
from tests.records import record

WALL_START = 1_790_000_000.0
SLOTS = 4


@dataclass
class Clock:
    """Seconds since the fleet began."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL_START + self.now


class LostCards(SimulatedCards):
    """Cards of which the first can't be read."""

    def read(self) -> tuple[Any, ...]:
        from dataclasses import replace

        first, *others = super().read()
        lost = replace(first, gpu_util=None, mem_used_bytes=None, temp_c=None, power_w=None)
        return (replace(lost, error="GPU is lost"), *others)


class Fleet:
    """A :class:`telemetry.cluster.ClusterSource` over telemetry without Ray.

    Args:
        cards: Number of cards on each node; 0 for a node that watches none.
        lost: Nodes whose first card can't be read.
        step_s: How far the clock goes at each look.
        guard: Rules of each node's thermal guard; without them nobody guards the cards.
    """

    def __init__(
        self,
        cards: tuple[int, ...],
        *,
        lost: tuple[int, ...] = (),
        step_s: float = 1.0,
        guard: ThermalRules | None = None,
    ) -> None:
        self._guard = guard
        self.clock, self._step_s = Clock(), step_s
        self.silent: set[int] = set()
        self.looks: list[float | None] = []
        self._nodes = [self._node(place, count, place in lost) for place, count in enumerate(cards)]
        self._view = ClusterView(self, clock=self.clock.monotonic, wall=self.clock.wall)
        self._records = 0

    def _node(self, place: int, count: int, lost: bool) -> NodeTelemetry:
        reader: CardReader = NoCards()
        watch = (
            None
            if self._guard is None
            else CardWatch(f"node-{place}", thermal=self._guard, alerts=RULES)
        )
        if count:
            kind = LostCards if lost else SimulatedCards
            reader = kind(
                count,
                node=f"{place:08x}",
                model=CardModel(tau_s=12.0, full_c=60.0 + 12 * (place % 3)),
                clock=self.clock.monotonic,
                wall=self.clock.wall,
            )
        return NodeTelemetry(
            f"node{place:08x}",
            f"node-{place}",
            reader,
            clock=self.clock.monotonic,
            wall=self.clock.wall,
            watch=watch,
        )

    def advance(self, seconds: int) -> None:
        """Let time go on; nodes that are ``silent`` take no samples."""
        for _ in range(seconds):
            self.clock.now += 1.0
            for place, node in enumerate(self._nodes):
                if place not in self.silent:
                    self._load(place, node)
                    node.tick()
                    node._look(self.clock.monotonic())

    def _load(self, place: int, node: NodeTelemetry) -> None:
        for index, aged in enumerate(node.latest()):
            wave = math.sin(self.clock.now / 9.0 + 1.7 * index + 0.9 * place)
            busy = round(SLOTS * (0.5 + 0.5 * wave) * (0.55 + 0.45 * ((index + place) % 4) / 3))
            node.load(f"replica-{place}-{index}", aged.sample.uuid, busy, SLOTS)

    def speak(self, count: int, **changes: Any) -> None:
        """Record syntheses on the first node."""
        for _ in range(count):
            self._records += 1
            number = self._records
            card = next(iter(self._nodes[0].latest()), None)
            spoken: SynthesisRecord = record(
                timestamp=self.clock.wall() - 20 + number % 20,
                node="node00000000",
                card_uuid=card.sample.uuid if card else None,
                simulated=card is not None,
                audio_s=6.0 + 3.0 * math.sin(number),
                wall_s=1.6 + 0.5 * math.cos(number / 2),
                trace_id=f"{number:032x}",
                **changes,
            )
            self._nodes[0].record(spoken)

    async def metrics(self, since: float | None = None) -> dict[str, Any]:
        """The body of ``/get_metrics`` after another step of time."""
        self.looks.append(since)
        self.advance(round(self._step_s))
        return dict(to_json(await self._view.gather(since)))

    async def nodes(self) -> tuple[NodeInfo, ...]:
        return tuple(
            NodeInfo(f"node{place:08x}", f"node-{place}") for place in range(len(self._nodes))
        )

    async def snapshot(self, node: str, since: float | None) -> NodeSnapshot:
        return self._nodes[int(node.removeprefix("node"), 16)].snapshot(since)

    def close(self) -> None:
        for node in self._nodes:
            node.close()
