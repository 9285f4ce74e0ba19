"""Spans as lines of JSON in a file, for a trace to look at without a collector."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

logger = logging.getLogger(__name__)


class JsonLinesSpanExporter(SpanExporter):
    """Appends one line per span to ``<directory>/spans-<host>-<pid>.jsonl``.

    A disk that is full, gone or read-only loses spans and is logged once; it hurts nobody.

    Args:
        directory: Where the files go; made when the first span ends.
        max_bytes: Size from which on this process writes no more.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 256 * 2**20) -> None:
        self._path = directory / f"spans-{socket.gethostname()}-{os.getpid()}.jsonl"
        self._left = max_bytes
        self._complained = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append *spans*; called by one thread at a time."""
        text = "".join(f"{span.to_json(indent=None)}\n" for span in spans)
        data = text.encode()
        if len(data) > self._left:
            return self._lose(f"{self._path} is full")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(data)
        except OSError as error:
            return self._lose(str(error))
        self._left -= len(data)
        return SpanExportResult.SUCCESS

    def _lose(self, reason: str) -> SpanExportResult:
        if not self._complained:
            self._complained = True
            logger.warning("spans are lost from now on: %s", reason)
        return SpanExportResult.FAILURE
