"""The declared metrics as a document for people: ``METRICS.md`` beside this file.

python -m telemetry.metrics_document > telemetry/METRICS.md
"""

from __future__ import annotations

import sys
from typing import Final

from telemetry import instruments as i
from telemetry.instrument import table

_SECTIONS: Final = (
    ("Cards, from each node's telemetry actor", i.NODE_INSTRUMENTS),
    ("Synthesis, from each replica", i.SYNTHESIS_INSTRUMENTS),
    ("Requests, from each ingress and from what runs jobs", i.REQUEST_INSTRUMENTS),
    ("Telemetry itself, from every process", i.PROCESS_INSTRUMENTS),
)


def markdown() -> str:
    """The text of ``METRICS.md``."""
    lines = [
        "# Metrics",
        "",
        "Made from `telemetry/instruments.py` by `python -m telemetry.metrics_document`.",
        "A signal that a card does not have is absent, never 0. `hw.id` is the card's UUID.",
        "`error.type` of a duration stands on failed attempts only.",
        "",
        "`GET /metrics` tells most of it to Prometheus: dots become underscores, the unit is",
        "appended (`_seconds`, `_bytes`, `_ratio` of a gauge, ...), and `_total` to counters.",
        "Segments are summed over cards there, with buckets that are right to 2.5 %.",
        "It leaves out the durations of failed segments and look-ups in the cache. What can't be",
        "exported is told of each node with its replicas, and of the ingress that answers, without",
        "a node's name.",
    ]
    for title, instruments in _SECTIONS:
        lines += ["", f"## {title}", "", *table(instruments)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
