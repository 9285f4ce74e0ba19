"""Log lines that carry the trace they belong to."""

from __future__ import annotations

import logging
from typing import Final

from opentelemetry import trace

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s [trace %(trace_id)s] %(message)s"
OURS: Final = ("serve_app", "telemetry")
_NONE: Final = "-"


class TraceIdFilter(logging.Filter):
    """Gives every line ``trace_id``: 32 hex digits of the span that is current, else ``-``.

    Also of a trace that is thinned out: its lines still belong together.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line through."""
        context = trace.get_current_span().get_span_context()
        known = context.is_valid
        record.trace_id = trace.format_trace_id(context.trace_id) if known else _NONE
        return True


class TraceLog(logging.StreamHandler):  # type: ignore[type-arg] # of sys.stderr, as it is then
    """Writes lines with their trace ids to the standard error, which Ray collects."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))
        self.addFilter(TraceIdFilter())


def install(names: tuple[str, ...] = OURS, level: int = logging.INFO) -> None:
    """Let this process' loggers of these names write lines with trace ids; once is enough.

    Call it in the constructor of a replica or an actor. Where somebody has given the root logger
    a handler, lines reach that one too.
    """
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, TraceLog) for handler in logger.handlers):
            logger.addHandler(TraceLog())
        if logger.level == logging.NOTSET:
            logger.setLevel(level)
