"""What the telemetry tests do on a real Ray cluster, each in a process of its own.

    python -m tests.integration.telemetry_scenarios NAME

A scenario prints what it saw as one line of JSON; the test compares it with what should be.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import ray
from ray.cluster_utils import Cluster

from telemetry.actor import NAMESPACE, actor_name, ensure_actor, stop_actors
from telemetry.body import to_json
from telemetry.body_entries import MetricsBody
from telemetry.cluster import ClusterView
from telemetry.node_link import NodeLink, NodeSearch, assigned_card
from telemetry.ray_cluster import RayCluster
from telemetry.watch_config import TelemetryConfig
from tests.records import record

SIMULATED = TelemetryConfig("simulated", simulated_cards=2, period_s=0.2)
PATIENCE_S = 60.0


async def body_when(view: ClusterView, holds: Callable[[MetricsBody], bool]) -> MetricsBody:
    """The first body for which *holds* is true."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        body = to_json(await view.gather())
        if holds(body):
            return body
    raise TimeoutError(f"the cluster view did not get there; last: {body}")


def states(body: MetricsBody) -> list[str]:
    """States of the nodes, sorted."""
    return sorted(node["state"] for node in body["nodes"])


def pid_of(actor: Any) -> int:
    """Process id of an actor."""
    return int(ray.get(actor.__ray_call__.remote(lambda _self: os.getpid()), timeout=PATIENCE_S))


def all_answer(nodes: int) -> Callable[[MetricsBody], bool]:
    """Every node answers and shows its two cards."""
    return lambda body: states(body) == ["ok"] * nodes and len(body["cards"]) == 2 * nodes


async def watch(cluster: Cluster, second: Any) -> dict[str, Any]:
    view = ClusterView(RayCluster(SIMULATED))
    seen: dict[str, Any] = {}
    body = await body_when(view, all_answer(2))
    seen["nodes"] = sorted(node["id"] for node in body["nodes"])
    seen["gpu_nodes"] = sorted({entry["node"] for entry in body["gpu"]})
    seen["actors"] = sorted(node for node in seen["nodes"] if has_actor(node))

    node = ray.get_runtime_context().get_node_id()
    link = NodeLink(None, "r-1", None)
    ensure = partial(ensure_actor, node, SIMULATED)
    await NodeSearch(ensure, simulated=True).connect(link)
    actor, uuid = ensure(), link.card_uuid
    link.load(1, 2)
    link.spoken(record(card_uuid=uuid), None)
    body = await body_when(view, lambda body: body["totals"]["segments"] == 1)
    seen["busy"] = {card["uuid"]: card["busy"] for card in body["cards"] if card["busy"]}
    seen["expected_busy"] = {uuid: 1}

    killed = pid_of(actor)
    os.kill(killed, signal.SIGKILL)
    # Its totals were lost with it, which is how the new one is told from the old.
    await body_when(view, lambda b: all_answer(2)(b) and b["totals"]["segments"] == 0)
    seen["came_back"] = pid_of(actor) != killed

    cluster.remove_node(second)
    body = await body_when(view, lambda body: states(body) == ["dead", "ok"])
    seen["stale"] = {card["node"]: card["stale"] for card in body["cards"]}
    seen["why"] = [n["problems"][-1] for n in body["nodes"] if n["state"] == "dead"]
    seen["left"] = sorted(node["id"] for node in body["nodes"] if node["state"] == "ok")
    view.close()
    return seen


def two_nodes() -> dict[str, Any]:
    """Actors on both nodes; one is killed and comes back; one node goes."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        second = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address)
        seen = asyncio.run(watch(cluster, second))
        node = ray.get_runtime_context().get_node_id()
        actor = ensure_actor(node, SIMULATED)
        ray.get(actor.told.remote([record()], None), timeout=PATIENCE_S)
        ensure_actor(node, TelemetryConfig("none"))
        adopted = ray.get(actor.snapshot.remote(), timeout=PATIENCE_S)
        seen["adopted"], seen["carried"] = adopted.source, adopted.totals.count
        stop_actors()
        seen["stopped"] = not has_actor(node)
        return seen
    finally:
        ray.shutdown()
        cluster.shutdown()


def has_actor(node: str) -> bool:
    """Whether a node's actor is known."""
    try:
        ray.get_actor(actor_name(node), namespace=NAMESPACE)
    except ValueError:
        return False
    return True


def cards() -> dict[str, Any]:
    """Ray and the node's actor find the stand-in driver's cards by themselves."""
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        pinned = ray.remote(num_gpus=1, num_cpus=0)(assigned_card)
        node = ray.get_runtime_context().get_node_id()
        config = TelemetryConfig("nvml", period_s=0.2)
        actor = ensure_actor(node, config)
        same = ensure_actor(node, config)
        view = ClusterView(RayCluster(config))
        body = asyncio.run(body_when(view, lambda body: len(body["cards"]) > 0))
        view.close()
        stop_actors()
        return {
            "gpus": ray.cluster_resources()["GPU"],
            "pinned": ray.get(pinned.remote(), timeout=PATIENCE_S),
            "driver_s_own": assigned_card(),
            "uuids": [card["uuid"] for card in body["cards"]],
            "temps": [card["temp"] for card in body["cards"]],
            "same": same == actor,
            "node": node,
        }
    finally:
        ray.shutdown()


if __name__ == "__main__":
    scenario = {"two_nodes": two_nodes, "cards": cards}[sys.argv[1]]
    sys.stdout.write(json.dumps(scenario()) + "\n")
