"""Long jobs over HTTP on a real Ray Serve: ``python -m tests.bench.jobs_ray [SCENARIO ...]``.

The cards are simulated (first chunk 0.3 s, then 0.1 s a second of audio). Ideal is the card time of
all segments, shared evenly by the cards there are; walls are from the order to the last segment
kept, as the job's own events tell.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import av
import httpx

from serve_app.core.estimate import speech_s
from serve_app.transport import best_transport
from tests.bench.jobs_killed import killed_ray
from tests.bench.service import PeakMemory, serving_args
from tests.long_text import minutes_of_text, ninety_minutes
from tests.processes import pids_of

BOOK = Path(__file__).parents[1] / "data" / "alice.txt"
CARDS = 8
FIRST_S, FACTOR = 0.3, 0.1
IDLE_S = 30.0
REQUEST = "This is request number {:03d}, a sentence of some four seconds."
SYNTH, RUNNER, INGRESS = (f"ServeReplica:vibevoice:{name}" for name in ("Synth", "Jobs", "Ingress"))


def plain() -> list[str]:
    """Nothing else to do, nothing lost."""
    return _in_service(_plain, slots=1)


def lost() -> list[str]:
    """One card killed in the middle, and each time that it tries to come back."""
    return _in_service(_lost, slots=1)


def beside() -> list[str]:
    """A short request every second beside the job, two slots a card."""
    return _in_service(_beside, slots=2)


def memory() -> list[str]:
    """What the runner and the ingress take over idle for ten minutes and ten hours of script."""
    return _in_service(_memory, slots=1, first_s=0.0, factor=0.001)


def alice() -> list[str]:
    """A whole book, uploaded as a file, on cards that take no time."""
    return _in_service(_alice, slots=1, first_s=0.0, factor=0.0)


SCENARIOS: dict[str, Callable[[], list[str]]] = {
    "plain": plain,
    "lost": lost,
    "beside": beside,
    "memory": memory,
    "alice": alice,
    "killed-ray": killed_ray,
}


def run() -> Sequence[str]:
    """All scenarios."""
    return [line for scenario in SCENARIOS.values() for line in scenario()]


class _Jobs:
    """A service's jobs over HTTP.

    Args:
        http: Its client.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def submit(self, text: str) -> str:
        answer = await self.http.post("/v1/jobs", json={"input": text, "format": "flac"})
        answer.raise_for_status()
        return str(answer.json()["id"])

    async def view(self, job: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/jobs/{job}")
        answer.raise_for_status()
        view: dict[str, Any] = answer.json()
        return view

    async def segments(self, job: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            path = f"/v1/jobs/{job}/segments?first={len(found)}&limit=1000"
            answer = (await self.http.get(path)).json()
            found += answer["data"]
            if not answer["has_more"]:
                return found

    async def card_s(self, job: str) -> float:
        """What all segments take of a card by the engine's own rule."""
        return sum(map(_card_s, await self.segments(job)))

    async def events(self, job: str) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """Kind and data, up to the last one."""
        kind = ""
        async with self.http.stream("GET", f"/v1/jobs/{job}/events") as answer:
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)

    async def complete(self, job: str, until: Callable[[float], bool] | None = None) -> list[float]:
        """When each segment was kept, up to the last one, or until *until* is told so of the share
        that is."""
        kept_s: list[float] = []
        async with aclosing(self.events(job)) as events:
            async for kind, data in events:
                status = data.get("status")
                if kind == "segment":
                    kept_s.append(time.monotonic())
                    if until is not None and until(data["done"] / data["segments"]):
                        return kept_s
                elif status == "complete":
                    return kept_s
                elif status in {"failed", "cancelled"}:
                    raise RuntimeError(f"the job is {status}: {data['reason']}")
        raise RuntimeError("the events ended")


def _in_service(
    scenario: Callable[[_Jobs], Awaitable[list[str]]],
    *,
    slots: int,
    first_s: float = FIRST_S,
    factor: float = FACTOR,
) -> list[str]:
    with TemporaryDirectory() as folder:
        args = {
            "engine": {
                "kind": "simulated",
                "slots": slots,
                "options": {"first_chunk_s": first_s, "real_time_factor": factor},
            },
            "cards": "simulated",
            "replicas": CARDS,
            "replica_cpus": 0.1,
            "access": {"keys": "off"},
            "jobs": {"store": str(Path(folder) / "jobs"), "cache_gib": 0},
        }
        with serving_args(args, transport=best_transport()) as url:
            return asyncio.run(_over_http(url, scenario))


async def _over_http(url: str, scenario: Callable[[_Jobs], Awaitable[list[str]]]) -> list[str]:
    async with httpx.AsyncClient(base_url=url, timeout=600) as http:
        jobs = _Jobs(http)
        await jobs.complete(await jobs.submit("A short text wakes everything up."))
        return await scenario(jobs)


async def _plain(jobs: _Jobs) -> list[str]:
    with _Cpu() as cpu:
        begun_s = time.monotonic()
        job = await jobs.submit(ninety_minutes())
        ordered_s = time.monotonic() - begun_s
        kept_s = await jobs.complete(job)
        wall_s = time.monotonic() - begun_s
    view, ideal_s = await jobs.view(job), await jobs.card_s(job) / CARDS
    return [
        f"{view['segments']['total']} segments, {view['audio_s'] / 60:.1f} minutes on {CARDS} "
        f"cards: {wall_s:.2f} s, ideal {ideal_s:.2f} s",
        f"wall / ideal                 {wall_s / ideal_s:6.3f} (the bar is 1.05)",
        f"planned after {ordered_s:.2f} s, first segment kept after {kept_s[0] - begun_s:.2f} s",
        *cpu.lines(wall_s),
    ]


async def _lost(jobs: _Jobs) -> list[str]:
    job = await jobs.submit(ninety_minutes())
    kept_s = await jobs.complete(job, until=lambda share: share >= 0.5)
    async with _card_gone(pids_of(SYNTH)) as kills:
        lost_s = time.monotonic()
        left = [segment for segment in await jobs.segments(job) if segment["state"] != "kept"]
        # Each card began what it is speaking when it ended what it spoke before.
        left_s = sum(map(_card_s, left)) - sum(lost_s - kept for kept in kept_s[-CARDS:])
        await jobs.complete(job)
        wall_s, ideal_s = time.monotonic() - lost_s, left_s / (CARDS - 1)
    view = await jobs.view(job)
    return [
        f"one card of {CARDS} lost in the middle: {wall_s:.2f} s more, ideal {ideal_s:.2f} s, "
        f"{view['segments']['retried']} segments spoken again, {len(kills) - 1} attempts to come "
        "back",
        f"wall / ideal of the rest     {wall_s / ideal_s:6.3f} (the bar is 1.08)",
    ]


async def _beside(jobs: _Jobs) -> list[str]:
    slots = CARDS * 2
    idle = _Requests(jobs.http)
    await idle.for_s(IDLE_S)
    busy = _Requests(jobs.http)
    begun_s = time.monotonic()
    job = await jobs.submit(ninety_minutes())
    asking = asyncio.create_task(busy.for_s(3600.0))
    await jobs.complete(job)
    wall_s = time.monotonic() - begun_s
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    used_s = busy.asked * (FIRST_S + FACTOR * speech_s(REQUEST.format(0)))
    ideal_s = (await jobs.card_s(job) + used_s) / slots
    p95_idle, p95_busy = _p95(idle.firsts_s), _p95(busy.firsts_s)
    return [
        f"beside {busy.asked} requests of {speech_s(REQUEST.format(0)):.1f} s, one a second, "
        f"{slots} slots: {wall_s:.2f} s, ideal of the capacity left {ideal_s:.2f} s",
        f"wall / ideal of what is left {wall_s / ideal_s:6.3f} (the bar is 1.08)",
        f"p95 time to first audio      {p95_busy:6.3f} s, idle {p95_idle:.3f} s: "
        f"{p95_busy / p95_idle:.3f} x (the bar is 1.5); median {_median(busy.firsts_s):.3f} s, "
        f"idle {_median(idle.firsts_s):.3f} s",
    ]


async def _memory(jobs: _Jobs) -> list[str]:
    lines = []
    for minutes in (10, 600):
        (runner,), (ingress,) = pids_of(RUNNER), pids_of(INGRESS)
        with PeakMemory(runner) as of_runner, PeakMemory(ingress) as of_ingress:
            begun_s = time.monotonic()
            job = await jobs.submit(minutes_of_text(minutes))
            heard_bytes, _ = await asyncio.gather(
                _heard(jobs, f"/v1/jobs/{job}/audio?format=pcm"), jobs.complete(job)
            )
            spoken_s = time.monotonic() - begun_s
            await _file_made(jobs, job)
            file_s = time.monotonic() - begun_s - spoken_s
            file_bytes = await _heard(jobs, f"/v1/jobs/{job}/audio")
        view = await jobs.view(job)
        lines += [
            f"{view['audio_s'] / 60:.0f} minutes, {view['segments']['total']} segments, spoken and "
            f"heard in {spoken_s:.0f} s ({heard_bytes / 2**20:.0f} MiB), file written in "
            f"{file_s:.0f} s more ({file_bytes / 2**20:.0f} MiB)",
            *(
                f"  {name:8} +{(it.peak_bytes - it.idle_bytes) / 2**20:.0f} MiB at the peak over "
                f"{it.idle_bytes / 2**20:.0f} MiB (the bar is 100)"
                for name, it in (("runner", of_runner), ("ingress", of_ingress))
            ),
        ]
    return lines


async def _heard(jobs: _Jobs, path: str) -> int:
    """Bytes of an answer that is read to its end and not kept."""
    heard_bytes = 0
    async with jobs.http.stream("GET", path) as answer:
        answer.raise_for_status()
        async for data in answer.aiter_raw():
            heard_bytes += len(data)
    return heard_bytes


async def _alice(jobs: _Jobs) -> list[str]:
    cpu = _Cpu()
    with cpu:
        begun_s = time.monotonic()
        answer = await jobs.http.post(
            "/v1/jobs",
            files={"file": ("alice.txt", BOOK.read_bytes())},
            data={"format": "m4b", "title": "Alice's Adventures in Wonderland"},
        )
        answer.raise_for_status()
        job = str(answer.json()["id"])
        ordered_s = time.monotonic() - begun_s
        await jobs.complete(job)
        spoken_s = time.monotonic() - begun_s
    await _file_made(jobs, job)
    file_s = time.monotonic() - begun_s - spoken_s
    view, segments = await jobs.view(job), await jobs.segments(job)
    file = (await jobs.http.get(f"/v1/jobs/{job}/audio")).content
    with av.open(io.BytesIO(file), "r") as container:
        marks = [str(it["metadata"]["title"]) for it in container.chapters()]
        length_s = float(container.duration or 0) / 1e6
    told = [str(it["title"]) for it in view["chapters"]]
    spans = [(it["start_s"], it["end_s"]) for it in segments]
    in_order = all(one[1] <= two[0] for one, two in pairwise(spans))
    return [
        f"{view['audio_s'] / 60:.1f} minutes, {len(segments)} segments: planned after "
        f"{ordered_s:.2f} s, spoken after {spoken_s:.1f} s, file written in {file_s:.1f} s more",
        f"kept {sum(it['state'] == 'kept' for it in segments)}, in order: {in_order}, file "
        f"{len(file) / 2**20:.1f} MiB of {length_s / 60:.1f} minutes",
        f"chapters: {len(told)} told, {len(marks)} in the file, the same: {told == marks}",
        *cpu.lines(spoken_s),
    ]


async def _file_made(jobs: _Jobs, job: str) -> None:
    async with aclosing(jobs.events(job)) as events:
        async for kind, data in events:
            if kind == "file" and data["failure"]:
                raise RuntimeError(f"the file was not made: {data['failure']}")
            if kind == "end":
                return


class _Requests:
    """Short requests, one a second, and when their first audio came."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.asked = 0
        self.firsts_s: list[float] = []

    async def for_s(self, seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            begun_s = time.monotonic()
            while time.monotonic() < begun_s + seconds:
                group.create_task(self._one())
                await asyncio.sleep(max(0.0, begun_s + self.asked + 1 - time.monotonic()))

    async def _one(self) -> None:
        self.asked += 1
        text = REQUEST.format(self.asked)
        body = {"model": "tts-1", "input": text, "voice": "auto", "response_format": "pcm"}
        begun_s = time.monotonic()
        first_s: float | None = None
        async with self._http.stream("POST", "/v1/audio/speech", json=body) as answer:
            answer.raise_for_status()
            async for data in answer.aiter_raw():
                if data and first_s is None:
                    first_s = time.monotonic() - begun_s
        if first_s is None:
            raise RuntimeError("a request was answered without a sound")
        self.firsts_s.append(first_s)


class _Cpu:
    """Processor time of the service's processes while a block runs."""

    def __init__(self) -> None:
        self._used_s: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._before_s = {name: _cpu_s(name) for name in (RUNNER, INGRESS, SYNTH)}
        return self

    def __exit__(self, *_: object) -> None:
        self._used_s = {name: _cpu_s(name) - was for name, was in self._before_s.items()}

    def lines(self, wall_s: float) -> list[str]:
        """Per cent of a core."""
        said = ", ".join(
            f"{name.rpartition(':')[2]} {100 * used_s / wall_s:.0f}"
            for name, used_s in self._used_s.items()
        )
        return [f"per cent of a core: {said}"]


@asynccontextmanager
async def _card_gone(before: Sequence[int]) -> AsyncIterator[list[int]]:
    """Kill the first of these replicas, and whatever comes up in its place."""
    kills = [before[0]]
    os.kill(before[0], signal.SIGKILL)

    async def keep_away() -> None:
        while True:
            await asyncio.sleep(0.1)
            for pid in set(await asyncio.to_thread(pids_of, SYNTH)) - {*before, *kills}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                kills.append(pid)

    keeping = asyncio.create_task(keep_away())
    try:
        yield kills
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


def _card_s(segment: dict[str, Any]) -> float:
    return FIRST_S + FACTOR * float(segment["est_s"])


def _cpu_s(title: str) -> float:
    ticks = 0
    for pid in pids_of(title):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> int:
    """Run the scenarios named on the command line, or all."""
    names = sys.argv[1:] or list(SCENARIOS)
    if unknown := set(names) - set(SCENARIOS):
        sys.stderr.write(f"no such scenario: {', '.join(unknown)}; {', '.join(SCENARIOS)}\n")
        return 2
    for name in names:
        sys.stdout.write("\n".join((f"== {name}", *SCENARIOS[name](), "")))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
