"""What is measured of one request for speech: its listener's waits, and where its time went."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from opentelemetry.context import Context

from serve_app.pieces import Delivery
from telemetry.core.request import Playback, RequestRecord
from telemetry.core.stopwatch import Stopwatch
from telemetry.spans import Span, work_span


class RequestHook(Protocol):
    """Whoever wants to know of every request; no method blocks or raises."""

    def answered(self, record: RequestRecord, context: Context | None) -> None:
        """A request has ended; *context* is that of its span."""
        ...


class NoRequestHook:
    """The hook where nobody wants to know."""

    def answered(self, record: RequestRecord, context: Context | None) -> None:
        """Forget the record."""


class RequestWatch:
    """Follows one request from its arrival on.

    Args:
        engine, model: Who speaks.
        simulated: The engine is simulated; a card that is may be found out later.
    """

    def __init__(self, engine: str = "", model: str = "", *, simulated: bool = False) -> None:
        self.engine, self.model, self.simulated = engine, model, simulated
        self.began = time.time()
        self.playback = Playback()
        self.plan, self.stitch, self.encode = Stopwatch(), Stopwatch(), Stopwatch()
        self.error: str | None = None

    def tell(self, span: Span) -> None:
        """Put the work that was done bit by bit under the request's span."""
        for name, watch in (("plan", self.plan), ("stitch", self.stitch), ("encode", self.encode)):
            work_span(name, watch.work, parent=span.context)
        span.set(
            {
                "vibevoice.tts.stream.underruns": self.playback.underruns,
                "vibevoice.tts.stream.underrun.time": self.playback.underrun_s,
            }
        )

    def record(
        self,
        *,
        wall_s: float,
        first_audio_s: float | None,
        audio_s: float,
        events: Iterable[Delivery],
        trace_id: str,
    ) -> RequestRecord:
        """The request as it went, once it is over."""
        causes = Counter((event.kind, event.code) for event in events)
        return RequestRecord(
            engine=self.engine,
            model=self.model,
            simulated=self.simulated,
            wall_s=wall_s,
            first_audio_s=first_audio_s,
            audio_s=audio_s,
            retries=tuple((kind, code, count) for (kind, code), count in causes.items()),
            underruns=self.playback.underruns,
            underrun_s=self.playback.underrun_s,
            error=self.error,
            trace_id=trace_id,
        )
