"""Spans around segments and syntheses, and the hook that turns records into metrics.

A span here is never *current* while its block runs: a context token that is held over a
``yield`` of an asynchronous generator is detached in another context, and everything between
would become its child by accident. The parent is taken once, at the start, and whoever wants to
start a child says so: with :meth:`Span.active` around a call that leaves the process, or by
passing :attr:`Span.context` as ``parent``.

Where nobody set a tracer provider up, all of this costs a few microseconds and records nothing.
Inside a Ray Serve replica Serve sets the provider; see :func:`telemetry.otel.span_processors`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter
from opentelemetry.trace import SpanKind, Status, StatusCode

from telemetry import instruments
from telemetry.core.sample import SynthesisRecord
from telemetry.instruments import Instrument, Kind

logger = logging.getLogger(__name__)

Attribute = str | bool | int | float
SCOPE = "vibevoice"
OPERATION = "text_to_speech"


def trace_id_of(span: trace.Span) -> str:
    """A span's trace id as 32 hex digits, or "" when it is not sampled."""
    context = span.get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return ""
    return trace.format_trace_id(context.trace_id)


def current_trace_id() -> str:
    """The trace id of the span that is current here, or "" when none is sampled."""
    return trace_id_of(trace.get_current_span())


class Span:
    """A span that is open; made by the functions below.

    Args:
        span: The span itself.
        parent: The context that it was started in.
    """

    def __init__(self, span: trace.Span, parent: Context) -> None:
        self._span = span
        self.context = trace.set_span_in_context(span, parent)
        self.trace_id = trace_id_of(span)

    def set(self, attributes: Mapping[str, Attribute | None]) -> None:
        """Add attributes; those that are None are left out."""
        self._span.set_attributes(_present(attributes))

    def event(self, name: str, attributes: Mapping[str, Attribute | None] | None = None) -> None:
        """Note that something happened now."""
        self._span.add_event(name, _present(attributes or {}))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the span current, so that a call started inside becomes its child.

        Nothing inside may await or yield: start the call, leave, then wait for its answer.
        """
        token = otel_context.attach(self.context)
        try:
            yield
        finally:
            otel_context.detach(token)


@contextmanager
def open_span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
    attributes: Mapping[str, Attribute | None] | None = None,
) -> Iterator[Span]:
    """A span over a block, which may await and yield.

    An error that leaves the block sets ``error.type`` (its ``code`` where it has one) and the
    status; being cancelled or closed does not, it sets ``vibevoice.cancelled``.

    Args:
        name: Name of the span.
        kind: What the block is to the trace.
        parent: Context of the parent, the current one if None.
        attributes: What is known at the start; None values are left out.
    """
    around = otel_context.get_current() if parent is None else parent
    started = trace.get_tracer(SCOPE).start_span(
        name, context=around, kind=kind, attributes=_present(attributes or {})
    )
    span = Span(started, around)
    try:
        yield span
    except (asyncio.CancelledError, GeneratorExit):
        span.set({"vibevoice.cancelled": True})
        raise
    except BaseException as error:
        span.set({"error.type": error_type(error)})
        started.set_status(Status(StatusCode.ERROR, str(error)))
        raise
    finally:
        started.end()


def segment_span(
    *, index: int, attempt: int, key: str, characters: int, parent: Context | None = None
) -> AbstractContextManager[Span]:
    """The span ``segment``: one attempt at one segment, as its dispatcher sees it.

    Args:
        index: Position in the script, from 0.
        attempt: From 1.
        key: The segment's content key.
        characters: Length of its text.
        parent: Context of the parent, the current one if None.
    """
    attributes: dict[str, Attribute | None] = {
        "vibevoice.segment.index": index,
        "vibevoice.segment.attempt": attempt,
        "vibevoice.segment.key": key,
        "vibevoice.segment.characters": characters,
    }
    return open_span("segment", kind=SpanKind.CLIENT, parent=parent, attributes=attributes)


def synthesis_span(
    *,
    model: str,
    engine: str,
    parent: Context | None = None,
    attributes: Mapping[str, Attribute | None] | None = None,
) -> AbstractContextManager[Span]:
    """The span ``text_to_speech {model}``: an engine speaks one segment, in its replica.

    Args:
        model, engine: Who speaks.
        parent: Context of the parent, the current one if None.
        attributes: What else is known at the start.
    """
    named: dict[str, Attribute | None] = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": engine,
        "gen_ai.request.model": model,
        "gen_ai.output.type": "speech",
        **(attributes or {}),
    }
    return open_span(f"{OPERATION} {model}", parent=parent, attributes=named)


def describe(span: Span, record: SynthesisRecord) -> None:
    """Put what a synthesis came to on its span."""
    span.set(
        {
            "hw.id": record.card_uuid,
            "ray.node_id": record.node,
            "vibevoice.replica": record.replica,
            "vibevoice.simulated": record.simulated,
            "gen_ai.usage.input_tokens": record.input_tokens,
            "gen_ai.usage.output_tokens": record.output_tokens,
            "vibevoice.tts.input.characters": record.input_characters,
            "vibevoice.tts.audio.duration": record.audio_s,
            "vibevoice.tts.wall.duration": record.wall_s,
            "vibevoice.tts.real_time_factor": record.real_time_factor,
            "vibevoice.tts.queue.time": record.queue_s,
            "vibevoice.tts.time_to_first_audio": record.first_audio_s,
            "error.type": record.error,
        }
    )


def error_type(error: BaseException) -> str:
    """What an error is called in attributes: its stable ``code``, or its class."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else type(error).__name__


