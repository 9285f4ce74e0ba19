"""The cluster view over nodes that answer, hang, fail, leave and come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
import ray

from telemetry import actor
from telemetry.body import to_json
from telemetry.cluster import FORGET_DEAD_S, ClusterView, NodeInfo
from telemetry.core.replica_reports import ReplicaLoad
from telemetry.core.sample import CardProcess, CardSample, SynthesisRecord
from telemetry.core.window import AgedSample, Totals, merge_totals
from telemetry.snapshot import NodeSnapshot
from tests.records import record

MIB = 2**20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def card(node: str, at: float, index: int = 0) -> CardSample:
    return CardSample(
        at,
        index,
        f"SIM-{node}-{index}",
        "Simulated card",
        simulated=True,
        gpu_util=50.0,
        mem_used_bytes=2048 * MIB,
        mem_total_bytes=81920 * MIB,
        temp_c=0.0,
        processes=(CardProcess(7, 512 * MIB), CardProcess(8)),
    )


def snapshot(node: str, *times: float, records: tuple[SynthesisRecord, ...] = ()) -> NodeSnapshot:
    samples = tuple(card(node, at) for at in times)
    return NodeSnapshot(
        node=node,
        host=f"host-{node}",
        taken_at=max(times, default=0.0),
        source="simulated",
        samples=samples,
        latest=(AgedSample(samples[-1], 0.5),) if samples else (),
        records=records,
        totals=merge_totals(map(Totals.of, records)),
        loads=(ReplicaLoad("r1", f"SIM-{node}-0", 1, 2, 0.0), ReplicaLoad("r2", None, 1, 1, 0.0)),
        problems=(f"{node} is warm",),
    )


class FakeCluster:
    """Nodes by id, each with a way to answer."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], Awaitable[NodeSnapshot]]] = {}
        self.asked_since: list[float | None] = []
        self.lists: Callable[[], Awaitable[None]] = self.at_once

    async def at_once(self) -> None:
        return None

    def put(self, answer: NodeSnapshot) -> None:
        async def give() -> NodeSnapshot:
            return answer

        self.answers[answer.node] = give

    def hang(self, node: str, cancelled: list[str] | None = None) -> None:
        async def wait() -> NodeSnapshot:
            try:
                return await asyncio.Future()
            finally:
                if cancelled is not None:
                    cancelled.append(node)

        self.answers[node] = wait

    def fail(self, node: str) -> None:
        async def refuse() -> NodeSnapshot:
            raise ConnectionError("the actor restarts")

        self.answers[node] = refuse

    async def nodes(self) -> tuple[NodeInfo, ...]:
        await self.lists()
        return tuple(NodeInfo(node, f"host-{node}") for node in self.answers)

    async def snapshot(self, node: str, since: float | None) -> NodeSnapshot:
        self.asked_since.append(since)
        return await self.answers[node]()

    def close(self) -> None:
        self.answers.clear()


def cluster() -> tuple[FakeCluster, ClusterView, Clock]:
    source, clock = FakeCluster(), Clock()
    return source, ClusterView(source, clock=clock, wall=lambda: 1e9 + clock.now), clock


async def test_all_nodes_become_one_body_of_plain_json() -> None:
    source, view, _ = cluster()
    good = record(timestamp=11.0, node="a", trace_id="f" * 32)
    source.put(snapshot("a", 1.0, 3.0, records=(good,)))
    source.put(snapshot("b", 2.0, records=(record(timestamp=10.0, error="engine_crashed"),)))
    body = to_json(await view.gather())
    assert json.loads(json.dumps(body)) == body
    assert [(e["timestamp"], e["node"]) for e in body["gpu"]] == [
        (1.0, "a"),
        (2.0, "b"),
        (3.0, "a"),
    ]
    assert body["gpu"][0] == {
        "timestamp": 1.0,
        "node": "a",
        "index": 0,
        "uuid": "SIM-a-0",
        "name": "Simulated card",
        "gpu_util": 50.0,
        "mem_used": 2048.0,
        "mem_total": 81920.0,
        "temp": 0.0,
        "power_w": None,
        "power_limit_w": None,
        "sm_clock_mhz": None,
        "mem_clock_mhz": None,
        "simulated": True,
        "error": None,
    }
    newest = body["cards"][0]
    assert (newest["uuid"], newest["timestamp"], newest["host"]) == ("SIM-a-0", 3.0, "host-a")
    assert (newest["age_s"], newest["stale"], newest["busy"], newest["slots"]) == (0.5, False, 1, 2)
    assert newest["processes"] == [{"pid": 7, "mem_used": 512.0}, {"pid": 8, "mem_used": None}]
    failed, spoken = body["inference"]
    assert failed["error"] == "engine_crashed"
    assert (spoken["output_duration"], spoken["inference_time"]) == (8.0, 2.0)
    assert (spoken["rtf"], spoken["throughput_rt"], spoken["tokens_per_s"]) == (0.25, 4.0, 20.0)
    assert spoken["trace_id"] == "f" * 32
    totals = body["totals"]
    assert (totals["segments"], totals["failures"], totals["audio_s"]) == (2, 1, 8.0)
    assert (totals["cards"], totals["simulated_cards"]) == (2, 2)
    assert body["nodes"][0] == {
        "id": "a",
        "host": "host-a",
        "state": "ok",
        "age_s": 0.0,
        "card_source": "simulated",
        "problems": ["a is warm"],
    }


