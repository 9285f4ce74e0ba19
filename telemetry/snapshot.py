"""What a node tells of itself, as plain data that crosses process borders."""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.card_watch import ActiveAlert, CardGuard
from telemetry.core.channels import ChannelCount
from telemetry.core.export_state import Exports
from telemetry.core.model_book import ModelStats
from telemetry.core.reader import CardSource
from telemetry.core.recent import RecentStats
from telemetry.core.replica_reports import ReplicaLoad
from telemetry.core.sample import CardSample, SynthesisRecord, XidEvent
from telemetry.core.window import AgedSample, Totals


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """All that a node knows, at one moment; small enough to cross a process border.

    Args:
        node, host: Ray node id and host name.
        taken_at: Unix time.
        source: Where its cards come from.
        samples: Cards' samples of the last 60 s, oldest first.
        latest: Newest sample of every card with its age.
        records: Last syntheses, oldest first.
        totals: Sums over all syntheses since the node's telemetry started.
        loads: What its replicas do.
        problems: What is wrong, for people.
        xids: Faults of the last ten minutes, repeats in them counted, oldest first.
        models: What each model did since the node's telemetry started.
        guards: How much new work each card may take.
        alerts: What is on, critical ones first.
        faults: All faults so far, by card and number.
        exports: How the exports of its actor and its replicas go, by signal.
        channels: What became of the messages about its cards.
        recent: What each model did in the last minutes.
    """

    node: str
    host: str
    taken_at: float
    source: CardSource
    samples: tuple[CardSample, ...]
    latest: tuple[AgedSample, ...]
    records: tuple[SynthesisRecord, ...]
    totals: Totals
    loads: tuple[ReplicaLoad, ...]
    problems: tuple[str, ...]
    xids: tuple[XidEvent, ...] = ()
    models: tuple[ModelStats, ...] = ()
    guards: tuple[CardGuard, ...] = ()
    alerts: tuple[ActiveAlert, ...] = ()
    faults: tuple[XidEvent, ...] = ()
    exports: Exports = ()
    channels: tuple[ChannelCount, ...] = ()
    recent: tuple[RecentStats, ...] = ()

    @property
    def export_failing_s(self) -> float | None:
        """For how long one of its processes has not been able to export; None if none does."""
        return max((state.failing_s for state in self.exports), default=None)
