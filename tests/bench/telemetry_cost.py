"""What telemetry costs a synthesis: the same requests with all of it on and with it off, in turn.

On: cards are sampled and guarded as the config says, and OTLP metrics and all spans of every
process go to a receiver in this one. Off: ``cards: none`` and no exporter, so that nothing is
sampled, guarded, asked about or exported; what no setting switches off is that a node counts what
its replicas speak. Each variant gets a cluster and a driver of its own, since Ray's processes take
their variables at their start; the variants alternate, so that a busy machine meets both. The
simulated engine takes a card's time: its wall time tells. Piper works on the CPU, which noise moves
far more than one per cent: beside the wall time stands the CPU time of the replicas and of the
whole service for the same audio.

python -m tests.bench.telemetry_cost
"""

from __future__ import annotations

import multiprocessing as mp
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.bench.service import serving
from tests.long_text import ninety_minutes
from tests.otlp import OtlpReceiver
from tests.piper_scene import SCENE
from tests.processes import pids_of

ROUNDS = 3
REQUESTS = 3
TITLES = ("ServeReplica:vibevoice", "ProxyActor", "TelemetryActor")
_PATIENCE_S = 600.0
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request, all in seconds: wall time, CPU of the replicas, CPU of the service."""

    wall_s: float
    replicas_s: float
    service_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is spoken.

    Args:
        name: For people.
        config: File in configs/.
        text: A request's text.
    """

    name: str
    config: str
    text: str


def run() -> Sequence[str]:
    """The figures."""
    book = ninety_minutes()
    loads = (
        Load("simulated engine, 8 cards", "simulated-8.yaml", book[: len(book) // 6]),
        Load("piper", "local.yaml", SCENE),
    )
    return [line for load in loads for line in _compared(load, ROUNDS)]


def _compared(load: Load, rounds: int) -> list[str]:
    on: list[Cost] = []
    off: list[Cost] = []
    for number in range(rounds):
        # Every other round begins with the other variant, so that neither is always the later.
        for variant in (False, True) if number % 2 == 0 else (True, False):
            context = mp.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as driver:
                costs = driver.submit(_measured, load, variant).result(timeout=_PATIENCE_S)
            (on if variant else off).extend(costs)
    lines = [f"{load.name}: {rounds} clusters x {REQUESTS} requests for each variant"]
    for what in ("wall_s", "replicas_s", "service_s"):
        with_s = [getattr(cost, what) for cost in on]
        without_s = [getattr(cost, what) for cost in off]
        ratio = statistics.median(with_s) / statistics.median(without_s)
        lines.append(
            f"  {what:10} on {statistics.median(with_s):8.3f}  off "
            f"{statistics.median(without_s):8.3f}  on/off {ratio:.4f}  "
            f"(least/least {min(with_s) / min(without_s):.4f}; off varies by "
            f"{(max(without_s) - min(without_s)) / statistics.median(without_s):.1%})"
        )
    return [*lines, "  the bar is 1.01 of wall time"]


def _measured(load: Load, exporting: bool) -> list[Cost]:
    """Start a cluster and measure the requests; runs in a process of its own."""
    with ExitStack() as stack:
        receiver = stack.enter_context(OtlpReceiver()) if exporting else None
        told = {} if receiver is None else {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        stack.enter_context(_environment(told))
        off: dict[str, Any] = {} if exporting else {"cards": "none"}
        url = stack.enter_context(serving(load.config, **off))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=600))
        _speak(client, "A short text wakes everything up.")
        costs = [_cost(client, load.text) for _ in range(REQUESTS)]
        if receiver is not None and not receiver.wait_for(
            lambda: any(name.startswith("text_to_speech") for name in receiver.span_names()), 20
        ):
            raise RuntimeError("telemetry was to be on, and no synthesis arrived")
        return costs


def _cost(client: httpx.Client, text: str) -> Cost:
    titles = ("ServeReplica:vibevoice:Synth", *TITLES)
    before = [_cpu_s(title) for title in titles]
    begun_s = time.monotonic()
    _speak(client, text)
    wall_s = time.monotonic() - begun_s
    spent = [_cpu_s(title) - was for title, was in zip(titles, before, strict=True)]
    return Cost(wall_s, spent[0], sum(spent[1:]))


def _cpu_s(title: str) -> float:
    """CPU time so far of all processes of a title."""
    total = 0
    for pid in pids_of(title):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total * _TICK_S


def _speak(client: httpx.Client, text: str) -> None:
    body = {"model": "tts-1", "input": text, "voice": "auto", "response_format": "pcm"}
    answer = client.post("/v1/audio/speech", json=body)
    answer.raise_for_status()


@contextmanager
def _environment(added: dict[str, str]) -> Iterator[None]:
    """These variables for the processes that are started inside; no others of telemetry."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    for name in hidden:
        del os.environ[name]
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
        os.environ.update(hidden)


if __name__ == "__main__":
    for line in run():
        sys.stdout.write(line + "\n")
