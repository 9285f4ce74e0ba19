"""OpenTelemetry's providers: where spans and metrics go, by the standard ``OTEL_*`` variables.

Nothing is made at import, and nothing at all where nothing is configured:

* ``OTEL_EXPORTER_OTLP_ENDPOINT``, or its ``_TRACES_`` and ``_METRICS_`` forms, switch OTLP on;
  ``OTEL_EXPORTER_OTLP_PROTOCOL`` is ``http/protobuf`` unless it says ``grpc``.
* ``VIBEVOICE_TRACE_DIR`` writes spans as lines of JSON into that directory.

* ``OTEL_TRACES_SAMPLER_ARG`` is the share of traces that leave; see :mod:`telemetry.sampling`.

A collector that is dead or slow costs no one time: exports run on their own threads with
bounded queues and short time-outs, and every flush and shutdown here is bounded. What fails is
counted (:mod:`telemetry.export_health`) and told as a metric of each process.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from telemetry.card_metrics import observe
from telemetry.core.export_state import Exports, merge_exports
from telemetry.export_health import ExportHealth
from telemetry.otlp import exporter, wants
from telemetry.readings import EXPORT_POINTS, Point, ReadExports
from telemetry.sampling import is_kept, ratio_of
from telemetry.spans import SCOPE
from telemetry.trace_file import JsonLinesSpanExporter

logger = logging.getLogger(__name__)

SERVICE_NAME = "vibevoice-serve"
SHUTDOWN_TIMEOUT_S = 2.0
SPAN_DELAY_MS = 500
METRIC_INTERVAL_MS = 10_000
TRACE_DIR = "VIBEVOICE_TRACE_DIR"
IMPORT_PATH = "telemetry.otel:span_processors"
_SERVE_EXPORTER = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"
_SERVE_RATIO = "RAY_SERVE_TRACING_SAMPLING_RATIO"


def bounded(call: Callable[[], object], timeout_s: float) -> bool:
    """Run a call that may block or fail, and stop waiting for it after *timeout_s*.

    Returns:
        True if it came back in time and without an error, which is logged. The thread of one
        that did not come back ends with the call, or with the process.
    """
    done = threading.Event()

    def run() -> None:
        try:
            call()
        except Exception:
            logger.exception("telemetry could not be sent")
        else:
            done.set()

    thread = threading.Thread(target=run, name="otel-bounded", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return done.is_set()


class BoundedSpanProcessor(BatchSpanProcessor):
    """A batch processor that never holds up its process for longer than *timeout_s*.

    Args:
        spans: Where they go; owned.
        timeout_s: Longest flush or shutdown.
        ratio: Share of the traces that is exported, 0 to 1.
    """

    def __init__(
        self,
        spans: SpanExporter,
        *,
        timeout_s: float = SHUTDOWN_TIMEOUT_S,
        ratio: float = 1.0,
    ) -> None:
        delay = None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else SPAN_DELAY_MS
        self.health = ExportHealth("traces")
        super().__init__(self.health.watch(spans), schedule_delay_millis=delay)
        self._timeout_s, self._ratio = timeout_s, ratio

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, if its trace is one that leaves."""
        context = span.context
        if context is not None and is_kept(context.trace_id, self._ratio):
            if self._is_full() and context.trace_flags.sampled:
                self.health.dropped()
            super().on_end(span)

    def _is_full(self) -> bool:
        """Whether one more span pushes another out, of which the library tells in its log only."""
        queue = self._batch_processor._queue  # noqa: SLF001
        return len(queue) == queue.maxlen

    def shutdown(self) -> None:
        """Send what is queued, and give up after the time-out."""
        if not bounded(super().shutdown, self._timeout_s):
            self.span_exporter.shutdown()

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Send what is queued; False if that takes longer than the time-out."""
        limit_s = self._timeout_s if timeout_millis is None else timeout_millis / 1000.0
        return bounded(super().force_flush, limit_s)


class LostSpans(SpanProcessor):
    """Stands where a processor could not be made: keeps no span, and tells why.

    Args:
        problem: For people.
    """

    def __init__(self, problem: str) -> None:
        self.health = ExportHealth("traces", problem=problem)


def _unusable(signal: str, error: Exception) -> str:
    """Why a signal has no exporter, for people; it is logged here."""
    problem = (
        f"{signal} are not exported: {type(error).__name__}: {error}. Look at the OTEL_* variables "
        "(times are plain numbers, a compression is gzip, deflate or none), and start again."
    )
    logger.error("%s", problem)
    return problem


def _processor(make: Callable[[], SpanExporter], ratio: float) -> SpanProcessor:
    """A processor, or what tells why there is none: speech must not depend on it."""
    try:
        return BoundedSpanProcessor(make(), ratio=ratio)
    except Exception as error:  # noqa: BLE001 - each library refuses a variable in its own way
        return LostSpans(_unusable("traces", error))


def span_processors() -> list[SpanProcessor]:
    """What Ray Serve puts into the tracer provider of each proxy and replica.

    Serve calls it, without arguments, where ``RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH`` names it.
    """
    processors: list[SpanProcessor] = []
    ratio = ratio_of(os.environ)
    if wants("TRACES", os.environ):
        processors.append(_processor(lambda: exporter("TRACES"), ratio))
    if directory := os.environ.get(TRACE_DIR, "").strip():
        processors.append(_processor(lambda: JsonLinesSpanExporter(Path(directory)), ratio))
    return processors


def _span_health() -> tuple[ExportHealth, ...]:
    """How the exports of this process' spans go; Serve made the provider, with our processors."""
    active = getattr(trace.get_tracer_provider(), "_active_span_processor", None)
    found = getattr(active, "_span_processors", ())
    return tuple(o.health for o in found if isinstance(o, BoundedSpanProcessor | LostSpans))


