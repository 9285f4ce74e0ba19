"""On a real Ray Serve: how soon a card is free when its client leaves, and what a client holds that
reads nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx

from serve_app.transport import best_transport
from tests.bench.raw_http import Connection
from tests.bench.service import serving_args
from tests.long_text import ninety_minutes
from tests.processes import pids_of, rss_bytes

_CHARACTERS, _BUFFER_MIB = 60_000, 8
_ROUNDS, _PATIENCE_S, _STARE_S = 8, 20.0, 20.0
_PROCESSES = ("ProxyActor", "ServeReplica:vibevoice:Ingress")
_ARGS: dict[str, Any] = {
    "engine": {
        "kind": "simulated",
        "slots": 1,
        "options": {"first_chunk_s": 0.05, "real_time_factor": 0.005},
    },
    "cards": "simulated",
    "replicas": 2,
    "replica_cpus": 0.1,
    "access": {"keys": "off"},
    "speech": {"max_input_characters": _CHARACTERS, "buffer_mib": _BUFFER_MIB},
}


def run() -> Sequence[str]:
    """Both figures, with the transport that the service is started with."""
    transport = best_transport()
    with (
        serving_args(_ARGS, transport=transport) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        frees_s = sorted(asyncio.run(_left(url, client)) for _ in range(_ROUNDS))
        done, segments, grown_mib = asyncio.run(_stared(url, client))
    return [
        f"behind {transport}, a client leaves: both cards free after p50 "
        f"{frees_s[_ROUNDS // 2]:.2f} s, at most {frees_s[-1]:.2f} s (the bar is 0.5)",
        f"a client reads nothing for {_STARE_S:.0f} s: {done} of {segments} segments were spoken "
        f"(buffer {_BUFFER_MIB} MiB), Serve's proxy and the ingress grew by {grown_mib:.0f} MiB",
    ]


async def _left(url: str, client: httpx.Client) -> float:
    async with Connection(url) as connection:
        connection.send("/v1/audio/speech", _body())
        await connection.head()
        await connection.read(1000)
        _until(lambda: _busy(client) > 0)
    begun_s = time.monotonic()
    _until(lambda: _busy(client) == 0)
    return time.monotonic() - begun_s


async def _stared(url: str, client: httpx.Client) -> tuple[int, int, float]:
    pids = [pid for title in _PROCESSES for pid in pids_of(title)]
    before_bytes = sum(map(rss_bytes, pids))
    async with Connection(url) as connection:
        connection.send("/v1/audio/speech", _body())
        _, headers = await connection.head()
        await asyncio.sleep(_STARE_S)
        outcome = _outcome(client, headers["x-request-id"])
        grown = sum(map(rss_bytes, pids)) - before_bytes
    return outcome["segments_done"], outcome["segments"], grown / 2**20


def _outcome(client: httpx.Client, request_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/audio/speech/{request_id}").json()
    return found


def _until(holds: Any) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise RuntimeError("it did not happen in time")
        time.sleep(0.01)


def _busy(client: httpx.Client) -> int:
    cards = client.get("/get_metrics", params={"since": time.time()}).json()["cards"]
    return sum(int(card["busy"]) for card in cards)


def _body() -> dict[str, Any]:
    text = ninety_minutes()[:_CHARACTERS]
    return {"model": "tts-1", "voice": "auto", "response_format": "pcm", "input": text}


if __name__ == "__main__":
    print("\n".join(run()))
