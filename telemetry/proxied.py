"""The span of a proxy that makes none itself, told by the process behind it.

HAProxy can draw the ids of a span and say when a request came; it can't send a span. So it hands
all three on, and whoever answers the request tells of it: as long as the answer was made, under
the ids that HAProxy drew, which the spans behind it have as their parent already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from telemetry.spans import SCOPE, Attribute, present

_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Proxied:
    """A request as a proxy passed it on.

    Args:
        name: Of the span.
        traceparent: The proxy's own place in the trace, by the W3C's header.
        parent: That of whoever called the proxy; "" if it began the trace.
        arrived_us: Unix time at which the request came to it, microseconds.
    """

    name: str
    traceparent: str
    parent: str
    arrived_us: int

    def tell(
        self, ended_s: float, status: int | None, attributes: Mapping[str, Attribute | None]
    ) -> None:
        """Send the span; nothing happens where no one wants spans or this trace is not sampled.

        Args:
            ended_s: Unix time at which the answer had been made.
            status: Of the answer; None if there was none.
            attributes: More to say; None values are left out.
        """
        provider = trace.get_tracer_provider()
        own = _context_of(self.traceparent)
        if not isinstance(provider, TracerProvider) or not own.trace_flags.sampled:
            return
        caller = _context_of(self.parent)
        failed = status is None or status >= _SERVER_ERROR
        span = ReadableSpan(
            self.name,
            SpanContext(own.trace_id, own.span_id, False, TraceFlags(own.trace_flags)),
            caller if caller.is_valid else None,
            provider.resource,
            present({"http.response.status_code": status, **attributes}),
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=self.arrived_us * 1000,
            end_time=max(round(ended_s * 1e9), self.arrived_us * 1000),
            instrumentation_scope=InstrumentationScope(SCOPE),
        )
        processor = getattr(provider, "_active_span_processor", None)
        if processor is not None:
            processor.on_end(span)


def _context_of(traceparent: str) -> SpanContext:
    """What a header says; a context that is not valid if it says nothing."""
    found = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return trace.get_current_span(found).get_span_context()
