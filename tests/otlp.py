"""A real OTLP receiver in this process, over HTTP or gRPC, that keeps what arrives.

    with OtlpReceiver() as receiver:
        ...  # start what exports, with receiver.environment() in its environment
        receiver.wait_for(lambda: "segment" in receiver.span_names(), timeout_s=10)

It listens on a free port of 127.0.0.1. :class:`BlackHole` is its opposite: a collector that
accepts connections and never answers.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

from telemetry.otel import Metrics

Value = str | bool | int | float | list[Any] | None


def flush(metrics: Metrics, timeout_s: float) -> None:
    """Export a process' metrics now; the service itself leaves that to the interval."""
    metrics._provider.force_flush(timeout_s * 1000)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate for 127.0.0.1, which is its own authority, and its key, as PEM files."""

    certificate: Path
    key: Path


def make_tls(folder: Path) -> TlsFiles:
    """A fresh certificate in *folder*, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(folder / "certificate.pem", folder / "key.pem")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span; ids are hex digits, ``parent_id`` is "" at the root, times are ns."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: Mapping[str, Value]
    resource: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class ReceivedPoint:
    """A metric's data point.

    Args:
        value: A number; a histogram's sum.
        count, bounds, counts: Of a histogram, otherwise 0 and empty.
        exemplar_traces: Trace ids of its exemplars.
    """

    attributes: Mapping[str, Value]
    value: float
    count: int = 0
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    exemplar_traces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceivedMetric:
    """One metric of one export; ``kind`` is ``gauge``, ``sum`` or ``histogram``."""

    name: str
    unit: str
    description: str
    kind: str
    points: tuple[ReceivedPoint, ...]
    resource: Mapping[str, Value]


