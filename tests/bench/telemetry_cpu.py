"""What telemetry costs a replica, in one process and in turn: everything on against nothing on.

On: a recording span of each synthesis with what its card did, metrics with exemplars, and their
export over OTLP to a receiver in another process, whose last batch is waited for. Off: no metrics,
and spans that are not sampled. Both count for the node. Piper is compared by the CPU time of this
process, its engine's threads included. A busy machine moves even that by some per cent, so beside
it stands the CPU of the event loop's thread, where the spans and records are made: what it adds,
over the engine's time, is what a synthesis waits. Eight simulated cards, which only take time, are
compared by wall time.

python -m tests.bench.telemetry_cpu
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from serve_app.engines.base import Engine, Line, SpeakTask
from serve_app.engines.registry import create
from serve_app.replica import ReplicaIdentity, Speaker
from telemetry.card_spans import CardSpans
from telemetry.core.card_use import CardUse
from telemetry.core.sample import SynthesisRecord
from telemetry.node import NodeTelemetry
from telemetry.otel import Metrics, span_processors, start_metrics
from telemetry.simulated import SimulatedCards
from telemetry.speech_metrics import NoSynthesisHook, SynthesisMetrics
from tests.otlp import OtlpReceiver, flush
from tests.piper_scene import tasks

ROUNDS = 12
FLUSH_S = 2.0
CARDS = 8
TASKS = 3
PIPER_TASKS = 3
SIMULATED_S = 10.0
_SPARED = NonRecordingSpan(SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(0)))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a round, s: wall time, CPU of the process, and CPU of the thread of the event loop."""

    wall_s: float
    cpu_s: float
    loop_s: float


class NodeBook:
    """A replica's :class:`~serve_app.replica.NodeSink` to telemetry in this process."""

    def __init__(self, node: NodeTelemetry, uuid: str) -> None:
        self._node, self._uuid = node, uuid

    def spoken(self, record: SynthesisRecord, context: object) -> None:
        self._node.record(record)

    def load(self, busy: int, slots: int) -> None:
        self._node.load(self._uuid, self._uuid, busy, slots)

    async def card_over(self, since: float, until: float) -> CardUse | None:
        return self._node.card_over(self._uuid, since, until)


def run() -> Sequence[str]:
    """The figures."""
    with ExitStack() as stack:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.enter_context(_receiver())
        provider = TracerProvider(shutdown_on_exit=False)
        for processor in span_processors():
            provider.add_span_processor(processor)
        trace.set_tracer_provider(provider)
        stack.callback(provider.shutdown)
        metrics = start_metrics("bench")
        if metrics is None:
            raise RuntimeError("telemetry was to be on")
        stack.callback(metrics.close)
        return asyncio.run(_all(provider, metrics))


async def _all(provider: TracerProvider, metrics: Metrics) -> list[str]:
    piper = create("piper", {"slots": 1})
    scene = tasks(piper)[:PIPER_TASKS]
    cards = [create("simulated", {"slots": 1}) for _ in range(CARDS)]
    words = "And so it went on, from one end of the street to the other. "
    line = Line("A", cards[0].info.voices[0].id, words * 3)
    slow = [
        SpeakTask(f"{number:032x}", (line,), number, SIMULATED_S, 1.0, (), number)
        for number in range(TASKS)
    ]
    lines = await _compared("piper", [piper], scene, provider, metrics)
    return lines + await _compared(f"simulated, {CARDS} cards", cards, slow, provider, metrics)


async def _compared(
    name: str,
    engines: list[Engine],
    todo: list[SpeakTask],
    provider: TracerProvider,
    metrics: Metrics,
) -> list[str]:
    on: list[Cost] = []
    off: list[Cost] = []
    async with _speakers(engines, metrics) as (exporting, silent):
        await _round(silent, todo)
        for number in range(ROUNDS):
            for variant in (False, True) if number % 2 == 0 else (True, False):
                began_s, cpu_s, loop_s = time.monotonic(), time.process_time(), time.thread_time()
                with _sampled(variant):
                    await _round(exporting if variant else silent, todo)
                wall_s = time.monotonic() - began_s
                if variant:
                    await asyncio.to_thread(provider.force_flush)
                    await asyncio.to_thread(flush, metrics, FLUSH_S)
                cost = Cost(wall_s, time.process_time() - cpu_s, time.thread_time() - loop_s)
                (on if variant else off).append(cost)
    segments = len(todo) * len(engines)
    lines = [f"{name}: {segments} segments a round, {ROUNDS} rounds of each in turn"]
    for what in ("wall_s", "cpu_s", "loop_s"):
        pairs = [(getattr(a, what), getattr(b, what)) for a, b in zip(on, off, strict=True)]
        ratio = statistics.median(a / b for a, b in pairs)
        extra_ms = 1000 * statistics.median(a - b for a, b in pairs) / segments
        lines.append(
            f"  {what:6} on {statistics.median(a for a, _ in pairs):7.3f}  off "
            f"{statistics.median(b for _, b in pairs):7.3f}  on/off {ratio:.4f} (median of pairs, "
            f"least/least {min(a for a, _ in pairs) / min(b for _, b in pairs):.4f}); "
            f"{extra_ms:+.2f} ms a segment"
        )
    return [*lines, "  the bar is 1.01 of wall time"]


async def _round(speakers: list[Speaker], todo: list[SpeakTask]) -> None:
    async def work(speaker: Speaker) -> None:
        for task in todo:
            async for _ in speaker.speak(task):
                pass

    await asyncio.gather(*(work(speaker) for speaker in speakers))


@asynccontextmanager
async def _speakers(
    engines: list[Engine], metrics: Metrics
) -> AsyncIterator[tuple[list[Speaker], list[Speaker]]]:
    """A replica on each card that exports, and one that does not, with the same engine."""
    cards = SimulatedCards(len(engines), node="bench")
    node = NodeTelemetry("bench", "bench", cards)
    node.start()
    hook = SynthesisMetrics(metrics.meter)
    exporting, silent = [], []
    for engine, uuid in zip(engines, cards.uuids, strict=True):
        book = NodeBook(node, uuid)
        who = ReplicaIdentity(replica=uuid, node="bench", card_uuid=uuid, simulated=True)
        # Asked at once: what a round costs must not fall into the next one.
        spans = CardSpans(book.card_over, period_s=0.0)
        exporting.append(Speaker(engine, who, book, hook, card=spans))
        silent.append(Speaker(engine, who, book, NoSynthesisHook()))
    try:
        yield exporting, silent
    finally:
        for speaker in exporting:
            await speaker.close()
        node.close()


def _sampled(variant: bool) -> AbstractContextManager[object]:
    """What a replica's calls come from: a request that is sampled, or one that is not."""
    if not variant:
        return trace.use_span(_SPARED)
    return trace.get_tracer("bench").start_as_current_span("request")


@contextmanager
def _receiver() -> Iterator[str]:
    """The endpoint of a receiver in a process of its own."""
    here, there = mp.Pipe()
    process = mp.get_context("spawn").Process(target=_receive, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("enough")
        process.join(timeout=10)


def _receive(told: Connection) -> None:
    with OtlpReceiver() as receiver:
        told.send(receiver.endpoint)
        told.recv()


if __name__ == "__main__":
    for line in run():
        sys.stdout.write(line + "\n")
