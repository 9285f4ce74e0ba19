"""Telemetry on a real Ray cluster: actors that follow the nodes, cards that Ray finds by itself.

Each scenario runs in a process of its own: the stand-in driver must be on the library path when
Ray starts, and no other cluster of this test run may be met.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.driver.build import build, cards, environment, write_state
from tests.otlp import OtlpReceiver

pytestmark = pytest.mark.integration


def run(scenario: str, env: dict[str, str]) -> dict[str, Any]:
    """What a scenario saw; its output is shown if it failed."""
    env = {**env, "RAY_USAGE_STATS_ENABLED": "0"}
    env.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "tests.integration.telemetry_scenarios", scenario]
    done = subprocess.run(
        command,
        env=env,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_actors_follow_the_nodes_come_back_and_go() -> None:
    root = str(Path(__file__).parents[2])
    seen = run("two_nodes", {**os.environ, "PYTHONPATH": root})
    assert len(seen["nodes"]) == 2
    assert seen["gpu_nodes"] == seen["nodes"]
    assert seen["actors"] == seen["nodes"]
    assert seen["busy"] == seen["expected_busy"]
    assert seen["came_back"]
    (left,) = seen["left"]
    (gone,) = set(seen["nodes"]) - {left}
    assert seen["stale"] == {left: False, gone: True}
    assert seen["why"] == ["the node left the cluster"]  # Ray says that it was told to
    assert (seen["adopted"], seen["carried"]) == ("none", 1)
    assert seen["stopped"]


def test_ray_finds_the_driver_s_cards_and_the_actor_exports_them(tmp_path: Path) -> None:
    state = tmp_path / "cards.state"
    write_state(state, cards(4))
    uuids = [card.uuid for card in cards(4)]
    with OtlpReceiver() as receiver:
        env = environment(build(tmp_path), state)
        seen = run("cards", {**env, **receiver.environment()})
    # The actor exports a last time when it is stopped.
    exported = [metric for metric in receiver.metrics() if metric.name == "hw.temperature"]
    assert seen["gpus"] == 4
    assert seen["pinned"] in uuids
    assert seen["driver_s_own"] is None
    assert (seen["uuids"], seen["temps"]) == (uuids, [40.0, 41.0, 42.0, 43.0])
    assert seen["same"]
    assert exported
    points = {
        p.attributes["hw.id"]: p.value
        for p in exported[-1].points
        if p.attributes["hw.sensor_location"] == "gpu"
    }
    assert points == dict(zip(uuids, seen["temps"], strict=True))
    assert {metric.resource["ray.node_id"] for metric in exported} == {seen["node"]}