def _present(attributes: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    return {name: value for name, value in attributes.items() if value is not None}


class SynthesisHook(Protocol):
    """Whoever wants to know of every synthesis."""

    def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
        """Take a record; returns at once, whatever stands behind it.

        Args:
            record: What was spoken, or failed.
            context: The synthesis span's context, which ties metrics to the trace.
        """
        ...


class NoSynthesisHook:
    """The hook where nobody wants to know."""

    def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
        """Forget the record."""


class SynthesisMetrics:
    """Turns records into OpenTelemetry metrics; the histograms carry the trace as exemplar.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._duration = histogram(meter, instruments.REQUEST_DURATION)
        self._histograms = {
            "first_audio_s": histogram(meter, instruments.FIRST_AUDIO),
            "real_time_factor": histogram(meter, instruments.REAL_TIME_FACTOR),
            "audio_s": histogram(meter, instruments.AUDIO_DURATION),
            "queue_s": histogram(meter, instruments.QUEUE_TIME),
        }
        self._counters = {
            "input_characters": counter(meter, instruments.INPUT_CHARACTERS),
            "input_tokens": counter(meter, instruments.INPUT_TOKENS),
            "output_tokens": counter(meter, instruments.OUTPUT_TOKENS),
        }

    def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
        """Count a synthesis; of a failed one only the duration and the error."""
        attributes = _present(
            {
                "gen_ai.operation.name": OPERATION,
                "gen_ai.provider.name": record.engine,
                "gen_ai.request.model": record.model,
                "hw.id": record.card_uuid,
                "vibevoice.simulated": record.simulated,
            }
        )
        if record.error is not None:
            failed = {**attributes, "error.type": record.error}
            self._duration.record(record.wall_s, failed, context)
            return
        self._duration.record(record.wall_s, attributes, context)
        for name, into in self._histograms.items():
            if (value := getattr(record, name)) is not None:
                into.record(value, attributes, context)
        for name, total in self._counters.items():
            total.add(getattr(record, name), attributes, context)


class Hooks:
    """Several hooks as one; what one of them raises is logged and hurts nobody.

    Args:
        hooks: Called in this order.
    """

    def __init__(self, *hooks: SynthesisHook) -> None:
        self._hooks = hooks

    def spoken(self, record: SynthesisRecord, context: Context | None) -> None:
        """Pass the record on."""
        for hook in self._hooks:
            try:
                hook.spoken(record, context)
            except Exception:
                logger.exception("a synthesis hook failed; the synthesis goes on")


def histogram(meter: Meter, spec: Instrument) -> Histogram:
    """The OpenTelemetry histogram of a declared instrument."""
    assert spec.kind is Kind.HISTOGRAM
    return meter.create_histogram(
        spec.name,
        unit=spec.unit,
        description=spec.description,
        explicit_bucket_boundaries_advisory=spec.buckets,
    )


def counter(meter: Meter, spec: Instrument) -> Counter:
    """The OpenTelemetry counter of a declared instrument."""
    assert spec.kind is Kind.COUNTER
    return meter.create_counter(spec.name, unit=spec.unit, description=spec.description)
