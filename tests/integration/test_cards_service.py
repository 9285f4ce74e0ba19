"""Ray finds the cards of a driver by itself, pins a replica to each, and the sampler reads them.

The driver is the stand-in library, found through the environment at a process' start: the service
runs as a process of its own.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from tests.driver.build import build, cards, environment, write_state
from tests.heat_scene import first
from tests.integration.conftest import application
from tests.processes import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CARDS = 8
SETTINGS = {
    "engine": {
        "kind": "simulated",
        "options": {"first_chunk_s": 0.1, "real_time_factor": 0.05},
    },
    "cards": "nvml",
    "replicas": "every_card",
    "replica_cpus": 0.1,
    "access": {"keys": "off", "drain_timeout_s": 2},
    "telemetry": {"sample_period_s": 0.2},
}
SCENE = "\n".join(
    f"{('Ann', 'Ben')[n % 2]}: This is what I have to say about matter number {n} of the agenda, "
    "and I shall say no more about it."
    for n in range(40)
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "cards.state"
    write_state(path, cards(CARDS))
    return path


@pytest.fixture
def url(tmp_path: Path, state: Path) -> Iterator[str]:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"applications": [application("vibevoice", "/", SETTINGS)]}))
    port = free_port()
    command = Path(sys.executable).with_name("vibevoice-serve")
    with (tmp_path / "serve.log").open("wb") as log:
        service = subprocess.Popen(
            [command, "serve", "--config", config, "--port", str(port)],
            env=environment(build(tmp_path), state),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(timeout=60)


def test_gpus_without_a_service_shows_this_machine_s_cards(tmp_path: Path, state: Path) -> None:
    command = Path(sys.executable).with_name("vibevoice-serve")
    shown = subprocess.run(
        [command, "gpus", "--once", "--url", f"http://127.0.0.1:{free_port()}"],
        env={**environment(build(tmp_path), state), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "cards of this machine" in shown
    for card in cards(CARDS):
        assert f"{card.temp} C" in shown
    assert "simulated" not in shown


def test_every_card_speaks_and_is_read(url: str, state: Path) -> None:
    uuids = {card.uuid for card in cards(CARDS)}
    with httpx.Client(base_url=url, timeout=60) as http:
        first(lambda: http.get("/readyz").status_code == 200)
        answer = http.post(
            "/v1/audio/speech",
            json={"model": "simulated", "voice": "auto", "response_format": "pcm", "input": SCENE},
        )
        assert answer.status_code == 200
        outcome = http.get(f"/v1/audio/speech/{answer.headers['x-request-id']}").json()
        assert outcome["status"] == "complete"
        assert set(outcome["cards"]) == uuids
        body = http.get("/get_metrics").json()
        assert {card["uuid"] for card in body["cards"]} == uuids
        assert not any(card["simulated"] for card in body["cards"])
        hot = [replace(cards(CARDS)[0], temp=83), *cards(CARDS)[1:]]
        write_state(state, hot)
        seen = first(
            lambda: [
                card["temp"]
                for card in http.get("/get_metrics").json()["cards"]
                if card["uuid"] == hot[0].uuid and card["temp"] == 83
            ]
        )
        assert seen == [83]
