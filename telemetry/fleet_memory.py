"""What the fleet's watch remembers, apart from how it watches: other settings leave it as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from telemetry.cluster import ClusterSnapshot
from telemetry.core.alerts import AlertBook, AlertRule
from telemetry.core.fault_log import FaultLog
from telemetry.core.history import FleetHistory, Place
from telemetry.core.ingress_reports import IngressReports
from telemetry.core.model_book import ModelStats
from telemetry.core.node_clocks import NodeClocks
from telemetry.core.reader import CardSource
from telemetry.snapshot import NodeSnapshot

CARDS_REMEMBERED_S: Final = 6 * 3600.0
NODES_REMEMBERED_S: Final = 24 * 3600.0
MOST_NODES: Final = 2048


class MostCards:
    """The most cards that a node has shown lately."""

    def __init__(self) -> None:
        self._source: CardSource = "none"
        self._most, self._at = 0, 0.0

    def missing(self, source: CardSource, count: int, now_s: float) -> int:
        """Take the number of cards at monotonic time *now_s*; returns how many are missing.

        Where they come from another source than before, by other settings, none is. Simulated
        cards are as many as the settings say: none is ever missing.
        """
        anew = source != self._source or source == "simulated"
        if anew or count >= self._most or now_s - self._at > CARDS_REMEMBERED_S:
            self._source, self._most, self._at = source, count, now_s
        return self._most - count


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node that has answered in the last day.

    Args:
        host: Its name.
        heard_at: Unix time of its last answer.
        models: What its models did since its telemetry started.
    """

    host: str
    heard_at: float
    models: tuple[ModelStats, ...]


class FleetMemory:
    """A day of the fleet; one thread notes, any other may read meanwhile.

    Attributes:
        history: Every card's day, in this process' time.
        faults: Every card's faults, likewise.
        book: What has fired.
        clocks: How far the nodes' clocks are ahead.
        most_cards: By node.
        ingresses: What ingresses said of themselves last.
        nodes: By id, those that have answered in the last day, whether or not they are still there.
        reported_at: Unix time of the last report that was written by itself.

    Args:
        rules: Of the book.
        now: Unix time.
    """

    def __init__(self, rules: Iterable[AlertRule], now: float) -> None:
        self.history = FleetHistory()
        self.faults = FaultLog()
        self.book = AlertBook(rules)
        self.clocks = NodeClocks()
        self.most_cards: dict[str, MostCards] = {}
        self.ingresses = IngressReports()
        self.nodes: dict[str, KnownNode] = {}
        self.reported_at = now

    def note(self, snapshot: ClusterSnapshot, now: float) -> None:
        """Take what the nodes have answered at Unix time *now*."""
        for node in snapshot.nodes:
            if node.snapshot is not None and node.state == "ok":
                self._heard(node.id, node.snapshot, now)
        for gone in self._over(now):
            del self.nodes[gone]
        self.clocks.keep(set(self.nodes))

    def _over(self, now: float) -> list[str]:
        """The nodes to forget: silent for a day, or the longest silent of too many."""
        old = [n for n, known in self.nodes.items() if now - known.heard_at > NODES_REMEMBERED_S]
        if len(self.nodes) - len(old) <= MOST_NODES:
            return old
        return sorted(self.nodes, key=lambda n: self.nodes[n].heard_at)[:-MOST_NODES]

    def _heard(self, node: str, told: NodeSnapshot, now: float) -> None:
        self.clocks.heard(node, told.taken_at, now)
        ahead_s = self.clocks.ahead_s(node)
        samples = (*told.samples, *(aged.sample for aged in told.latest))
        faults = told.faults
        if ahead_s:
            samples = tuple(replace(s, timestamp=s.timestamp - ahead_s) for s in samples)
            faults = tuple(replace(f, timestamp=f.timestamp - ahead_s) for f in faults)
        self.history.add(samples, Place(node, told.host), now)
        self.faults.note(faults)
        self.nodes[node] = KnownNode(told.host, now, told.models)
