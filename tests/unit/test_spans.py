"""Spans that live in asynchronous generators, and records that become metrics."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from telemetry import logs
from telemetry.card_spans import AskCard, CardSpans
from telemetry.core.card_use import CardUse, GuardChange
from telemetry.core.request import RequestRecord
from telemetry.core.sample import SynthesisRecord
from telemetry.core.stopwatch import Stopwatch
from telemetry.instrument import Kind
from telemetry.instruments import REQUEST_INSTRUMENTS, SYNTHESIS_INSTRUMENTS
from telemetry.spans import (
    describe,
    open_span,
    segment_span,
    synthesis_span,
    trace_id_of,
    work_span,
)
from telemetry.speech_metrics import NoSynthesisHook, RequestMetrics, SynthesisMetrics
from tests.metric_points import attributes_of, histograms, metrics_of, numbers
from tests.records import record
from tests.span_memory import span_memory


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    return span_memory()


@pytest.fixture
def finished(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def only(finished: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in finished.get_finished_spans() if span.name == name]
    return span


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


async def speak(pieces: int, parent: Context | None = None) -> AsyncGenerator[int, None]:
    with synthesis_span(model="tts-1", engine="piper", parent=parent) as span:
        for piece in range(pieces):
            yield piece
        describe(span, record())


async def test_a_span_over_yields_is_the_caller_s_child_and_never_its_current_one(
    finished: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with trace.get_tracer("test").start_as_current_span("request") as request:
        async for _ in speak(3):
            assert trace.get_current_span() is request
    assert only(finished, "text_to_speech tts-1").parent == request.get_span_context()
    assert "context" not in caplog.text


async def test_a_generator_may_be_closed_in_another_task(
    finished: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "opentelemetry")
    stream = speak(3)
    await asyncio.create_task(anext(stream))
    await asyncio.create_task(stream.aclose())
    span = only(finished, "text_to_speech tts-1")
    assert span.attributes is not None
    assert span.attributes["vibevoice.cancelled"] is True
    assert span.status.status_code is StatusCode.UNSET
    assert caplog.text == ""


async def test_spans_of_streams_that_take_turns_do_not_mix(
    finished: InMemorySpanExporter,
) -> None:
    with open_span("left") as left, open_span("right") as right:
        streams = [speak(2, left.context), speak(2, right.context)]
        for _ in range(2):
            for stream in streams:
                await anext(stream)
        for stream in streams:
            assert [piece async for piece in stream] == []
    parents = {
        span.parent.span_id
        for span in finished.get_finished_spans()
        if span.name.startswith("text_to_speech") and span.parent
    }
    ours = {id_of(only(finished, name)) for name in ("left", "right")}
    assert parents == ours


async def test_a_call_started_inside_active_becomes_a_child_even_if_it_runs_later(
    finished: InMemorySpanExporter,
) -> None:
    async def call() -> str:
        with synthesis_span(model="tts-1", engine="piper"):
            return trace_id_of(trace.get_current_span())

    with segment_span(index=4, attempt=2, key="k", characters=30) as segment:
        with segment.active():
            task = asyncio.create_task(call())
        assert trace_id_of(trace.get_current_span()) == ""
        assert await task == segment.trace_id
    child, parent = only(finished, "text_to_speech tts-1"), only(finished, "segment")
    assert child.parent == parent.get_span_context()
    assert parent.attributes == {
        "vibevoice.segment.index": 4,
        "vibevoice.segment.attempt": 2,
        "vibevoice.segment.key": "k",
        "vibevoice.segment.characters": 30,
    }


class CodedError(Exception):
    code = "engine_crashed"


@pytest.mark.parametrize(
    ("error", "named"), [(CodedError("boom"), "engine_crashed"), (KeyError("x"), "KeyError")]
)
def test_an_error_is_named_on_the_span(
    finished: InMemorySpanExporter, error: Exception, named: str
) -> None:
    with pytest.raises(type(error)), open_span("failing"):
        raise error
    span = only(finished, "failing")
    assert span.attributes == {"error.type": named}
    assert span.status.status_code is StatusCode.ERROR


def test_a_synthesis_tells_who_spoke_where_and_how_fast(finished: InMemorySpanExporter) -> None:
    with synthesis_span(model="tts-1", engine="piper") as span:
        describe(span, record(first_audio_s=None))
        span.event("first audio", {"vibevoice.bytes": 4800, "absent": None})
    done = only(finished, "text_to_speech tts-1")
    assert done.attributes == {
        "gen_ai.operation.name": "text_to_speech",
        "gen_ai.provider.name": "piper",
        "gen_ai.request.model": "tts-1",
        "gen_ai.output.type": "speech",
        "gen_ai.usage.input_tokens": 90,
        "gen_ai.usage.output_tokens": 40,
        "hw.id": "GPU-a",
        "ray.node_id": "node-1",
        "vibevoice.replica": "r-1",
        "vibevoice.simulated": False,
        "vibevoice.tts.input.characters": 120,
        "vibevoice.tts.audio.duration": 8.0,
        "vibevoice.tts.wall.duration": 2.0,
        "vibevoice.tts.real_time_factor": 0.25,
        "vibevoice.tts.queue.time": 0.1,
    }
    (event,) = done.events
    assert (event.name, event.attributes) == ("first audio", {"vibevoice.bytes": 4800})


def measured(*records: SynthesisRecord, context: Context | None = None) -> dict[str, Metric]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    hook = SynthesisMetrics(provider.get_meter("test"))
    for item in records:
        NoSynthesisHook().spoken(item, context)
        hook.spoken(item, context)
    metrics = metrics_of(reader)
    provider.shutdown()
    return metrics


def test_records_become_the_declared_metrics_and_carry_their_trace(
    finished: InMemorySpanExporter,
) -> None:
    with synthesis_span(model="tts-1", engine="piper") as span:
        spoken = record(trace_id=span.trace_id)
        metrics = measured(spoken, record(error="engine_crashed"), context=span.context)
    assert set(metrics) == {i.name for i in SYNTHESIS_INSTRUMENTS}
    for declared in SYNTHESIS_INSTRUMENTS:
        metric = metrics[declared.name]
        assert (metric.unit, metric.description) == (declared.unit, declared.description)
        for point in metric.data.data_points:
            failed = attributes_of(point).get("error.type") is not None
            optional = set() if failed else {"error.type"}
            assert set(attributes_of(point)) == set(declared.attributes) - optional
            if declared.kind is Kind.HISTOGRAM:
                assert isinstance(point, HistogramDataPoint)
                assert point.explicit_bounds == declared.buckets
            if declared.kind is Kind.HISTOGRAM and not failed:
                assert [f"{e.trace_id:032x}" for e in point.exemplars] == [span.trace_id]
    (rtf,) = histograms(metrics["vibevoice.tts.real_time_factor"])
    assert (rtf.sum, rtf.count) == (0.25, 1)
    (characters,) = numbers(metrics["vibevoice.tts.input.characters"])
    assert characters.value == 120


def test_a_failure_counts_only_as_a_failed_attempt_and_leaving_is_none() -> None:
    metrics = measured(record(error="engine_crashed"), record(error="cancelled"))
    assert set(metrics) == {"vibevoice.tts.segment.duration", "vibevoice.tts.failures"}
    durations = histograms(metrics["vibevoice.tts.segment.duration"])
    assert {attributes_of(p)["error.type"] for p in durations} == {"engine_crashed", "cancelled"}
    (failure,) = numbers(metrics["vibevoice.tts.failures"])
    assert (attributes_of(failure)["error.type"], failure.value) == ("engine_crashed", 1)


def test_a_trace_that_is_thinned_out_leaves_no_exemplar(
    finished: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    with synthesis_span(model="tts-1", engine="piper") as span:
        assert (span.trace_id, span.kept) == ("", False)
        metrics = measured(record(trace_id=span.trace_id), context=span.context)
    (rtf,) = histograms(metrics["vibevoice.tts.real_time_factor"])
    assert (rtf.count, list(rtf.exemplars)) == (1, [])


def test_a_request_becomes_the_declared_metrics(finished: InMemorySpanExporter) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    hook = RequestMetrics(provider.get_meter("test"))
    request = RequestRecord(
        "piper", "tts-1", False, 3.0, 0.4, 9.0, (("fault", "engine_crashed", 2),), 1, 0.25
    )
    with open_span("speech") as span:
        hook.answered(replace(request, trace_id=span.trace_id), span.context)
    hook.answered(replace(request, error="engine_error", first_audio_s=None), None)
    metrics = metrics_of(reader)
    provider.shutdown()
    cache = "vibevoice.tts.cache.lookups"
    assert set(metrics) == {i.name for i in REQUEST_INSTRUMENTS} - {cache}
    for declared in REQUEST_INSTRUMENTS:
        if declared.name != cache:
            for point in metrics[declared.name].data.data_points:
                assert set(attributes_of(point)) | {"error.type"} == set(declared.attributes) | {
                    "error.type"
                }
    well, failed = histograms(metrics["gen_ai.server.request.duration"])
    assert [f"{e.trace_id:032x}" for e in well.exemplars] == [span.trace_id]
    assert attributes_of(failed)["error.type"] == "engine_error"
    (first,) = histograms(metrics["vibevoice.tts.time_to_first_audio"])
    assert (first.count, first.sum) == (1, 0.4)
    (retries,) = numbers(metrics["vibevoice.tts.retries"])
    assert retries.value == 4
    (waited,) = numbers(metrics["vibevoice.tts.stream.underrun.time"])
    assert waited.value == 0.25


USE = CardUse(
    "GPU-a",
    3,
    40.0,
    2**30,
    71.0,
    250.0,
    True,
    (GuardChange(1_790_000_000.5, "GPU-a", "paused", "76 C"),),
)


async def spoken_with(ask: AskCard, **options: Any) -> None:
    """A synthesis whose card is asked for; comes back when its span has ended."""
    cards = CardSpans(ask, **options)
    with synthesis_span(model="tts-1", engine="piper", end=cards.end):
        await asyncio.sleep(0)
    await cards.close()


async def test_a_span_tells_what_its_card_did_and_ends_when_its_work_did(
    finished: InMemorySpanExporter,
) -> None:
    asked: list[tuple[float, float]] = []
    answer = asyncio.Event()

    async def ask(since: float, until: float) -> CardUse:
        asked.append((since, until))
        await answer.wait()
        return USE

    speaking = asyncio.create_task(spoken_with(ask))
    while not asked:
        await asyncio.sleep(0)
    assert finished.get_finished_spans() == ()
    answered_ns = time.time_ns()
    answer.set()
    await speaking
    span = only(finished, "text_to_speech tts-1")
    ((since, until),) = asked
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time <= answered_ns
    assert abs(span.start_time / 1e9 - since) < 0.01
    assert span.end_time / 1e9 == pytest.approx(until, abs=1e-5)
    assert span.attributes is not None
    assert {k: v for k, v in span.attributes.items() if k.startswith(("hw", "vibevoice"))} == {
        "hw.id": "GPU-a",
        "vibevoice.gpu.utilization.mean": 0.4,
        "vibevoice.gpu.memory.peak": 2**30,
        "vibevoice.gpu.temperature.peak": 71.0,
        "vibevoice.gpu.energy": 250.0,
        "vibevoice.gpu.throttled": True,
        "vibevoice.gpu.samples": 3,
    }
    (event,) = span.events
    assert (event.name, event.timestamp) == ("card paused", 1_790_000_000_500_000_000)


async def test_a_node_that_fails_or_hangs_costs_a_span_its_card_and_nothing_else(
    finished: InMemorySpanExporter,
) -> None:
    async def fail(_since: float, _until: float) -> CardUse:
        raise ConnectionError("the actor is gone")

    async def hang(_since: float, _until: float) -> CardUse:
        await asyncio.Event().wait()
        return USE

    await spoken_with(fail)
    await spoken_with(hang, timeout_s=0.01)
    await spoken_with(hang, most=0)
    spans = finished.get_finished_spans()
    assert [span.name for span in spans] == ["text_to_speech tts-1"] * 3
    assert all("hw.id" not in (span.attributes or {}) for span in spans)


async def test_a_card_is_asked_for_a_period_after_the_end_or_when_the_replica_ends(
    finished: InMemorySpanExporter,
) -> None:
    asked = asyncio.Event()

    async def ask(_since: float, _until: float) -> CardUse:
        asked.set()
        return USE

    soon, late = CardSpans(ask, period_s=0.001), CardSpans(ask, period_s=1e6)
    with synthesis_span(model="tts-1", engine="piper", end=soon.end):
        pass
    await asked.wait()
    await soon.close()
    asked.clear()
    with synthesis_span(model="tts-1", engine="piper", end=late.end):
        pass
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asked.is_set()
    await late.close()
    assert asked.is_set()
    assert len(finished.get_finished_spans()) == 2


async def test_nobody_asks_about_a_span_that_nobody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.0")
    asked: list[float] = []

    async def ask(since: float, _until: float) -> CardUse:
        asked.append(since)
        return USE

    await spoken_with(ask)
    assert asked == []


def test_work_done_bit_by_bit_is_one_span(finished: InMemorySpanExporter) -> None:
    times = iter((10.0, 10.5, 12.0, 12.25))
    watch = Stopwatch(clock=lambda: next(times), wall=lambda: 1_790_000_000.0)
    assert watch.work is None
    for _ in range(2):
        with watch.on():
            pass
    with open_span("speech") as parent:
        work_span("stitch", watch.work, parent=parent.context)
        work_span("encode", None, parent=parent.context)
    span = only(finished, "stitch")
    assert span.parent == only(finished, "speech").get_span_context()
    assert span.start_time == 1_790_000_000 * 10**9
    assert span.end_time == pytest.approx(1_790_000_002_250_000_000, abs=1_000, rel=0)
    assert span.attributes == {"vibevoice.busy": 0.75}


def test_log_lines_carry_the_trace_they_belong_to(finished: InMemorySpanExporter) -> None:
    logger = logging.getLogger("serve_app.test_log_lines")
    for _ in range(2):
        logs.install((logger.name,))
    (handler,) = logger.handlers
    written = io.StringIO()
    assert isinstance(handler, logs.TraceLog)
    handler.setStream(written)
    logger.info("before")
    with trace.get_tracer("test").start_as_current_span("request") as span:
        logger.info("inside")
    logger.removeHandler(handler)
    before, inside = written.getvalue().splitlines()
    assert "[trace -] before" in before
    assert f"[trace {span.get_span_context().trace_id:032x}] inside" in inside
