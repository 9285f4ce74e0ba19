"""The OTLP exporters that the standard ``OTEL_*`` variables ask for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

EXPORT_TIMEOUT_S = 2.5

Signal = Literal["TRACES", "METRICS"]


def wants(signal: Signal, environ: Mapping[str, str]) -> bool:
    """Whether OTLP is configured for a signal."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(environ.get(name, "").strip() for name in names)


def exporter(signal: Signal) -> Any:
    """The OTLP exporter of a signal, of the transport that the environment asks for.

    Imported here: each transport pulls in a library of its own, and a process without a
    collector needs neither.

    Raises:
        Exception: Whatever the library says of a variable that it does not understand.
    """
    transport = "grpc" if _uses_grpc(signal, os.environ) else "http"
    part, name = {
        "TRACES": ("trace_exporter", "OTLPSpanExporter"),
        "METRICS": ("metric_exporter", "OTLPMetricExporter"),
    }[signal]
    module = import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{part}")
    return getattr(module, name)(timeout=_timeout_s(signal, os.environ))


def _uses_grpc(signal: Signal, environ: Mapping[str, str]) -> bool:
    names = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    chosen = next((environ[name] for name in names if environ.get(name)), "http/protobuf")
    return chosen.strip().lower() == "grpc"


def _timeout_s(signal: Signal, environ: Mapping[str, str]) -> float | None:
    """Our short time-out; None where the standard variables set one."""
    names = ("OTEL_EXPORTER_OTLP_TIMEOUT", f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT")
    return None if any(environ.get(name) for name in names) else EXPORT_TIMEOUT_S
