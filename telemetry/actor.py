"""One telemetry actor on each Ray node: a thin shell around :class:`~telemetry.node.NodeTelemetry`.

Actors are detached, named after their node and pinned to it, and come back after a crash. Anyone
may make the missing ones: two who try at once get the same actor. Each asks NVML for all cards of
its node (which ``CUDA_VISIBLE_DEVICES`` does not hide from it) and needs no CPU share.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from telemetry import logs
from telemetry.card_metrics import observe_cards
from telemetry.card_watch import ActiveAlert, CardGuard, CardWatch
from telemetry.cluster import NodeInfo
from telemetry.core.card_use import CardUse
from telemetry.core.sample import SynthesisRecord, XidEvent
from telemetry.core.thermal import GuardState
from telemetry.core.window import AgedSample
from telemetry.node import (
    NodeSnapshot,
    NodeTelemetry,
    ReplicaLoad,
    TelemetryConfig,
    changes,
    make_reader,
)
from telemetry.notify import ChannelError, Notifier
from telemetry.nvml import uuid_of
from telemetry.otel import start_metrics
from telemetry.speech_metrics import EnergyMetrics

logger = logging.getLogger(__name__)

NAMESPACE = "vibevoice-telemetry"
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
        self._notifier = make_notifier(config)
        self._telemetry = self._started(config)
        self._metrics = start_metrics(f"telemetry-{self._node}", {"ray.node_id": self._node})
        if self._metrics is not None:
            readings = _Readings(lambda: self._telemetry)
            observe_cards(self._metrics.meter, readings, stale_after_s=config.stale_after_s)
            self._energy = EnergyMetrics(self._metrics.meter)

    def adopt(self, config: TelemetryConfig) -> None:
        """Watch by another config from now on; nothing happens if it is the same.

        A node has one telemetry: where applications differ in what they want of it, the last one
        to start has its way.
        """
        if config == self._config:
            return
        told = ", ".join(changes(self._config, config))
        logger.warning("this node is watched by other settings now: %s", told)
        self._telemetry.close()
        self._notifier.close()
        self._config = config
        self._notifier = make_notifier(config)
        self._telemetry = self._started(config)

    def record(self, record: SynthesisRecord) -> None:
        """See :meth:`NodeTelemetry.record`."""
        energy = self._telemetry.record(record)
        if self._metrics is not None and energy is not None:
            self._energy.used(record, energy)

    def card_over(self, card_uuid: str, since_unix: float, until_unix: float) -> CardUse | None:
        """See :meth:`NodeTelemetry.card_over`."""
        return self._telemetry.card_over(card_uuid, since_unix, until_unix)

    def load(self, replica: str, card_uuid: str | None, busy: int, slots: int) -> None:
        """See :meth:`NodeTelemetry.load`."""
        self._telemetry.load(replica, card_uuid, busy, slots)

    def assign_simulated(self, replica: str) -> str:
        """See :meth:`NodeTelemetry.assign_simulated`."""
        return self._telemetry.assign_simulated(replica)

    def snapshot(self, since: float | None = None) -> NodeSnapshot:
        """See :meth:`NodeTelemetry.snapshot`."""
        snapshot = self._telemetry.snapshot(since)
        if self._metrics is None:
            return snapshot
        failing_s = self._metrics.export_failing_s
        told = (f"no telemetry could be exported for {failing_s:.0f} s",) if failing_s > 0 else ()
        return replace(snapshot, export_failing_s=failing_s, problems=(*snapshot.problems, *told))

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

    def _started(self, config: TelemetryConfig) -> NodeTelemetry:
        reader = make_reader(config, self._node)
        host = socket.gethostname()
        watch = CardWatch(
            host, thermal=config.thermal, alerts=config.alerts, stale_after_s=config.stale_after_s
        )
        telemetry = NodeTelemetry(
            self._node,
            host,
            reader,
            period_s=config.period_s,
            watch=watch,
            post=self._notifier.post,
            language=config.language,
        )
        telemetry.start()
        return telemetry


class _Readings:
    """The node's telemetry of the moment: the metrics' callbacks outlive an adopted config.

    Args:
        telemetry: The telemetry that runs now.
    """

    def __init__(self, telemetry: Callable[[], NodeTelemetry]) -> None:
        self._telemetry = telemetry

    def latest(self) -> tuple[AgedSample, ...]:
        return self._telemetry().latest()

    def loads(self) -> tuple[ReplicaLoad, ...]:
        return self._telemetry().loads()

    def guards(self) -> tuple[CardGuard, ...]:
        return self._telemetry().guards()

    def alerts(self) -> tuple[ActiveAlert, ...]:
        return self._telemetry().alerts()

    def faults(self) -> tuple[XidEvent, ...]:
        return self._telemetry().faults()


def make_notifier(config: TelemetryConfig) -> Notifier:
    """Whoever tells people; tells nobody where a channel of the config can't be used."""
    try:
        return Notifier(config.channels)
    except ChannelError as error:
        logger.warning("no alerts are sent: %s", error)
        return Notifier(())


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


def ensure_actors(config: TelemetryConfig) -> dict[str, Any]:
    """Handles of the actors of all nodes that are alive, by node id. Blocks, as above.

    A node that leaves meanwhile is left out.
    """
    return _ensure(config, _alive_nodes(), {})


