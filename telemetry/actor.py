"""One telemetry actor on each Ray node: a thin shell around :class:`~telemetry.node.NodeTelemetry`.

Actors are detached, named after their node and pinned to it, and come back after a crash. Anyone
may make the missing ones: two who try at once get the same actor. Each asks NVML for all cards of
its node (which ``CUDA_VISIBLE_DEVICES`` does not hide from it) and needs no CPU share.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from telemetry import logs
from telemetry.card_metrics import observe_cards
from telemetry.card_watch import CardWatch
from telemetry.cluster import NodeFate, NodeInfo
from telemetry.core.card_use import CardUse
from telemetry.core.export_state import Exports, merge_exports
from telemetry.core.replica_reports import LoadReport
from telemetry.core.sample import SynthesisRecord
from telemetry.core.thermal import GuardState
from telemetry.node import NodeTelemetry, make_reader
from telemetry.notify import Notifier, readable
from telemetry.otel import start_metrics
from telemetry.snapshot import NodeSnapshot
from telemetry.speech_metrics import EnergyMetrics
from telemetry.watch_config import TelemetryConfig, changes

logger = logging.getLogger(__name__)

NAMESPACE = "vibevoice-telemetry"
_ORDERLY = frozenset({1, 3, 4})
"""Ray's reasons for the end of a node: told to end, drained for the cloud, drained as idle."""
MAX_PENDING_CALLS = 1_000
"""Calls that may wait for a node's actor before a caller's further ones are dropped."""


def actor_name(node: str) -> str:
    """Name of a node's actor in ``NAMESPACE``; *node* is the Ray node id."""
    return f"telemetry:{node}"


class TelemetryActor:
    """What runs in the actor's process.

    Args:
        config: What to watch.
    """

    def __init__(self, config: TelemetryConfig) -> None:
        logs.install()
        self._node: str = ray.get_runtime_context().get_node_id()
        self._config = config
        self._notifier = Notifier(readable(config.channels))
        self._energy: EnergyMetrics | None = None
        self._telemetry = self._started()
        self._metrics = start_metrics(f"telemetry-{self._node}", {"ray.node_id": self._node})
        if self._metrics is not None:
            observe_cards(self._metrics.meter, self._telemetry)
            self._energy = EnergyMetrics(self._metrics.meter)

    def adopt(self, config: TelemetryConfig) -> None:
        """Watch by another config from now on; nothing happens if it is the same.

        Counters, guards and alerts go on from where they are (:meth:`NodeTelemetry.adopt`). A node
        has one telemetry: where applications differ in what they want of it, the last one
        to start has its way.
        """
        changed = changes(self._config, config)
        if not changed:
            return
        logger.warning("this node is watched by other settings now: %s", ", ".join(changed))
        self._notifier.adopt(readable(config.channels))
        self._telemetry.adopt(config, changed)
        self._config = config

    def told(
        self,
        records: Sequence[SynthesisRecord],
        load: LoadReport | None,
        exports: Exports = (),
    ) -> None:
        """What a replica's line has gathered: its syntheses, and how busy it is if that changed.

        See :meth:`NodeTelemetry.record` and :meth:`NodeTelemetry.load`.
        """
        for record in records:
            self._telemetry.record(record)
        if load is not None:
            self._telemetry.load(load.replica, load.card_uuid, load.busy, load.slots, exports)

    def card_over(self, card_uuid: str, since_unix: float, until_unix: float) -> CardUse | None:
        """See :meth:`NodeTelemetry.card_over`."""
        return self._telemetry.card_over(card_uuid, since_unix, until_unix)

    def assign_simulated(self, replica: str) -> str:
        """See :meth:`NodeTelemetry.assign_simulated`."""
        return self._telemetry.assign_simulated(replica)

    def snapshot(self, since: float | None = None) -> NodeSnapshot:
        """See :meth:`NodeTelemetry.snapshot`."""
        snapshot = self._telemetry.snapshot(since)
        if self._metrics is None:
            return snapshot
        own = self._metrics.exports()
        told = tuple(state.problem for state in own if state.problem is not None)
        return replace(
            snapshot,
            exports=merge_exports([*snapshot.exports, *own]),
            problems=(*snapshot.problems, *told),
        )

    def permit(self, card_uuid: str) -> GuardState | None:
        """How much new work a card may take; None for one without a reading."""
        states = {guard.uuid: guard.state for guard in self._telemetry.guards()}
        return states.get(card_uuid)

    def close(self) -> None:
        """Stop sampling and export a last time; bounded, for the moment before the end."""
        self._telemetry.close()
        self._notifier.close()
        if self._metrics is not None:
            self._metrics.close()

    def _used(self, record: SynthesisRecord, energy_j_per_min: float) -> None:
        if self._energy is not None:
            self._energy.used(record, energy_j_per_min)

    def _started(self) -> NodeTelemetry:
        config, host = self._config, socket.gethostname()
        watch = CardWatch(
            host, thermal=config.thermal, alerts=config.alerts, stale_after_s=config.stale_after_s
        )
        telemetry = NodeTelemetry(
            self._node,
            host,
            make_reader(config, self._node),
            period_s=config.period_s,
            stale_after_s=config.stale_after_s,
            watch=watch,
            post=self._notifier.post,
            language=config.language,
            channels=lambda: self._notifier.counts,
            used=self._used,
        )
        telemetry.start()
        return telemetry


def ensure_actor(node: str, config: TelemetryConfig) -> Any:
    """The handle of a node's actor, which is made if it is missing. Blocks: call it in a thread.

    Raises:
        RayError: The node is gone, or Ray is.
    """
    try:
        handle = ray.get_actor(actor_name(node), namespace=NAMESPACE)
    except ValueError:
        options = ray.remote(TelemetryActor).options(
            name=actor_name(node),
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_pending_calls=MAX_PENDING_CALLS,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        return options.remote(config)
    handle.adopt.remote(config)
    return handle


def stop_actors(timeout_s: float = 5.0) -> None:
    """Flush and end every node's actor. Blocks, *timeout_s* in all at most for the flush."""
    handles = []
    for node in alive_nodes():
        try:
            handles.append(ray.get_actor(actor_name(node.id), namespace=NAMESPACE))
        except ValueError:
            continue
    flushed = [handle.close.remote() for handle in handles]
    if flushed:
        ray.wait(flushed, num_returns=len(flushed), timeout=timeout_s)
    for handle in handles:
        ray.kill(handle)


def known_nodes() -> tuple[NodeInfo, ...]:
    """The nodes of the cluster, those that are gone too. Blocks, as Ray does."""
    return tuple(
        NodeInfo(str(node["NodeID"]), str(node["NodeManagerHostname"]), _fate(node))
        for node in ray.nodes()
    )


def _fate(node: Mapping[str, Any]) -> NodeFate:
    if node["Alive"]:
        return "alive"
    return "left" if node.get("DeathReason") in _ORDERLY else "died"


def alive_nodes() -> tuple[NodeInfo, ...]:
    """The nodes of the cluster that are alive. Blocks, as Ray does."""
    return tuple(node for node in known_nodes() if node.fate == "alive")
