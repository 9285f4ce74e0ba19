"""What the service costs beside the engine, with a simulated engine that takes no time.

Beside it a bare FastAPI + uvicorn application in a process of its own calls the same engine and
sends its audio: no plan, no checks, no stitching, no second process. ``MODES`` are the ways in
which Ray Serve can carry requests; each needs processes of its own:

    python -m tests.bench.overhead throughput
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from serve_app.engines.base import Chunk, Engine, Line, SpeakTask
from serve_app.engines.registry import create
from serve_app.transport import Transport, best_transport
from tests.bench.raw_http import Answered, Connection
from tests.bench.service import serving_args
from tests.processes import free_port

MODES: Final[dict[str, dict[str, str]]] = {
    "default": {},
    "grpc": {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "1"},
    "one-loop": {
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    },
    "throughput": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"},
    "haproxy": {},  # and what serve_app.transport sets
}
ENGINE: Final = {"first_chunk_s": 0.0, "real_time_factor": 0.0}
SLOTS: Final = 16
SHORT: Final = "Hello, is anybody there?"
LONGER: Final = "This is one of many sentences that make a longer text of several segments. " * 12
_ONE_BY_ONE, _AT_ONCE, _STREAMS = 200, 16, 64
_BURST_S = 5.0


@dataclass(frozen=True)
class Figures:
    """Of one way.

    Args:
        p50_ms: Of a short text, one at a time.
        rate_hz: Short texts a second, 16 at a time.
        first_p95_ms: To the first byte of 64 longer texts at once.
    """

    p50_ms: float
    rate_hz: float
    first_p95_ms: float


def run() -> Sequence[str]:
    """The mode that the service is started in, beside the bare application."""
    return compared(best_transport(), {})


def compared(mode: str, environment: dict[str, str]) -> Sequence[str]:
    """Figures of a mode, of the bare application, and of the engine alone."""
    with _service(environment, "haproxy" if mode == "haproxy" else "proxy") as url:
        ours = asyncio.run(_measured(url))
    with _bare_application() as url:
        bare = asyncio.run(_measured(url))
    engine_ms = asyncio.run(_engine_alone())
    return [
        f"engine alone                     p50 {engine_ms:6.2f} ms",
        f"bare FastAPI + uvicorn           {_shown(bare)}",
        f"service {mode:24} {_shown(ours)}",
        f"overhead over the engine         p50 {ours.p50_ms - engine_ms:6.2f} ms (the bar is 12)",
        f"service / bare                   p50 {ours.p50_ms / bare.p50_ms:.2f} x, requests/s "
        f"{ours.rate_hz / bare.rate_hz:.2f} x (the bar is 150 requests/s)",
    ]


def _shown(figures: Figures) -> str:
    return (
        f"p50 {figures.p50_ms:6.2f} ms, {figures.rate_hz:6.0f} requests/s, "
        f"first byte p95 of {_STREAMS} streams {figures.first_p95_ms:6.0f} ms"
    )


async def _measured(url: str) -> Figures:
    async with Connection(url) as connection:
        for _ in range(50):
            _require(await connection.post("/v1/audio/speech", _body(SHORT)))
        walls_s = [
            _require(await connection.post("/v1/audio/speech", _body(SHORT))).wall_s
            for _ in range(_ONE_BY_ONE)
        ]
    begun_s = time.perf_counter()
    counts = await asyncio.gather(*(_burst(url, begun_s + _BURST_S) for _ in range(_AT_ONCE)))
    rate_hz = sum(counts) / (time.perf_counter() - begun_s)
    rounds = [await asyncio.gather(*(_stream(url) for _ in range(_STREAMS))) for _ in range(2)]
    firsts_s = sorted(answer.first_s for answers in rounds for answer in answers)
    return Figures(
        statistics.median(walls_s) * 1e3, rate_hz, firsts_s[int(0.95 * len(firsts_s))] * 1e3
    )


async def _burst(url: str, until_s: float) -> int:
    count = 0
    async with Connection(url) as connection:
        while time.perf_counter() < until_s:
            _require(await connection.post("/v1/audio/speech", _body(SHORT)))
            count += 1
    return count


async def _stream(url: str) -> Answered:
    async with Connection(url) as connection:
        return _require(await connection.post("/v1/audio/speech", _body(LONGER)))


def _body(text: str) -> dict[str, Any]:
    return {"model": "tts-1", "input": text, "voice": "auto", "response_format": "pcm"}


def _require(answer: Answered) -> Answered:
    if answer.status != 200 or answer.size_bytes < 10_000:
        raise RuntimeError(f"answered {answer.status} with {answer.size_bytes} bytes")
    return answer


def _service(
    environment: dict[str, str], transport: Transport = "proxy"
) -> AbstractContextManager[str]:
    args = {
        "engine": {"kind": "simulated", "slots": SLOTS, "options": ENGINE},
        "cards": "none",
        "replicas": 1,
        "replica_cpus": 0.5,
        "access": {"keys": "off"},
        "speech": {"max_concurrent_requests": 128},
    }
    return serving_args(args, environment, transport)


@contextmanager
def _bare_application() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.overhead", "--bare", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"})
    try:
        asyncio.run(_until_up(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


async def _until_up(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def _bare(engine: Engine) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/audio/speech")
    async def speech(body: dict[str, Any]) -> StreamingResponse:
        async def sound() -> Any:
            async for item in engine.speak(_task(body["input"])):
                if isinstance(item, Chunk):
                    yield item.pcm

        return StreamingResponse(sound(), media_type="audio/pcm")

    return app


def _task(text: str) -> SpeakTask:
    line = Line("Narrator", "sim-1", text)
    return SpeakTask(key="0" * 32, lines=(line,), seed=0, est_s=len(text) / 15, chunk_s=0.2)


async def _engine_alone() -> float:
    engine = create("simulated", {**ENGINE, "slots": SLOTS})
    walls_s = []
    for _ in range(200):
        begun_s = time.perf_counter()
        async for _item in engine.speak(_task(SHORT)):
            pass
        walls_s.append(time.perf_counter() - begun_s)
    await engine.close()
    return statistics.median(walls_s) * 1e3


def main() -> None:
    if sys.argv[1] == "--bare":
        app = _bare(create("simulated", {**ENGINE, "slots": SLOTS}))
        uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
        return
    for line in compared(sys.argv[1], MODES[sys.argv[1]]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
