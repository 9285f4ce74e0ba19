"""The pool follows the fleet and what its guards allow."""

from __future__ import annotations

import asyncio

import pytest

from serve_app.capacity import Capacity, CapacityWatch, capacity_of
from serve_app.core.fair import FairPool
from serve_app.errors import AllPausedError
from telemetry.card_watch import CardGuard
from telemetry.cluster import ClusterSnapshot, NodeState, NodeView
from telemetry.core.thermal import GuardState
from telemetry.core.window import Totals
from telemetry.node import NodeSnapshot, ReplicaLoad


def node(
    name: str, *cards: tuple[GuardState, int], state: NodeState = "ok", guarded: bool = True
) -> NodeView:
    """A node with one replica on each card: its guard's state and its slots."""
    uuids = [f"GPU-{name}-{at}" for at in range(len(cards))]
    snapshot = NodeSnapshot(
        node=name,
        host=name,
        taken_at=0.0,
        source="nvml",
        samples=(),
        latest=(),
        records=(),
        totals=Totals(),
        loads=tuple(
            ReplicaLoad(f"app#r-{uuid}", uuid if guarded else None, 0, slots, 0.0)
            for uuid, (_, slots) in zip(uuids, cards, strict=True)
        ),
        problems=(),
        guards=tuple(
            CardGuard(uuid, guard, "", 0.0) for uuid, (guard, _) in zip(uuids, cards, strict=True)
        ),
    )
    return NodeView(name, name, state, 0.0, snapshot)


def cluster(*nodes: NodeView) -> ClusterSnapshot:
    return ClusterSnapshot(0.0, None, 3.0, nodes)


def test_places_are_what_the_guards_allow() -> None:
    seen = cluster(node("a", ("open", 8), ("eased", 8)), node("b", ("paused", 8), ("eased", 1)))
    assert capacity_of(seen, "app") == Capacity(replicas=4, places=13, paused=1)


def test_a_node_that_left_and_one_that_never_answered_count_for_nothing() -> None:
    silent = NodeView("c", "c", "slow", None, None)
    seen = cluster(node("a", ("open", 2)), node("b", ("open", 2), state="dead"), silent)
    assert capacity_of(seen, "app").places == 2


def test_replicas_without_a_card_are_open() -> None:
    assert capacity_of(cluster(node("a", ("paused", 3), guarded=False)), "app").places == 3


def test_other_applications_count_for_themselves() -> None:
    assert capacity_of(cluster(node("a", ("open", 3))), "ap").replicas == 0


def test_no_replica_is_not_all_paused() -> None:
    assert not capacity_of(cluster(), "app").all_paused
    assert capacity_of(cluster(node("a", ("paused", 4))), "app").all_paused


async def test_the_pool_follows_and_new_requests_are_told() -> None:
    seen = cluster(node("a", ("open", 4)))

    async def look(_since: float) -> ClusterSnapshot:
        return seen

    pool = FairPool(9)
    watch = CapacityWatch(look, pool, application="app", hold_s=20.0)
    watch.check()
    await watch.look_once()
    assert pool.width == 4
    seen = cluster(node("a", ("paused", 4)))
    await watch.look_once()
    assert pool.width == 1
    with pytest.raises(AllPausedError) as caught:
        watch.check()
    assert caught.value.retry_after_s == 20
    seen = cluster()
    await watch.look_once()
    assert pool.width == 1
    watch.check()


async def test_a_failing_look_leaves_all_as_it_was() -> None:
    looked = asyncio.Event()

    async def look(_since: float) -> ClusterSnapshot:
        looked.set()
        raise ConnectionError

    pool = FairPool(5)
    following = asyncio.create_task(
        CapacityWatch(look, pool, application="app", hold_s=1.0, period_s=0.0).follow()
    )
    await looked.wait()
    looked.clear()
    await looked.wait()
    assert pool.width == 5
    following.cancel()
