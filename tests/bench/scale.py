"""Ninety minutes on eight simulated cards: what planning, Ray Serve and HTTP cost in time.

The card time is what the simulated engine takes by its own rule (first chunk 0.3 s, then 0.1 s a
second of audio), summed over all segments; an eighth of it would be perfect.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx
import yaml

from tests.bench.service import ROOT, PeakMemory, serving
from tests.long_text import ninety_minutes
from tests.processes import pids_of

CARDS = 8


def run() -> Sequence[str]:
    config = yaml.safe_load((ROOT / "configs" / "simulated-8.yaml").read_text())
    rule = config["applications"][0]["args"]["engine"]["options"]
    text = ninety_minutes()
    with serving("simulated-8.yaml") as url, httpx.Client(base_url=url, timeout=300) as client:
        _speak(client, "A short text wakes everything up.")
        (ingress,) = pids_of("ServeReplica:vibevoice:Ingress")
        with PeakMemory(ingress) as memory:
            wall_s, first_s, outcome = _speak(client, text)
    spoken_s, segments = outcome["spoken_s"], outcome["segments"]
    card_s = segments * rule["first_chunk_s"] + rule["real_time_factor"] * spoken_s
    grown_mib = (memory.peak_bytes - memory.idle_bytes) / 2**20
    return [
        f"{len(text)} characters, {segments} segments, {spoken_s / 60:.1f} minutes of audio",
        f"wall {wall_s:.2f} s; card time / {CARDS} = {card_s / CARDS:.2f} s",
        f"wall / ideal     {wall_s / (card_s / CARDS):6.3f} (the bar is 1.03)",
        f"first audio      {first_s:.3f} s, {first_s - rule['first_chunk_s']:.3f} s after the "
        "engine's own first chunk (the bar is 0.15)",
        f"ingress memory   {memory.idle_bytes / 2**20:.0f} MiB idle, +{grown_mib:.0f} MiB at its "
        "peak (the bar is 60)",
        f"retries {outcome['retries']}",
    ]


def _speak(client: httpx.Client, text: str) -> tuple[float, float, dict[str, float]]:
    body = {"model": "tts-1", "input": text, "voice": "auto", "response_format": "pcm"}
    begun_s = time.monotonic()
    first_s = None
    with client.stream("POST", "/v1/audio/speech", json=body) as answer:
        answer.raise_for_status()
        for data in answer.iter_raw():
            if first_s is None and data:
                first_s = time.monotonic() - begun_s
        wall_s = time.monotonic() - begun_s
        request_id = answer.headers["x-request-id"]
    outcome = client.get(f"/v1/audio/speech/{request_id}").json()
    if outcome["status"] != "complete" or first_s is None:
        raise RuntimeError(f"the stream ended as {outcome['status']}: {outcome['error']}")
    return wall_s, first_s, outcome
