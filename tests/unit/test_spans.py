"""Spans that live in asynchronous generators, and records that become metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from telemetry.core.sample import SynthesisRecord
from telemetry.instruments import SYNTHESIS_INSTRUMENTS, Kind
from telemetry.spans import (
    Hooks,
    NoSynthesisHook,
    SynthesisMetrics,
    current_trace_id,
    describe,
    open_span,
    segment_span,
    synthesis_span,
)
from tests.records import record


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """What the process' one tracer provider exports; it can be set only once a process."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return memory


@pytest.fixture
def finished(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def only(finished: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in finished.get_finished_spans() if span.name == name]
    return span


async def speak(pieces: int, parent: Context | None = None) -> AsyncIterator[int]:
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
    await asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await asyncio.create_task(stream.aclose())  # type: ignore[attr-defined]
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
    ours = {only(finished, name).get_span_context().span_id for name in ("left", "right")}
    assert parents == ours


async def test_a_call_started_inside_active_becomes_a_child_even_if_it_runs_later(
    finished: InMemorySpanExporter,
) -> None:
    async def call() -> str:
        with synthesis_span(model="tts-1", engine="piper"):
            return current_trace_id()

    with segment_span(index=4, attempt=2, key="k", characters=30) as segment:
        with segment.active():
            task = asyncio.create_task(call())
        assert current_trace_id() == ""
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
    hook = Hooks(NoSynthesisHook(), SynthesisMetrics(provider.get_meter("test")))
    for item in records:
        hook.spoken(item, context)
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_records_become_the_declared_metrics_and_carry_their_trace(
    finished: InMemorySpanExporter,
) -> None:
    with synthesis_span(model="tts-1", engine="piper") as span:
        metrics = measured(record(), context=span.context)
    assert set(metrics) == {i.name for i in SYNTHESIS_INSTRUMENTS}
    for declared in SYNTHESIS_INSTRUMENTS:
        metric = metrics[declared.name]
        assert (metric.unit, metric.description) == (declared.unit, declared.description)
        (point,) = metric.data.data_points
        assert set(point.attributes) == set(declared.attributes) - {"error.type"}
        if declared.kind is Kind.HISTOGRAM:
            assert point.explicit_bounds == declared.buckets
            assert [f"{e.trace_id:032x}" for e in point.exemplars] == [span.trace_id]
    (rtf,) = metrics["vibevoice.tts.real_time_factor"].data.data_points
    assert (rtf.sum, rtf.count) == (0.25, 1)
    (characters,) = metrics["vibevoice.tts.input.characters"].data.data_points
    assert characters.value == 120


def test_a_failure_counts_only_as_a_failed_request() -> None:
    metrics = measured(record(error="engine_crashed"))
    assert set(metrics) == {"gen_ai.server.request.duration"}
    (point,) = metrics["gen_ai.server.request.duration"].data.data_points
    assert point.attributes["error.type"] == "engine_crashed"


def test_a_failing_hook_hurts_neither_the_caller_nor_the_next_hook() -> None:
    class Failing:
        def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
            raise RuntimeError("no")

    class Counting:
        seen = 0

        def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
            self.seen += 1

    counting = Counting()
    Hooks(Failing(), counting).spoken(record(), None)
    assert counting.seen == 1
