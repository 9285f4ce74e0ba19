"""Does the service cost piper any speed? Raw engine and service in turn, in one run.

Raw: two processes, each with the same engine object and the same single thread, speak the same
segments from one queue. Service: two replicas behind HTTP as ``vibevoice-serve demo`` has them, the
whole way to a WAV. Both are warm.
Speed is engine seconds of audio per wall second, so both count the same audio.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serve_app.client import Client
from serve_app.engines.base import Chunk, Line, SpeakTask
from serve_app.engines.registry import create
from serve_app.transport import best_transport
from tests.bench.service import serving
from tests.piper_scene import SCENE, tasks

PROCESSES = 2
ROUNDS = 3


def _worker(todo: Any, done: Any) -> None:
    engine = create("piper", {"slots": 1})

    async def speak_all() -> None:
        async for _ in engine.speak(
            SpeakTask("", (Line("", engine.info.voices[0].id, "Ready."),), 0, 1.0)
        ):
            pass
        done.put("ready")
        while (task := await asyncio.to_thread(todo.get)) is not None:
            heard = 0
            async for item in engine.speak(task):
                heard += len(item.pcm) if isinstance(item, Chunk) else 0
            done.put(heard / 48_000)
        await engine.close()

    asyncio.run(speak_all())


class RawEngines:
    """Two processes that speak tasks from one queue."""

    def __init__(self) -> None:
        context = mp.get_context("spawn")
        self._todo, self._done = context.Queue(), context.Queue()
        self._workers = [
            context.Process(target=_worker, args=(self._todo, self._done), daemon=True)
            for _ in range(PROCESSES)
        ]
        for worker in self._workers:
            worker.start()
        for _ in self._workers:
            self._done.get(timeout=120)

    def speed(self, segments: list[SpeakTask]) -> float:
        begun_s = time.monotonic()
        for segment in segments:
            self._todo.put(segment)
        audio_s = sum(self._done.get(timeout=120) for _ in segments)
        return float(audio_s) / (time.monotonic() - begun_s)

    def close(self) -> None:
        for _ in self._workers:
            self._todo.put(None)
        for worker in self._workers:
            worker.join(timeout=20)


def _service_speed(client: Client, path: Path) -> float:
    body = {"model": "tts-1", "input": SCENE, "voice": "auto", "response_format": "wav"}
    spoken = client.speak(body, path)
    return float(spoken.outcome["spoken_s"]) / spoken.wall_s


def run() -> Sequence[str]:
    engine = create("piper", {"slots": 1})
    segments = tasks(engine)
    asyncio.run(engine.close())
    raw, service = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving("local.yaml", best_transport(), jobs=None) as url,
        Client(url) as client,
    ):
        engines = RawEngines()
        try:
            _service_speed(client, Path(folder) / "warm.wav")
            for _ in range(ROUNDS):
                raw.append(engines.speed(segments))
                service.append(_service_speed(client, Path(folder) / "scene.wav"))
        finally:
            engines.close()
    ratios = [ours / theirs for ours, theirs in zip(service, raw, strict=True)]
    return [
        f"scene: {len(segments)} segments, {PROCESSES} processes, {ROUNDS} rounds in turn",
        f"raw piper        {statistics.median(raw):6.2f} x real time (median)",
        f"service (WAV)    {statistics.median(service):6.2f} x real time (median)",
        f"service / raw    {statistics.median(ratios):6.3f} (median of pairs; "
        f"min {min(ratios):.3f}, max {max(ratios):.3f}; the bar is 0.95)",
    ]
