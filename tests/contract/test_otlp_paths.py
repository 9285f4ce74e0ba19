"""OTLP with TLS and headers, through a real collector, thinned out, and to one that refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
import ray
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from telemetry import actor
from telemetry.card_metrics import observe_cards
from telemetry.core.export_state import ExportState
from telemetry.core.sample import CardSample
from telemetry.core.window import AgedSample
from telemetry.export_health import ExportHealth
from telemetry.otel import BoundedSpanProcessor, Metrics, span_processors, start_metrics
from telemetry.sampling import is_kept, ratio_of
from telemetry.speech_metrics import SynthesisMetrics
from telemetry.watch_config import TelemetryConfig
from tests.contract.test_otlp import WAIT_S, provider, speak
from tests.otlp import OtlpReceiver, flush, make_tls
from tests.records import record
from tests.rotel import collector
from tests.unit.test_instruments import Readings

Protocol = Literal["http/protobuf", "grpc"]
PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a bundle of its own for all requests, the HTTP library would not look at OpenTelemetry's.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    chosen: Protocol = request.param
    return chosen


def send_all() -> str:
    """Spans and metrics of a synthesis on a card; the trace id."""
    metrics = start_metrics("replica-7")
    assert metrics is not None
    card = CardSample(1.0, 0, "GPU-a", "card", simulated=False, temp_c=66.0)
    observe_cards(metrics.meter, Readings([AgedSample(card, 0.0)]))
    tracing = provider()
    with tracing.get_tracer("test").start_as_current_span("request") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
        with tracing.get_tracer("test").start_as_current_span("synthesis"):
            SynthesisMetrics(metrics.meter).spoken(record(trace_id=trace_id), None)
    metrics.close(WAIT_S)
    tracing.force_flush(int(WAIT_S * 1000))
    tracing.shutdown()
    return trace_id


def failing_s(metrics: Metrics) -> float:
    return max(state.failing_s for state in metrics.exports())


def test_tls_and_headers_come_from_the_standard_variables(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = make_tls(tmp_path)
    with OtlpReceiver(protocol, tls) as receiver:
        for name, value in receiver.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tls.certificate))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=s3cret,x-stage=main")
        send_all()
        assert receiver.span_names() == {"request", "synthesis"}
        assert receiver.newest("hw.temperature")[0].value == 66.0
        assert {(h.get("x-token"), h.get("x-stage")) for h in receiver.headers()} == {
            ("s3cret", "main")
        }


def test_a_collector_with_a_foreign_certificate_gets_nothing(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = make_tls(tmp_path / "other")
    with OtlpReceiver(protocol, make_tls(tmp_path)) as receiver:
        for name, value in receiver.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(other.certificate))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        metrics = start_metrics("r")
        assert metrics is not None
        flush(metrics, WAIT_S)
        assert failing_s(metrics) > 0
        metrics.close(0.1)
        assert receiver.headers() == []


def test_a_real_collector_passes_on_one_trace_with_metrics_and_exemplars(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OtlpReceiver(protocol) as receiver, collector(receiver) as endpoints:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoints[protocol])
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        trace_id = send_all()
        assert receiver.wait_for(lambda: len(receiver.spans()) >= 2, WAIT_S)
        assert receiver.wait_for(lambda: receiver.newest("hw.temperature") != [], WAIT_S)
        spans = {span.name: span for span in receiver.spans()}
        assert {span.trace_id for span in spans.values()} == {trace_id}
        assert spans["synthesis"].parent_id == spans["request"].span_id
        (rtf,) = receiver.newest("vibevoice.tts.real_time_factor")
        assert (rtf.count, rtf.exemplar_traces) == (1, (trace_id,))
        (temperature,) = receiver.newest("hw.temperature")
        assert (temperature.value, temperature.attributes["hw.id"]) == (66.0, "GPU-a")


def test_a_collector_that_refuses_is_counted_until_it_takes_again(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OtlpReceiver(protocol) as receiver:
        for name, value in receiver.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        (processor,) = span_processors()
        assert isinstance(processor, BoundedSpanProcessor)
        tracing = TracerProvider(shutdown_on_exit=False)
        tracing.add_span_processor(processor)
        # Serve sets the process' provider like this; the metrics look for its processors there.
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracing)
        metrics = start_metrics("r")
        assert metrics is not None
        receiver.refuse(True)
        for _ in range(2):
            speak(tracing)
            processor.force_flush()
            flush(metrics, WAIT_S)
        assert processor.health.failures == 2
        assert failing_s(metrics) > 0
        receiver.refuse(False)
        speak(tracing)
        processor.force_flush()
        flush(metrics, WAIT_S)
        # Before this export the metrics had failed; the export itself says so.
        points = receiver.newest("vibevoice.telemetry.export.failures")
        told = {point.attributes["vibevoice.signal"]: point.value for point in points}
        assert told == {"traces": 2, "metrics": 2}
        assert failing_s(metrics) == 0
        metrics.close(WAIT_S)
        tracing.shutdown()


def test_a_share_of_the_traces_leaves_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with OtlpReceiver() as receiver:
        for name, value in receiver.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
        tracings = [provider(), provider()]
        ids = [speak(tracings[number % 2]) for number in range(400)]
        for tracing in tracings:
            tracing.force_flush()
            tracing.shutdown()
        kept = {trace_id for trace_id in ids if is_kept(int(trace_id, 16), 0.25)}
        assert 50 < len(kept) < 150
        seen = [span.trace_id for span in receiver.spans()]
        assert {trace_id: seen.count(trace_id) for trace_id in set(seen)} == dict.fromkeys(kept, 2)


@pytest.mark.parametrize(
    ("told", "ratio"),
    [("", 1.0), ("0.1", 0.1), ("7", 1.0), ("-1", 0.0), ("half", 1.0)],
)
def test_the_ratio_is_the_standard_variable(told: str, ratio: float) -> None:
    assert ratio_of({"OTEL_TRACES_SAMPLER_ARG": told}) == ratio


class Exporter:
    """Ends as it is told, after a look at the clock."""

    def __init__(self) -> None:
        self.steps: Iterator[object] = iter(())

    def export(self, _batch: object) -> object:
        step = next(self.steps)
        if isinstance(step, Exception):
            raise step
        return step


class Result:
    def __init__(self, name: str) -> None:
        self.name = name


def test_the_first_failure_since_the_last_success_counts() -> None:
    now = [0.0]
    health = ExportHealth("traces", clock=lambda: now[0])
    exporter = Exporter()
    watched = health.watch(exporter)
    exporter.steps = iter([Result("FAILURE"), RuntimeError("gone"), Result("SUCCESS")])
    assert health.failing_s() == 0
    watched.export([])
    now[0] = 30.0
    with pytest.raises(RuntimeError):
        watched.export([])
    assert (health.failures, health.failing_s()) == (2, 30.0)
    watched.export([])
    assert (health.failures, health.failing_s()) == (2, 0.0)


def test_an_export_that_hangs_counts_while_it_still_does() -> None:
    now = [0.0]
    health = ExportHealth("metrics", clock=lambda: now[0])
    seen: list[float] = []

    class Hanging:
        def export(self) -> Result:
            for at in (5.0, 15.0):
                now[0] = at
                seen.append(health.failing_s())
            return Result("SUCCESS")

    health.watch(Hanging()).export()
    assert seen == [0.0, 15.0]
    assert health.failing_s() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_EXPORTER_OTLP_TIMEOUT", "2s"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")],
)
def test_a_variable_that_no_exporter_takes_ends_nothing_and_is_told(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv(name, value)
    tracing = TracerProvider(shutdown_on_exit=False)
    for processor in span_processors():
        tracing.add_span_processor(processor)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracing)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=str))
    watched = actor.TelemetryActor(TelemetryConfig("simulated"))
    speak(tracing)
    told = watched.snapshot()
    watched.close()
    tracing.shutdown()
    assert [problem.split(":")[0] for problem in told.problems] == [
        "metrics are not exported",
        "traces are not exported",
    ]
    assert all(value in problem and "OTEL_" in problem for problem in told.problems)
    assert told.export_failing_s
    assert watched.permit("nobody") is None


def test_spans_alone_are_looked_after_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.endpoint}/v1/traces")
        (processor,) = span_processors()
        tracing = TracerProvider(shutdown_on_exit=False)
        tracing.add_span_processor(processor)
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracing)
        metrics = start_metrics("r")
        assert metrics is not None
        assert metrics.exports() == (ExportState("traces"),)
        receiver.refuse(True)
        speak(tracing)
        processor.force_flush()
        (state,) = metrics.exports()
        assert (state.failures, state.problem is None) == (1, False)
        metrics.close(WAIT_S)
        tracing.shutdown()


class Stuck(SpanExporter):
    """Takes spans and is not done with them until it may be."""

    def __init__(self) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.began.set()
        self.may_end.wait()
        return SpanExportResult.SUCCESS


def test_spans_without_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    stuck = Stuck()
    processor = BoundedSpanProcessor(stuck)
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(processor)
    for _ in range(2):
        speak(tracing)
    assert stuck.began.wait(WAIT_S)
    for _ in range(5):
        speak(tracing)
    assert processor.health.state.dropped == 6
    stuck.may_end.set()
    tracing.shutdown()
