"""This machine alone, without Ray: a :class:`~telemetry.cluster.ClusterSource` of one node."""

from __future__ import annotations

import socket

from telemetry.cluster import NodeInfo
from telemetry.node import NodeTelemetry
from telemetry.nvml import NvmlCards
from telemetry.snapshot import NodeSnapshot


class ThisNode:
    """Samples the cards of this machine's driver.

    Args:
        period_s: Seconds between two samples.
        patience_s: How long to wait for each card's first one; a driver may hang.
    """

    def __init__(self, period_s: float = 1.0, patience_s: float = 3.0) -> None:
        self._host = socket.gethostname()
        self._telemetry = NodeTelemetry("here", self._host, NvmlCards(), period_s=period_s)
        self._telemetry.start()
        self._telemetry.wait_first(patience_s)

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """This one."""
        return (NodeInfo("here", self._host),)

    async def snapshot(self, _node: str, since: float | None) -> NodeSnapshot:
        """What its sampler has seen."""
        return self._telemetry.snapshot(since)

    def close(self) -> None:
        """Stop the sampler."""
        self._telemetry.close()