async def test_a_slow_and_a_failing_node_are_told_and_hold_up_nobody() -> None:
    source, view, clock = cluster()
    for node in "abc":
        source.put(snapshot(node, 1.0))
    await view.gather()
    clock.now += 10.0
    cancelled: list[str] = []
    source.hang("b", cancelled)
    source.fail("c")
    seen = {node.id: node for node in (await view.gather(timeout_s=0.05)).nodes}
    await asyncio.sleep(0)
    assert cancelled == ["b"]
    assert {node.id: node.state for node in seen.values()} == {
        "a": "ok",
        "b": "slow",
        "c": "failed",
    }
    assert [seen[node].age_s for node in "abc"] == [0.0, 10.0, 10.0]
    assert seen["c"].problem == "ConnectionError: the actor restarts"
    body = to_json(await view.gather(timeout_s=0.05))
    assert {c["node"]: (c["age_s"], c["stale"]) for c in body["cards"]} == {
        "a": (0.5, False),
        "b": (10.5, True),
        "c": (10.5, True),
    }


async def test_a_node_that_never_answered_has_no_age() -> None:
    source, view, _ = cluster()
    source.hang("a")
    (node,) = (await view.gather(timeout_s=0.05)).nodes
    assert (node.state, node.age_s, node.snapshot, node.cards) == ("slow", None, None, ())
    body = to_json(await view.gather(timeout_s=0.05))
    assert body["cards"] == []
    assert body["nodes"][0]["card_source"] is None


async def test_a_node_that_leaves_is_dead_for_a_while_and_then_gone() -> None:
    source, view, clock = cluster()
    source.put(snapshot("a", 1.0))
    source.put(snapshot("b", 1.0))
    await view.gather()
    del source.answers["b"]
    clock.now += 1.0
    seen = await view.gather()
    assert [(node.id, node.state) for node in seen.nodes] == [("a", "ok"), ("b", "dead")]
    stale = {entry["node"]: entry["stale"] for entry in to_json(seen)["cards"]}
    assert stale == {"a": False, "b": True}
    clock.now += FORGET_DEAD_S
    assert [node.id for node in (await view.gather()).nodes] == ["a"]


def test_ray_s_reason_tells_a_node_that_was_taken_out_from_one_that_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasons = [(True, 0), (False, 0), (False, 1), (False, 2), (False, 3), (False, 4)]
    nodes = [
        {"NodeID": f"n{at}", "NodeManagerHostname": "h", "Alive": alive, "DeathReason": reason}
        for at, (alive, reason) in enumerate(reasons)
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    fates = [node.fate for node in actor.known_nodes()]
    assert fates == ["alive", "died", "left", "died", "left", "left"]
    assert [node.id for node in actor.alive_nodes()] == ["n0"]


async def test_since_is_passed_on_and_holds_for_old_answers_too() -> None:
    source, view, _ = cluster()
    source.put(snapshot("a", 1.0, 2.0, 3.0))
    await view.gather()
    source.hang("a")
    body = to_json(await view.gather(since=2.0, timeout_s=0.05))
    assert source.asked_since == [None, 2.0]
    assert [entry["timestamp"] for entry in body["gpu"]] == [3.0]


async def test_without_a_list_of_nodes_the_known_ones_are_asked() -> None:
    source, view, _ = cluster()
    source.put(snapshot("a", 1.0))
    await view.gather()

    async def hang() -> None:
        await asyncio.Future()

    async def fail() -> None:
        raise ConnectionError("no head")

    source.lists = hang
    slow = await view.gather(timeout_s=0.1)
    source.lists = fail
    failed = await view.gather()
    assert [node.state for node in (*slow.nodes, *failed.nodes)] == ["ok", "ok"]
    assert to_json(slow)["problems"] == ["the list of nodes did not come within 0.05 s"]
    assert to_json(failed)["problems"] == [
        "the list of nodes could not be read: ConnectionError: no head"
    ]


async def test_a_cancellation_that_comes_with_the_list_of_nodes_is_not_lost() -> None:
    for turns in range(8):
        source, view, _ = cluster()
        source.hang("a")
        answered = asyncio.get_running_loop().create_future()

        async def wait(answered: asyncio.Future[None] = answered) -> None:
            await answered

        source.lists = wait
        gathering = asyncio.create_task(view.gather(timeout_s=60.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answered.set_result(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        gathering.cancel()
        done, _ = await asyncio.wait([gathering], timeout=10)
        assert done
        assert gathering.cancelled()


async def test_the_last_twenty_of_all_nodes_are_kept_newest_last() -> None:
    source, view, _ = cluster()
    for offset, node in enumerate("ab"):
        spoken = tuple(record(timestamp=float(2 * i + offset)) for i in range(20))
        source.put(snapshot(node, records=spoken))
    times = [entry["timestamp"] for entry in to_json(await view.gather())["inference"]]
    assert times == [float(t) for t in range(20, 40)]


async def test_an_empty_cluster_has_an_empty_body() -> None:
    _, view, _ = cluster()
    body = to_json(await view.gather())
    assert (body["gpu"], body["cards"], body["inference"], body["nodes"]) == ([], [], [], [])
    assert (body["totals"]["rtf"], body["totals"]["throughput_rt"]) == (None, None)
