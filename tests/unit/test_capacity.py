"""The pool follows the fleet and what its guards allow."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from serve_app.capacity import Capacity, CapacityWatch, Roll
from serve_app.core.fair import FairPool
from serve_app.errors import AllPausedError
from telemetry.card_watch import CardGuard
from telemetry.cluster import ClusterSnapshot, NodeState, NodeView
from telemetry.core.replica_reports import ReplicaLoad
from telemetry.core.thermal import GuardState
from telemetry.core.window import Totals
from telemetry.snapshot import NodeSnapshot


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


def capacity_of(snapshot: ClusterSnapshot, application: str) -> Capacity:
    """What is known after one look."""
    return Roll(application).follow(snapshot, 0.0)


def test_places_are_what_the_guards_allow() -> None:
    seen = cluster(node("a", ("open", 8), ("eased", 8)), node("b", ("paused", 8), ("eased", 1)))
    assert capacity_of(seen, "app") == Capacity(replicas=4, places=13, paused=1)


def test_a_fleet_is_full_when_all_places_speak() -> None:
    assert not Capacity(0, 0, 0).full
    assert not Capacity(replicas=2, places=4, paused=0, busy=3).full
    assert Capacity(replicas=2, places=4, paused=0, busy=4).full
    speaking = node("a", ("open", 2), ("eased", 8))
    assert speaking.snapshot is not None
    loads = tuple(replace(load, busy=2) for load in speaking.snapshot.loads)
    told = replace(speaking, snapshot=replace(speaking.snapshot, loads=loads))
    assert capacity_of(cluster(told), "app").busy == 4


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


def test_telemetry_that_was_restarted_and_hears_of_replicas_one_by_one_narrows_nothing() -> None:
    roll = Roll("app", forget_s=20.0)
    whole = node("a", ("open", 4), ("paused", 4), ("open", 4))
    known = Capacity(replicas=3, places=8, paused=1)
    assert roll.follow(cluster(whole), 0.0) == known
    assert whole.snapshot is not None
    blank = replace(whole, snapshot=replace(whole.snapshot, loads=(), guards=()))
    assert roll.follow(cluster(blank), 1.0) == known
    first = replace(whole.snapshot, loads=whole.snapshot.loads[:1], guards=())
    assert roll.follow(cluster(replace(whole, snapshot=first)), 6.0) == known
    assert roll.follow(cluster(replace(whole, snapshot=first)), 25.0).replicas == 1


def test_a_card_that_opens_again_is_seen_though_its_replica_was_not_heard() -> None:
    roll = Roll("app")
    hot = node("a", ("paused", 4))
    roll.follow(cluster(hot), 0.0)
    assert hot.snapshot is not None
    guard = replace(hot.snapshot.guards[0], state="open")
    cool = replace(hot, snapshot=replace(hot.snapshot, loads=(), guards=(guard,)))
    assert roll.follow(cluster(cool), 1.0) == Capacity(replicas=1, places=4, paused=0)


def test_a_node_that_left_takes_its_replicas_along() -> None:
    roll = Roll("app")
    roll.follow(cluster(node("a", ("open", 2)), node("b", ("open", 3))), 0.0)
    assert roll.follow(cluster(node("a", ("open", 2))), 1.0).places == 2
