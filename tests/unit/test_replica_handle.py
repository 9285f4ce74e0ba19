"""The ingress' side of the replicas: who has refused or failed is not asked again at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from serve_app import replicas
from serve_app.engines.base import Line, SpeakTask
from serve_app.errors import EngineMemoryError
from serve_app.permit import Refused
from serve_app.pieces import Started, Waiting
from serve_app.replica import ReplicaIdentity, ReplicaInfo
from serve_app.replicas import ReplicaHandle
from tests.unit.ingress_stage import ENGINE

TASK = SpeakTask(key="0" * 16, lines=(Line("Ann", "v", "Words."),), seed=0, est_s=1.0)


class Answer:
    """One call's answer, and whether it was cancelled."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.cancelled = items, False

    async def __aiter__(self) -> AsyncIterator[Any]:
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield (item,)

    def cancel(self) -> None:
        self.cancelled = True


class Deployment:
    """A deployment's handle that answers as it is told and notes what it was asked."""

    def __init__(self, *answers: list[Any]) -> None:
        self.answers = [Answer(items) for items in answers]
        self.avoided: list[dict[str, float]] = []
        self.speak = self

    def options(self, **_options: object) -> Deployment:
        return self

    def remote(self, _task: SpeakTask, avoided: dict[str, float]) -> Answer:
        self.avoided.append(avoided)
        return self.answers[len(self.avoided) - 1]


async def spoken(handle: ReplicaHandle, task: SpeakTask = TASK) -> list[Any]:
    return [item async for item in handle.speak(task)]


async def test_a_refused_segment_goes_on_to_others_and_so_does_the_next() -> None:
    now_s = [0.0]
    taken = [Started("r-3", "rev")]
    synth = Deployment([Refused("r-1", "hot")], [Refused("r-2", "hot")], taken, taken, taken)
    handle = ReplicaHandle(synth, clock=lambda: now_s[0])
    assert await spoken(handle) == [Waiting(), Waiting(), *taken]
    assert await spoken(handle) == taken
    now_s[0] = 1.5
    assert await spoken(handle) == taken
    both = {"r-1": 1.0, "r-2": 1.0}
    assert synth.avoided == [{}, {"r-1": 1.0}, both, both, {}]
    assert all(answer.cancelled for answer in synth.answers)


async def test_a_replica_that_failed_is_avoided_by_every_segment_for_a_while() -> None:
    now_s = [0.0]
    failure = RayTaskError("speak", "trace", EngineMemoryError("full"))
    taken = [Started("r-2", "rev")]
    synth = Deployment([Started("r-1", "rev"), failure], taken, taken)
    handle = ReplicaHandle(synth, clock=lambda: now_s[0])
    with pytest.raises(EngineMemoryError):
        await spoken(handle)
    assert await spoken(handle) == taken
    now_s[0] = 2.0
    assert await spoken(handle) == taken
    assert synth.avoided == [{}, {"r-1": 2.0}, {}]


async def test_a_segment_never_goes_back_to_where_it_hung_and_the_others_not_at_once() -> None:
    taken = [Started("r-2", "rev")]
    synth = Deployment(taken, [Refused("r-3", "hot")], taken, taken)
    # Time flies: each call comes 1.5 s after the one before it.
    handle = ReplicaHandle(synth, clock=lambda: 1.5 * len(synth.avoided))
    never = {"r-0": float("inf"), "r-1": float("inf")}
    assert await spoken(handle, replace(TASK, failed_on=("r-0", "r-1"))) == taken
    assert await spoken(handle) == [Waiting(), *taken]
    assert await spoken(handle) == taken
    assert synth.avoided == [never, {"r-1": 2.0}, {"r-3": 4.0}, {}]


async def test_a_fault_counts_once_however_often_the_segment_is_refused() -> None:
    synth = Deployment([Refused("r-3", "hot")], [Refused("r-3", "hot")], [Started("r-2", "rev")])
    handle = ReplicaHandle(synth, clock=lambda: 3.0 * len(synth.avoided))
    await spoken(handle, replace(TASK, failed_on=("r-1",)))
    assert handle._avoided._penalties["r-1"].until_s == 2.0


class Describing:
    """A deployment whose replicas tell of themselves, or have no slot left to do so."""

    def __init__(self, info: ReplicaInfo) -> None:
        self.info, self.busy, self.describe = info, False, self

    def options(self, **_options: object) -> Describing:
        return self

    def remote(self) -> asyncio.Future[ReplicaInfo]:
        answer = asyncio.get_running_loop().create_future()
        if not self.busy:
            answer.set_result(self.info)
        return answer


async def test_a_fleet_that_speaks_in_all_its_slots_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replicas, "_DESCRIBE_TIMEOUT_S", 0.01)
    synth = Describing(ReplicaInfo(ReplicaIdentity("r", "n", None, simulated=True), ENGINE, 1))
    full = False
    handle = ReplicaHandle(synth, full=lambda: full)
    synth.busy = full = True
    assert not (await handle.readiness()).ready  # nobody has told yet what could be asked for
    synth.busy = False
    assert (await handle.readiness()).ready
    synth.busy = True
    assert (await handle.readiness()).ready
    full = False
    found = await handle.readiness()
    assert (found.ready, len(found.reasons["reasons"])) == (False, 1)