@dataclass
class _Store:
    """What has arrived; shared by the server's threads."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    spans: list[ReceivedSpan] = field(default_factory=list)
    metrics: list[ReceivedMetric] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    refuses: bool = False

    def asked(self, headers: Mapping[str, str]) -> bool:
        """Note a request; whether it is taken."""
        with self.changed:
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self.changed.notify_all()
            return not self.refuses

    def add_spans(self, request: Any) -> Any:
        spans = [
            _span(span, _attributes(block.resource.attributes))
            for block in request.resource_spans
            for scope in block.scope_spans
            for span in scope.spans
        ]
        with self.changed:
            self.spans.extend(spans)
            self.changed.notify_all()
        return trace_service.ExportTraceServiceResponse()

    def add_metrics(self, request: Any) -> Any:
        metrics = [
            _metric(metric, _attributes(block.resource.attributes))
            for block in request.resource_metrics
            for scope in block.scope_metrics
            for metric in scope.metrics
        ]
        with self.changed:
            self.metrics.extend(metrics)
            self.changed.notify_all()
        return metrics_service.ExportMetricsServiceResponse()


class OtlpReceiver:
    """Receives spans and metrics from ``with`` to its end.

    Args:
        protocol: As in ``OTEL_EXPORTER_OTLP_PROTOCOL``.
        tls: Serve with this certificate and its key.
    """

    def __init__(
        self,
        protocol: Literal["http/protobuf", "grpc"] = "http/protobuf",
        tls: TlsFiles | None = None,
    ) -> None:
        self.protocol = protocol
        self.endpoint = ""
        self._tls = tls
        self._store = _Store()
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        start = _serve_grpc if self.protocol == "grpc" else _serve_http
        port, self._stop = start(self._store, self._tls)
        self.endpoint = f"{'http' if self._tls is None else 'https'}://127.0.0.1:{port}"
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop()

    def environment(self) -> dict[str, str]:
        """The standard variables that send a process' telemetry here, soon after it arises."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def refuse(self, refuses: bool) -> None:
        """Answer from now on with an error that no retry helps against, or take everything."""
        self._store.refuses = refuses

    def headers(self) -> list[Mapping[str, str]]:
        """Headers of every request so far, with names in lower case."""
        with self._store.changed:
            return list(self._store.headers)

    def spans(self) -> list[ReceivedSpan]:
        """Every span so far."""
        with self._store.changed:
            return list(self._store.spans)

    def span_names(self) -> set[str]:
        """Names of the spans so far."""
        return {span.name for span in self.spans()}

    def metrics(self) -> list[ReceivedMetric]:
        """Every metric of every export so far; the last one of a name is the newest."""
        with self._store.changed:
            return list(self._store.metrics)

    def newest(self, name: str) -> list[ReceivedPoint]:
        """The points of a metric's last export by each resource."""
        last = {str(sorted(m.resource.items())): m for m in self.metrics() if m.name == name}
        return [point for metric in last.values() for point in metric.points]

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until *predicate* holds; it is asked again whenever something arrives.

        Returns:
            Whether it held within *timeout_s*.
        """
        with self._store.changed:
            return self._store.changed.wait_for(predicate, timeout_s)


class BlackHole:
    """A collector that takes connections and never answers; lets go at the end of ``with``."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._hold, daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for held in self._held:
            held.close()

    def wait_for_victim(self, timeout_s: float) -> bool:
        """Wait until someone is held."""
        return self._connected.wait(timeout_s)

    def _hold(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._held.append(connection)
            self._connected.set()


def _serve_http(store: _Store, tls: TlsFiles | None) -> tuple[int, Callable[[], None]]:
    takes: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "/v1/traces": (trace_service.ExportTraceServiceRequest, store.add_spans),
        "/v1/metrics": (metrics_service.ExportMetricsServiceRequest, store.add_metrics),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if not store.asked(dict(self.headers)):
                self.send_error(400)
                return
            if self.path not in takes:
                self.send_error(404)
                return
            message, add = takes[self.path]
            answer = add(message.FromString(body)).SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_address[1], stop


def _serve_grpc(store: _Store, tls: TlsFiles | None) -> tuple[int, Callable[[], None]]:
    class Traces(trace_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            _admit(store, context)
            return store.add_spans(request)

    class Metrics(metrics_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
            _admit(store, context)
            return store.add_metrics(request)

    server = grpc.server(ThreadPoolExecutor(4))
    add_traces: Any = trace_grpc.add_TraceServiceServicer_to_server  # made without types
    add_traces(Traces(), server)
    add_metrics: Any = metrics_grpc.add_MetricsServiceServicer_to_server
    add_metrics(Metrics(), server)
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    return port, lambda: server.stop(grace=None).wait()


def _admit(store: _Store, context: Any) -> None:
    if not store.asked(dict(context.invocation_metadata())):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")


def _value(value: Any) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


def _attributes(pairs: Iterable[Any]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _span(span: Any, resource: Mapping[str, Value]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        failed=span.status.code == 2,
        attributes=_attributes(span.attributes),
        resource=resource,
    )


def _metric(metric: Any, resource: Mapping[str, Value]) -> ReceivedMetric:
    kind = metric.WhichOneof("data")
    point = _histogram_point if kind == "histogram" else _number_point
    points = tuple(point(item) for item in getattr(metric, kind).data_points)
    return ReceivedMetric(metric.name, metric.unit, metric.description, kind, points, resource)


def _number_point(point: Any) -> ReceivedPoint:
    return ReceivedPoint(
        attributes=_attributes(point.attributes),
        value=getattr(point, point.WhichOneof("value")),
        exemplar_traces=tuple(e.trace_id.hex() for e in point.exemplars),
    )


def _histogram_point(point: Any) -> ReceivedPoint:
    return ReceivedPoint(
        attributes=_attributes(point.attributes),
        value=point.sum,
        count=point.count,
        bounds=tuple(point.explicit_bounds),
        counts=tuple(point.bucket_counts),
        exemplar_traces=tuple(e.trace_id.hex() for e in point.exemplars),
    )
