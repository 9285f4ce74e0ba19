"""Ray's nodes as the cluster view asks them."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray.exceptions import RayError

from telemetry.actor import ensure_actor, known_nodes
from telemetry.cluster import NodeInfo
from telemetry.snapshot import NodeSnapshot
from telemetry.watch_config import TelemetryConfig

logger = logging.getLogger(__name__)


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
        """The nodes; each that is alive has an actor, or will have at the next call.

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
        nodes = known_nodes()
        alive = tuple(node for node in nodes if node.fate == "alive")
        self._handles = _ensure(self._config, alive, self._handles)
        return nodes


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
