"""A service on the stand-in driver's cards, which tests heat and cool while it speaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.driver.build import build, cards, environment, write_state
from tests.integration.conftest import application
from tests.processes import free_port, pids_of

PATIENCE_S, START_S = 90.0, 180.0
CARDS = 8
COOL, HOT = 50, 78
UUIDS = tuple(card.uuid for card in cards(CARDS))
SCENE = "\n".join(
    f"{('Ann', 'Ben')[n % 2]}: This is what I have to say about matter number {n} of the agenda, "
    "and I shall say no more about it."
    for n in range(24)
)
LONG_SCENE = "\n".join([SCENE] * 6)


@dataclass(frozen=True)
class HotService:
    """A running service and its cards.

    Args:
        http: Its client.
        state: The cards' state file.
        process: Its process.
    """

    http: httpx.Client
    state: Path
    process: subprocess.Popen[bytes]

    def heat(self, *hot: int) -> None:
        """Make these cards too hot, and all others cool."""
        write_state(
            self.state,
            [
                replace(card, temp=HOT if index in hot else COOL)
                for index, card in enumerate(cards(CARDS))
            ],
        )

    def post(self, text: str = SCENE) -> httpx.Response:
        """One request, to its end."""
        body = {"model": "simulated", "voice": "auto", "response_format": "pcm", "input": text}
        return self.http.post("/v1/audio/speech", json=body)

    def outcome(self, answer: httpx.Response) -> dict[str, Any]:
        """What became of an answered request, which must not have failed."""
        assert answer.status_code == 200, answer.text
        path = f"/v1/audio/speech/{answer.headers['x-request-id']}"
        outcome: dict[str, Any] = self.http.get(path).json()
        assert (outcome["status"], outcome["retries"]) == ("complete", 0), outcome
        return outcome

    def cards_of_next(self) -> set[str]:
        """The cards that speak one more request, which must not fail."""
        return set(self.outcome(self.post())["cards"])

    def speak_until(self, holds: Callable[[set[str]], bool]) -> None:
        """Send one request after another until one's cards are as they should be."""
        first(lambda: holds(self.cards_of_next()))

    def telemetry_pids(self) -> list[int]:
        """Processes of its nodes' telemetry."""
        return pids_of("ray::TelemetryActor", self.process.pid)


def first(holds: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true answer; a service that is not there yet counts as no answer."""
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        try:
            if answer := holds():
                return answer
        except (httpx.TransportError, KeyError, ValueError):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@contextmanager
def hot_service(
    folder: Path, telemetry: dict[str, Any], *, real_time_factor: float = 0.04
) -> Iterator[HotService]:
    """A service with cool cards that is ready."""
    settings = {
        "engine": {
            "kind": "simulated",
            "slots": 2,
            "options": {"first_chunk_s": 0.05, "real_time_factor": real_time_factor},
        },
        "cards": "nvml",
        "replicas": "every_card",
        "replica_cpus": 0.1,
        "access": {"keys": "off", "drain_timeout_s": 2},
        "telemetry": telemetry,
    }
    config, state, port = folder / "config.yaml", folder / "cards.state", free_port()
    config.write_text(yaml.safe_dump({"applications": [application("hot", "/", settings)]}))
    write_state(state, [replace(card, temp=COOL) for card in cards(CARDS)])
    command: Sequence[str | Path] = [
        Path(sys.executable).with_name("vibevoice-serve"),
        *("serve", "--config", config, "--port", str(port)),
    ]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment(build(folder), state),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
            first(lambda: http.get("/readyz").status_code == 200, START_S)
            yield HotService(http, state, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def kill(pid: int) -> None:
    """End a process at once."""
    os.kill(pid, signal.SIGKILL)
