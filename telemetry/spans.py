"""Spans around segments and syntheses, as streams need them.

A span here is never *current* while its block runs: a context token that is held over a
``yield`` of an asynchronous generator is detached in another context, and everything between
would become its child by accident. The parent is taken once, at the start, and whoever wants to
start a child says so: with :meth:`Span.active` around a call that leaves the process, or by
passing :attr:`Span.context` as ``parent``.

A span ends with its block, or later where something about it is still being asked (see
:mod:`telemetry.card_spans`); the time of its end is that of its block all the same.

Where nobody set a tracer provider up, all of this costs a few microseconds and records nothing.
Inside a Ray Serve replica Serve sets the provider; see :func:`telemetry.otel.span_processors`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode

from telemetry.core.sample import SynthesisRecord
from telemetry.sampling import is_kept, ratio_of

Attribute = str | bool | int | float
SCOPE = "vibevoice"
OPERATION = "text_to_speech"


def trace_id_of(span: trace.Span) -> str:
    """A span's trace id as 32 hex digits, or "" when it is not sampled or thinned out."""
    context = span.get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return ""
    if not is_kept(context.trace_id, ratio_of(os.environ)):
        return ""
    return trace.format_trace_id(context.trace_id)


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
        self._began_ns = self._ended_ns = time.time_ns()

    @property
    def kept(self) -> bool:
        """Whether anybody will see it."""
        return self.trace_id != "" and self._span.is_recording()

    def set(self, attributes: Mapping[str, Attribute | None]) -> None:
        """Add attributes; those that are None are left out."""
        self._span.set_attributes(present(attributes))

    def event(
        self,
        name: str,
        attributes: Mapping[str, Attribute | None] | None = None,
        at: float | None = None,
    ) -> None:
        """Note that something happened now, or at Unix time *at*."""
        self._span.add_event(name, present(attributes or {}), None if at is None else _ns(at))

    @property
    def began(self) -> float:
        """Unix time of its beginning, s."""
        return self._began_ns / 1e9

    @property
    def ended(self) -> float:
        """Unix time at which it was done, s; that of its beginning until then."""
        return self._ended_ns / 1e9

    def done(self) -> None:
        """Note that its work is over now, which is the time it will end with."""
        self._ended_ns = time.time_ns()

    def end(self) -> None:
        """End it, with the time at which it was done."""
        self._span.end(self._ended_ns)

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
    end: Callable[[Span], None] = Span.end,
    began: float | None = None,
) -> Iterator[Span]:
    """A span over a block, which may await and yield.

    An error that leaves the block sets ``error.type`` (its ``code`` where it has one) and the
    status; being cancelled or closed does not, it sets ``vibevoice.cancelled``.

    Args:
        name: Name of the span.
        kind: What the block is to the trace.
        parent: Context of the parent, the current one if None.
        attributes: What is known at the start; None values are left out.
        end: Ends the span when the block is over, or sees to it that it is ended later.
        began: Unix time at which it began, if that was before this call.
    """
    around = otel_context.get_current() if parent is None else parent
    started = trace.get_tracer(SCOPE).start_span(
        name,
        context=around,
        kind=kind,
        attributes=present(attributes or {}),
        start_time=None if began is None else _ns(began),
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
        span.done()
        end(span)


def work_span(name: str, work: tuple[float, float, float] | None, *, parent: Context) -> None:
    """A span over work that was done bit by bit, told when it is over.

    Args:
        name: Name of the span.
        work: Unix times of its first beginning and its last end, and seconds of work between them;
            None if there was none.
        parent: Context of the parent.
    """
    if work is None:
        return
    began, ended, busy_s = work
    span = trace.get_tracer(SCOPE).start_span(
        name,
        context=parent,
        attributes={"vibevoice.busy": busy_s},
        start_time=_ns(began),
    )
    span.end(_ns(ended))


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
    end: Callable[[Span], None] = Span.end,
) -> AbstractContextManager[Span]:
    """The span ``text_to_speech {model}``: an engine speaks one segment, in its replica.

    Args:
        model, engine: Who speaks.
        parent: Context of the parent, the current one if None.
        attributes: What else is known at the start.
        end: As in :func:`open_span`.
    """
    named: dict[str, Attribute | None] = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": engine,
        "gen_ai.request.model": model,
        "gen_ai.output.type": "speech",
        **(attributes or {}),
    }
    return open_span(f"{OPERATION} {model}", parent=parent, attributes=named, end=end)


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


def _ns(unix_s: float) -> int:
    return round(unix_s * 1e9)


def present(attributes: Mapping[str, Attribute | None]) -> dict[str, Attribute]:
    """Those that are not None."""
    return {name: value for name, value in attributes.items() if value is not None}
