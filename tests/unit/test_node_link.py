"""A replica's line to its node: what it is told of its card."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from serve_app import rayreplica
from serve_app.engines.simulated import SimulatedEngine, SimulatedOptions
from serve_app.permit import Permit
from serve_app.rayreplica import RunningReplica
from serve_app.replica import ReplicaIdentity, Speaker
from telemetry.core.export_state import Exports, ExportState
from telemetry.core.replica_reports import LoadReport
from telemetry.core.sample import SynthesisRecord
from telemetry.core.thermal import GuardState
from telemetry.node_link import GATHERED_S, NodeLink, NodeSearch
from telemetry.speech_metrics import NoSynthesisHook
from tests.records import record


class Method:
    """A remote method with one answer."""

    def __init__(self, answer: str | None) -> None:
        self._answer = answer
        self.remote: Callable[[str], Awaitable[Any]] = self._remote

    async def _remote(self, _of: str) -> str | None:
        return self._answer


class Dead:
    """A remote method of an actor that is gone."""

    async def remote(self, _of: str) -> None:
        raise ActorDiedError


class Told:
    """A remote method that only listens."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[SynthesisRecord, ...], LoadReport | None]] = []
        self.exports: Exports = ()

    def remote(
        self, records: tuple[SynthesisRecord, ...], load: LoadReport | None, exports: Exports
    ) -> None:
        self.calls.append((records, load))
        self.exports = exports


class Actor:
    def __init__(self, answer: GuardState | None = None) -> None:
        self.permit: Method | Dead = Method(answer)
        self.told, self.assign_simulated = Told(), Method("SIM-0")


async def test_the_guards_word_is_passed_on() -> None:
    assert await NodeLink(Actor("paused"), "r", "GPU-a").permit() == "paused"


async def test_a_card_that_was_not_read_since_a_restart_is_not_said_to_be_open() -> None:
    with pytest.raises(LookupError, match="has not been read"):
        await NodeLink(Actor(None), "r", "GPU-a").permit()


async def test_what_comes_together_goes_in_one_call_and_the_last_load_counts() -> None:
    actor = Actor()
    link = NodeLink(actor, "r", "GPU-a")
    said = [record(audio_s=float(number)) for number in range(3)]
    for number, one in enumerate(said):
        link.load(number + 1, 4)
        link.spoken(one, None)
    assert actor.told.calls == []
    await asyncio.sleep(2 * GATHERED_S)
    assert actor.told.calls == [(tuple(said), LoadReport("r", "GPU-a", 3, 4))]


async def test_what_is_left_goes_at_the_end_once() -> None:
    actor = Actor()
    failing = (ExportState("traces", failing_s=9.0),)
    link = NodeLink(actor, "r", None, lambda: failing)
    link.load(0, 4)
    link.flush()
    assert actor.told.exports == failing
    link.flush()
    await asyncio.sleep(2 * GATHERED_S)
    assert actor.told.calls == [((), LoadReport("r", None, 0, 4))]


async def test_a_flood_is_sent_at_once_and_without_an_actor_nothing_is_kept() -> None:
    actor = Actor()
    link = NodeLink(actor, "r", None)
    for _ in range(300):
        link.spoken(record(), None)
    assert [len(records) for records, _ in actor.told.calls] == [256]
    link.flush()
    silent = NodeLink(None, "r", None)
    silent.spoken(record(), None)
    silent.flush()
    assert [len(records) for records, _ in actor.told.calls] == [256, 44]


class Ray:
    """Finds the node's actor when it is told to; blocks until then."""

    def __init__(self, actor: Actor) -> None:
        self._actor, self.up, self.asked = actor, threading.Event(), 0

    def __call__(self) -> Actor:
        self.asked += 1
        self.up.wait()
        return self._actor


async def test_a_slow_ray_is_asked_once_and_the_card_it_gives_stays() -> None:
    actor = Actor("paused")
    ray, link = Ray(actor), NodeLink(None, "r", None)
    link.load(1, 4)
    search = NodeSearch(ray, simulated=True, timeout_s=0.01)
    for _ in range(3):
        assert not await search.connect(link)
    ray.up.set()
    while not await search.connect(link):
        pass
    assert (ray.asked, link.card_uuid, await link.permit()) == (1, "SIM-0", "paused")
    link.flush()
    assert actor.told.calls == [((), LoadReport("r", None, 1, 4))]
    other = NodeLink(None, "r", "SIM-7")
    assert await search.connect(other)
    assert other.card_uuid == "SIM-7"


async def test_a_node_that_comes_late_guards_its_replica_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rayreplica, "_LOAD_PERIOD_S", 0.001)
    actor, now_s = Actor("paused"), 0.0
    ray, link = Ray(actor), NodeLink(None, "r", None)
    permit = Permit(link.permit, period_s=0.001, clock=lambda: now_s)
    speaker = Speaker(
        SimulatedEngine(SimulatedOptions()),
        ReplicaIdentity(replica="r", node="n", card_uuid=None, simulated=True),
        link,
        NoSynthesisHook(),
        permit=permit,
    )
    search = NodeSearch(ray, simulated=True, timeout_s=0.01)
    replica = RunningReplica(speaker, link, search, None)
    before = permit.state
    now_s = 31.0
    assert (before, permit.state) == ("open", "eased")
    ray.up.set()
    async with asyncio.timeout(10):
        while permit.state != "paused" or not actor.told.calls:
            await asyncio.sleep(0.001)
    assert replica.info.identity.card_uuid == "SIM-0"
    assert actor.told.calls[-1][1] == LoadReport("r", "SIM-0", 0, speaker.info.slots)

    actor.permit = Dead()
    async with asyncio.timeout(10):
        while ray.asked < 2:
            await asyncio.sleep(0.001)
    actor.permit = Method("open")
    await replica.close()
    speaker._change_load(-1)  # what was spoken ends behind it
    link.flush()
    goodbyes = [load for _, load in actor.told.calls[-2:] if load is not None]
    assert [load.slots for load in goodbyes] == [0, 0]
