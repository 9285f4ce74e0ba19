"""A cluster that exists only in memory, for the fleet's watch: nodes with cards and a clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from telemetry.card_watch import ActiveAlert
from telemetry.cluster import NodeFate, NodeInfo
from telemetry.core.channels import ChannelCount
from telemetry.core.export_state import Exports
from telemetry.core.reader import CardSource
from telemetry.core.recent import RecentStats
from telemetry.core.sample import CardSample, SynthesisRecord, XidEvent
from telemetry.core.window import AgedSample, Totals, merge_totals
from telemetry.snapshot import NodeSnapshot

MIB = 2**20


@dataclass
class Fleet:
    """Is a :class:`telemetry.cluster.ClusterSource`; every node tells one sample a second.

    Args:
        nodes_number, cards: Nodes, and cards on each.
        temp_c: Temperature of every card.
    """

    nodes_number: int = 2
    cards: int = 2
    temp_c: float = 60.0
    now: float = 1_000_000.0
    silent: set[str] = field(default_factory=set)
    records: tuple[SynthesisRecord, ...] = ()
    since: list[float | None] = field(default_factory=list)
    exports: Exports = ()
    lag_s: float = 0.0
    alerts: tuple[ActiveAlert, ...] = ()
    lost: set[str] = field(default_factory=set)
    faults: tuple[XidEvent, ...] = ()
    channels: tuple[ChannelCount, ...] = ()
    recent: tuple[RecentStats, ...] = ()
    source: CardSource = "simulated"
    fates: dict[str, NodeFate] = field(default_factory=dict)

    def clock(self) -> float:
        """Both clocks, of the watch and of the wall."""
        return self.now

    async def nodes(self) -> tuple[NodeInfo, ...]:
        return tuple(
            NodeInfo(f"n{n}", f"host-{n}", self.fates.get(f"n{n}", "alive"))
            for n in range(self.nodes_number)
        )

    async def snapshot(self, node: str, since: float | None) -> NodeSnapshot:
        self.since.append(since)
        if node in self.silent:
            raise ConnectionError(f"{node} is gone")
        first = self.now - 60 if since is None else since
        now = self.now - self.lag_s
        times = [now - back for back in range(60, -1, -1) if now - back > first]
        samples = tuple(
            self._sample(node, index, at) for at in times for index in range(self.cards)
        )
        latest = tuple(
            AgedSample(self._sample(node, index, now), 0.2) for index in range(self.cards)
        )
        return NodeSnapshot(
            node=node,
            host=node.replace("n", "host-"),
            taken_at=now,
            source=self.source,
            samples=samples,
            latest=latest,
            records=self.records if node == "n0" else (),
            totals=merge_totals(map(Totals.of, self.records)),
            loads=(),
            problems=(),
            exports=self.exports,
            alerts=self.alerts,
            faults=self.faults if node == "n0" else (),
            channels=self.channels,
            recent=self.recent if node == "n0" else (),
        )

    def close(self) -> None:
        return None

    def _sample(self, node: str, index: int, at: float) -> CardSample:
        uuid = f"SIM-{node}-{index}"
        if uuid in self.lost:
            return CardSample(at, index, uuid, "Simulated card", True, error="the card is lost")
        return CardSample(
            at,
            index,
            uuid,
            "Simulated card",
            simulated=True,
            gpu_util=50.0,
            mem_used_bytes=20_000 * MIB,
            mem_total_bytes=80_000 * MIB,
            temp_c=self.temp_c,
            power_w=300.0,
            throttle=(),
        )
