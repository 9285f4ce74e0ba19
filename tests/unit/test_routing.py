"""The router inside Ray Serve's own loop, over replicas that are told."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from ray.serve._private.common import (
    DeploymentHandleSource,
    DeploymentID,
    ReplicaID,
    RequestMetadata,
)
from ray.serve.request_router import PendingRequest

from serve_app.routing import GUARD_STATE, EveryReplica

SYNTH = DeploymentID("Synth", "app")


class Replica:
    """A replica with a queue of a known length."""

    def __init__(self, name: str, state: str | None = "open", queued: int = 0) -> None:
        self.replica_id = ReplicaID(name, SYNTH)
        self.routing_stats = {} if state is None else {GUARD_STATE: state}
        self.max_ongoing_requests = 4
        self.queued = queued

    async def get_queue_len(self, *, deadline_s: float) -> int:
        return self.queued


class CountedBackoff(EveryReplica):
    """Notes how often it has waited."""

    waits = 0

    async def _backoff(self, attempt: int) -> None:
        self.waits += 1
        await asyncio.sleep(0)


def router(*replicas: Replica) -> CountedBackoff:
    made = CountedBackoff(SYNTH, DeploymentHandleSource.REPLICA)
    made.update_replicas(list(replicas))
    return made


def request(*avoided: str, until_s: float = math.inf) -> PendingRequest:
    args = ["task", dict.fromkeys(avoided, until_s)]
    return PendingRequest(args, {}, RequestMetadata("request", "internal"))


async def chosen(replicas: list[Replica], asked: PendingRequest) -> str:
    async with asyncio.timeout(10):
        replica: Any = await router(*replicas)._choose_replica_for_request(asked)
    return str(replica.replica_id.unique_id)


@pytest.mark.parametrize(
    ("replicas", "avoided", "taken"),
    [
        ([Replica("a", queued=2), Replica("b", queued=1)], (), "b"),
        ([Replica("a", queued=2), Replica("b", "paused")], (), "a"),
        ([Replica("a", queued=2), Replica("b", "eased")], (), "a"),
        ([Replica("a", queued=4), Replica("b", "eased")], (), "b"),
        ([Replica("a", queued=2), Replica("b", None, queued=1)], (), "b"),
        ([Replica("a", queued=2), Replica("b")], ("b",), "a"),
        ([Replica("a", "eased"), Replica("b")], ("b",), "a"),
        ([Replica("b")], ("b",), "b"),
        ([Replica("a", "paused")], (), "a"),
    ],
)
async def test_a_segment_goes_where_a_card_may_take_it(
    replicas: list[Replica], avoided: tuple[str, ...], taken: str
) -> None:
    assert await chosen(replicas, request(*avoided)) == taken


async def test_a_call_waits_for_the_busy_rather_than_go_to_the_sick_but_not_for_ever() -> None:
    busy, sick = Replica("busy", queued=4), Replica("sick")
    waiting = router(busy, sick)
    choice = asyncio.create_task(waiting._choose_replica_for_request(request("sick")))
    async with asyncio.timeout(10):
        while waiting.waits < 3:
            await asyncio.sleep(0)
        assert not choice.done()
        busy.queued = 3
        assert (await choice) is busy
    busy.queued = 4
    assert await chosen([busy, sick], request("sick", until_s=0.0)) == "sick"


async def test_the_router_pauses_between_its_looks_where_all_are_full() -> None:
    full = Replica("a", queued=4)
    waiting = router(full)
    choice = asyncio.create_task(waiting._choose_replica_for_request(request()))
    async with asyncio.timeout(10):
        while waiting.waits < 3:
            await asyncio.sleep(0)
    assert not choice.done()
    full.queued = 3
    async with asyncio.timeout(10):
        assert (await choice) is full