def stop_actors(timeout_s: float = 5.0) -> None:
    """Flush and end every node's actor. Blocks, *timeout_s* in all at most for the flush."""
    handles = []
    for node in _alive_nodes():
        try:
            handles.append(ray.get_actor(actor_name(node.id), namespace=NAMESPACE))
        except ValueError:
            continue
    flushed = [handle.close.remote() for handle in handles]
    if flushed:
        ray.wait(flushed, num_returns=len(flushed), timeout=timeout_s)
    for handle in handles:
        ray.kill(handle)


def assigned_card() -> str | None:
    """UUID of the card that Ray gave this worker, or None without one. Blocks, as NVML does.

    Raises:
        UnknownCardError: Ray's id is not that of one of the node's cards.
    """
    ids = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    return uuid_of(str(ids[0])) if ids else None


async def local_actor(config: TelemetryConfig, timeout_s: float = 5.0) -> Any | None:
    """The actor of this worker's node, or None if it can't be had in time."""
    node = ray.get_runtime_context().get_node_id()
    try:
        return await asyncio.wait_for(asyncio.to_thread(ensure_actor, node, config), timeout_s)
    except (TimeoutError, RayError) as error:
        logger.warning("no telemetry on node %s: %s", node, error or "timed out")
        return None


class NodeLink:
    """A replica's line to its node's actor: sends and forgets, never waits, never raises.

    It is a :class:`~telemetry.speech_metrics.SynthesisHook`.

    Args:
        actor: From :func:`local_actor`; with None everything is dropped.
        replica: Replica id.
        card_uuid: The replica's card, or None.
    """

    def __init__(self, actor: Any | None, replica: str, card_uuid: str | None) -> None:
        self._actor = actor
        self._replica = replica
        self._card_uuid = card_uuid

    def spoken(self, record: SynthesisRecord, context: object) -> None:  # noqa: ARG002
        """Send a record."""
        self._send("record", record)

    def load(self, busy: int, slots: int) -> None:
        """Send how many slots are busy; at every change and every 5 s at least."""
        self._send("load", self._replica, self._card_uuid, busy, slots)

    @property
    def guarded(self) -> bool:
        """Whether there is a card and somebody who guards it."""
        return self._actor is not None and self._card_uuid is not None

    async def permit(self) -> GuardState:
        """What the thermal guard allows the replica's card now; unlike the rest it may raise.

        Raises:
            RayError: The actor is gone or restarting.
            LookupError: There is no card, no actor, or no reading of the card (yet, or since long).
        """
        if self._actor is None or self._card_uuid is None:
            raise LookupError("nobody guards a card here")
        state: GuardState | None = await self._actor.permit.remote(self._card_uuid)
        if state is None:
            raise LookupError(f"card {self._card_uuid} has not been read")
        return state

    async def card_over(self, since_unix: float, until_unix: float) -> CardUse | None:
        """What the replica's card did over an interval; raises as :meth:`permit`."""
        if self._actor is None or self._card_uuid is None:
            raise LookupError("there is no card here, or nobody who watches it")
        asked = self._actor.card_over.remote(self._card_uuid, since_unix, until_unix)
        use: CardUse | None = await asked
        return use

    def _send(self, method: str, *args: object) -> None:
        if self._actor is None:
            return
        try:
            getattr(self._actor, method).remote(*args)
        except RayError as error:
            logger.debug("telemetry dropped %s: %s", method, error)


class RayCluster:
    """Ray as the :class:`~telemetry.cluster.ClusterSource`: follows its nodes, asks their actors.

    Args:
        config: For the actors it makes on nodes that have none.
    """

    def __init__(self, config: TelemetryConfig) -> None:
        self._config = config
        self._handles: dict[str, Any] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="telemetry-reconcile")
        self._running: asyncio.Future[tuple[NodeInfo, ...]] | None = None

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """The nodes that are alive; each has an actor, or will have at the next call.

        While an earlier call still waits for Ray, this one waits for the same answer.
        """
        if self._running is None or self._running.done():
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(self._thread, self._reconcile)
        return await asyncio.shield(self._running)

    async def snapshot(self, node: str, since: float | None) -> NodeSnapshot:
        """What a node's actor knows.

        Raises:
            RayError: The actor is dead or restarting.
            LookupError: The node has no actor yet.
        """
        handle = self._handles.get(node)
        if handle is None:
            raise LookupError(f"node {node} has no telemetry actor yet")
        try:
            snapshot: NodeSnapshot = await handle.snapshot.remote(since)
        except RayError:
            # It may be another actor next time; the reconciliation looks it up again.
            self._handles.pop(node, None)
            raise
        return snapshot

    def close(self) -> None:
        """Let go of the thread; the actors stay."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _reconcile(self) -> tuple[NodeInfo, ...]:
        nodes = _alive_nodes()
        self._handles = _ensure(self._config, nodes, self._handles)
        return nodes


def _alive_nodes() -> tuple[NodeInfo, ...]:
    return tuple(
        NodeInfo(str(node["NodeID"]), str(node["NodeManagerHostname"]))
        for node in ray.nodes()
        if node["Alive"]
    )


def _ensure(
    config: TelemetryConfig, nodes: tuple[NodeInfo, ...], known: dict[str, Any]
) -> dict[str, Any]:
    """The handles that are known and still wanted, and those of the other nodes."""
    handles = {}
    for node in nodes:
        try:
            handles[node.id] = known.get(node.id) or ensure_actor(node.id, config)
        except RayError as error:
            logger.warning("no telemetry actor on node %s: %s", node.id, error)
    return handles
