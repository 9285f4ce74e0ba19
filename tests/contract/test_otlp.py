"""What leaves over OTLP and into trace files, on a real receiver in both protocols.

Provider state is per process, so each test makes its own providers from what the environment
says, as Ray Serve and the node actors do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from telemetry.card_metrics import observe_cards
from telemetry.core.sample import CardSample
from telemetry.core.window import AgedSample
from telemetry.instruments import RTF_BUCKETS
from telemetry.otel import (
    BoundedSpanProcessor,
    span_processors,
    start_metrics,
    tracing_environment,
)
from telemetry.speech_metrics import SynthesisMetrics
from telemetry.trace_file import JsonLinesSpanExporter
from tests.otlp import BlackHole, OtlpReceiver
from tests.records import record
from tests.unit.test_instruments import Readings

Protocol = Literal["http/protobuf", "grpc"]
WAIT_S = 20.0


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SDK_DISABLED",
        "VIBEVOICE_TRACE_DIR",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["http/protobuf", "grpc"])
def receiver(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OtlpReceiver]:
    protocol: Protocol = request.param
    with OtlpReceiver(protocol) as started:
        for name, value in started.environment().items():
            monkeypatch.setenv(name, value)
        yield started


def provider() -> TracerProvider:
    """A provider as Ray Serve makes it: the processors and nothing else."""
    made = TracerProvider(shutdown_on_exit=False)
    for processor in span_processors():
        made.add_span_processor(processor)
    return made


def speak(tracing: TracerProvider) -> str:
    """Two spans of one trace; the trace id."""
    tracer = tracing.get_tracer("test")
    with (
        tracer.start_as_current_span("request") as request,
        tracer.start_as_current_span("segment", attributes={"index": 3}),
    ):
        return f"{request.get_span_context().trace_id:032x}"


def test_spans_arrive_as_one_trace(receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "a-stage")
    tracing = provider()
    trace_id = speak(tracing)
    assert receiver.wait_for(lambda: receiver.span_names() == {"request", "segment"}, WAIT_S)
    segment, request = receiver.spans()
    assert (segment.trace_id, request.trace_id) == (trace_id, trace_id)
    assert segment.parent_id == request.span_id
    assert segment.attributes == {"index": 3}
    assert segment.resource["service.name"] == "a-stage"
    tracing.shutdown()


def test_what_is_queued_is_sent_at_the_end(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    tracing = provider()
    speak(tracing)
    assert receiver.spans() == []
    tracing.shutdown()
    assert receiver.span_names() == {"request", "segment"}


def test_metrics_arrive_with_buckets_exemplars_and_resource(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-1,host.name=told")
    metrics = start_metrics("replica-7", {"ray.node_id": "node-1"})
    assert metrics is not None
    card = CardSample(1.0, 0, "GPU-a", "card", simulated=False, temp_c=66.0)
    observe_cards(metrics.meter, Readings([AgedSample(card, 0.0)]))
    tracing = provider()
    with tracing.get_tracer("test").start_as_current_span("synthesis") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
        SynthesisMetrics(metrics.meter).spoken(record(trace_id=trace_id), None)
    metrics.close(WAIT_S)
    (rtf,) = receiver.newest("vibevoice.tts.real_time_factor")
    assert (rtf.value, rtf.count, rtf.bounds) == (0.25, 1, RTF_BUCKETS)
    assert rtf.exemplar_traces == (f"{span.get_span_context().trace_id:032x}",)
    (temperature,) = receiver.newest("hw.temperature")
    assert (temperature.value, temperature.attributes["hw.id"]) == (66.0, "GPU-a")
    resource = next(m.resource for m in receiver.metrics() if m.name == "hw.temperature")
    assert {
        name: resource[name]
        for name in (
            "service.name",
            "service.instance.id",
            "ray.node_id",
            "host.name",
            "k8s.pod.name",
        )
    } == {
        "service.name": "vibevoice-serve",
        "service.instance.id": "replica-7",
        "ray.node_id": "node-1",
        "host.name": "told",
        "k8s.pod.name": "pod-1",
    }
    tracing.shutdown()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_that_never_answers_holds_nobody(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BlackHole() as hole:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", hole.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        (processor,) = span_processors()
        tracing = TracerProvider(shutdown_on_exit=False)
        tracing.add_span_processor(processor)
        metrics = start_metrics("r")
        assert metrics is not None
        SynthesisMetrics(metrics.meter).spoken(record(), None)
        speak(tracing)
        assert hole.wait_for_victim(WAIT_S)
        # The exporter is held for a minute now; whatever comes back does not wait for it.
        for _ in range(3_000):
            speak(tracing)
        metrics.close(timeout_s=0.05)
        assert not processor.force_flush(timeout_millis=50)
        tracing.shutdown()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_that_is_not_there_holds_nobody(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BlackHole() as hole:
        closed = hole.endpoint
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", closed)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    tracing = provider()
    metrics = start_metrics("r")
    assert metrics is not None
    speak(tracing)
    metrics.close(timeout_s=0.2)
    tracing.shutdown()
    speak(tracing)


def test_a_trace_file_holds_one_span_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIBEVOICE_TRACE_DIR", str(tmp_path / "traces"))
    tracing = provider()
    trace_id = speak(tracing)
    tracing.shutdown()
    (file,) = (tmp_path / "traces").glob("spans-*.jsonl")
    spans = [json.loads(line) for line in file.read_text().splitlines()]
    assert {span["name"] for span in spans} == {"request", "segment"}
    assert {span["context"]["trace_id"] for span in spans} == {f"0x{trace_id}"}


def test_a_dead_disk_or_a_full_file_loses_spans_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("not a directory")
    for exporter in (
        JsonLinesSpanExporter(blocked),
        JsonLinesSpanExporter(tmp_path / "full", max_bytes=10),
    ):
        caplog.clear()
        tracing = TracerProvider(shutdown_on_exit=False, resource=Resource.get_empty())
        tracing.add_span_processor(BoundedSpanProcessor(exporter))
        for _ in range(3):
            speak(tracing)
            tracing.force_flush()
        tracing.shutdown()
        assert [r.message for r in caplog.records if "spans are lost" in r.message] != []
        assert caplog.text.count("spans are lost") == 1
    assert not (tmp_path / "full").exists()


def test_nothing_is_made_where_nothing_is_configured() -> None:
    assert span_processors() == []
    assert start_metrics("r") is None
    assert tracing_environment({}) == {}


@pytest.mark.parametrize(
    "wish",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"},
        {"VIBEVOICE_TRACE_DIR": "traces"},
    ],
)
def test_whoever_wants_spans_gets_serve_s_tracing(wish: dict[str, str]) -> None:
    assert tracing_environment(wish, attributes={"deployment.environment.name": "test"}) == {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "telemetry.otel:span_processors",
        "RAY_SERVE_TRACING_SAMPLING_RATIO": "1.0",
        "OTEL_SERVICE_NAME": "vibevoice-serve",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }


def test_what_the_operator_set_stands() -> None:
    operator = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "OTEL_SERVICE_NAME": "stage",
        "RAY_SERVE_TRACING_SAMPLING_RATIO": "0.5",
        "OTEL_RESOURCE_ATTRIBUTES": "a=1",
    }
    assert tracing_environment(operator, attributes={"b": "2"}) == {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "telemetry.otel:span_processors",
        "OTEL_RESOURCE_ATTRIBUTES": "b=2,a=1",
    }
    assert tracing_environment({**operator, "OTEL_SDK_DISABLED": "true"}) == {}
