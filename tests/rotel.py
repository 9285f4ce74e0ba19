"""A real collector, rotel, that takes OTLP and passes it on to a receiver of ours."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.otlp import OtlpReceiver
from tests.processes import free_port

_START_S = 20.0


@contextmanager
def collector(behind: OtlpReceiver) -> Iterator[dict[str, str]]:
    """Run rotel before *behind*; yields its endpoints by protocol."""
    spec = find_spec("rotel")
    assert spec is not None
    assert spec.origin is not None
    ports = {"grpc": free_port(), "http/protobuf": free_port()}
    protocol = "grpc" if behind.protocol == "grpc" else "http"
    process = subprocess.Popen(
        [
            str(Path(spec.origin).with_name("rotel-agent")),
            "start",
            f"--otlp-grpc-endpoint=127.0.0.1:{ports['grpc']}",
            f"--otlp-http-endpoint=127.0.0.1:{ports['http/protobuf']}",
            "--exporter=otlp",
            f"--otlp-exporter-endpoint={behind.endpoint}",
            f"--otlp-exporter-protocol={protocol}",
            "--batch-timeout=100ms",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for port in ports.values():
            _wait_for(port, process)
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "the collector did not start"
            assert time.monotonic() < deadline_s, "the collector does not listen"
            time.sleep(0.02)
        else:
            return
