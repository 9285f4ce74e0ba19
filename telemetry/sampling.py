"""Which traces leave: thinned out by trace id, so that a trace leaves whole or not at all.

Every process decides by the same rule, that of OpenTelemetry's ``TraceIdRatioBased``: the lower 64
bits of the id below the ratio of their range. Serve itself must sample everything, since below 1
each of its processes decides for itself and traces come apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RATIO: Final = "OTEL_TRACES_SAMPLER_ARG"
"""The standard variable that says which share of the traces leaves; 1 without it."""

_RANGE: Final = 2**64


def ratio_of(environ: Mapping[str, str]) -> float:
    """The share of traces to keep, 0 to 1; what is no number counts as 1."""
    try:
        return min(max(float(environ.get(RATIO, "") or 1.0), 0.0), 1.0)
    except ValueError:
        return 1.0


def is_kept(trace_id: int, ratio: float) -> bool:
    """Whether a trace leaves."""
    return trace_id % _RANGE < round(ratio * _RANGE)