def tracing_environment(
    environ: Mapping[str, str],
    *,
    service_name: str = SERVICE_NAME,
    attributes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Variables that every Ray process needs for one trace from the proxy to the replica.

    They must be set before Ray starts, on every node. What the operator has set already stands.

    Args:
        environ: The environment as it is.
        service_name: ``service.name`` unless ``OTEL_SERVICE_NAME`` is set.
        attributes: Resource attributes to add to those of ``OTEL_RESOURCE_ATTRIBUTES``.

    Returns:
        The variables to add; none where no one wants spans, so that tracing costs nothing.
    """
    directory = environ.get(TRACE_DIR, "").strip()
    if not directory and not wants("TRACES", environ):
        return {}
    added = {
        _SERVE_EXPORTER: IMPORT_PATH,
        # Below 1 each process decides for itself and traces come apart.
        _SERVE_RATIO: "1.0",
        "OTEL_SERVICE_NAME": service_name,
    }
    added = {name: value for name, value in added.items() if not environ.get(name)}
    present = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    new = ",".join(f"{name}={value}" for name, value in (attributes or {}).items())
    if new:
        # The last of two equal keys wins, and the operator's shall.
        added["OTEL_RESOURCE_ATTRIBUTES"] = f"{new},{present}" if present else new
    return added


def flush_spans(timeout_s: float = SHUTDOWN_TIMEOUT_S) -> bool:
    """Send this process' spans before it is killed; True if all was sent in time."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return True
    return bounded(lambda: provider.force_flush(int(timeout_s * 1000)), timeout_s)


class Metrics:
    """A meter, its exporter, and how all exports of this process go; see :func:`start_metrics`.

    Args:
        provider: Owned.
        health: How its own exports go; None where only spans leave.
    """

    def __init__(self, provider: MeterProvider, health: ExportHealth | None) -> None:
        self._provider, self._health = provider, health
        self.meter: Meter = provider.get_meter(SCOPE)
        for instrument, read in EXPORT_POINTS.items():
            observe(self.meter, instrument, partial(self._points, read))

    def exports(self) -> Exports:
        """How the exports of this process go, by signal."""
        own = () if self._health is None else (self._health.state,)
        return merge_exports([*own, *(health.state for health in _span_health())])

    def _points(self, read: ReadExports) -> Iterator[Point]:
        return read(self.exports())

    def close(self, timeout_s: float = SHUTDOWN_TIMEOUT_S) -> None:
        """Export a last time and stop, within *timeout_s*."""
        bounded(lambda: self._provider.shutdown(timeout_s * 1000), timeout_s)


def start_metrics(instance: str, attributes: Mapping[str, str] | None = None) -> Metrics | None:
    """Start to export metrics, or None where this process exports nothing at all.

    Where only spans leave, its meter leads nowhere, and it tells how the spans fare.

    Call it in the constructor of an actor or a replica, never at import or in a process that
    forks: a forked child would export its parent's counters again.

    Args:
        instance: ``service.instance.id``: what tells this process from its neighbours, the same
            over its whole life.
        attributes: More resource attributes, such as ``ray.node_id``.
    """
    if not wants("METRICS", os.environ):
        spans = wants("TRACES", os.environ) or os.environ.get(TRACE_DIR, "").strip()
        return Metrics(MeterProvider(shutdown_on_exit=False), None) if spans else None
    ours: dict[str, Any] = {
        "service.name": SERVICE_NAME,
        "service.instance.id": instance,
        "host.name": socket.gethostname(),
        **(attributes or {}),
    }
    # What the operator says in OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES stands.
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())
    health = ExportHealth("metrics")
    try:
        readers = [_metric_reader(health)]
    except Exception as error:  # noqa: BLE001 - each library refuses a variable in its own way
        readers, health = [], ExportHealth("metrics", problem=_unusable("metrics", error))
    provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    return Metrics(provider, health)


def _metric_reader(health: ExportHealth) -> PeriodicExportingMetricReader:
    interval = None if "OTEL_METRIC_EXPORT_INTERVAL" in os.environ else METRIC_INTERVAL_MS
    watched = health.watch(exporter("METRICS"))
    return PeriodicExportingMetricReader(watched, export_interval_millis=interval)
