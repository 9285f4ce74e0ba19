"""What is remembered of nodes, and for how long."""

from __future__ import annotations

import pytest

from telemetry import fleet_memory
from telemetry.cluster import ClusterSnapshot, NodeView
from telemetry.fleet_memory import NODES_REMEMBERED_S, FleetMemory
from tests.fleet_source import Fleet


async def answers(fleet: Fleet) -> ClusterSnapshot:
    views = [
        NodeView(node.id, node.host, "ok", 0.0, await fleet.snapshot(node.id, None))
        for node in await fleet.nodes()
    ]
    return ClusterSnapshot(fleet.now, None, 3.0, tuple(views))


async def test_a_node_that_left_is_remembered_for_a_day() -> None:
    fleet = Fleet(2, 1)
    memory = FleetMemory((), fleet.now)
    memory.note(await answers(fleet), fleet.now)
    fleet.nodes_number = 1
    for hours, known in ((23.9, {"n0", "n1"}), (0.2, {"n0"})):
        fleet.now += hours * 3600
        memory.note(await answers(fleet), fleet.now)
        assert set(memory.nodes) == known
    assert NODES_REMEMBERED_S == 24 * 3600


async def test_of_too_many_nodes_the_longest_silent_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_memory, "MOST_NODES", 3)
    fleet = Fleet(5, 1)
    memory = FleetMemory((), fleet.now)
    memory.note(await answers(fleet), fleet.now)
    assert len(memory.nodes) == 3
    fleet.now, fleet.nodes_number = fleet.now + 1, 2
    memory.note(await answers(fleet), fleet.now)
    assert {"n0", "n1"} <= set(memory.nodes)
    assert len(memory.nodes) == 3
