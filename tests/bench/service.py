"""A running service and a look at its processes, for the benchmarks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import yaml

from serve_app import local
from serve_app.config import load_serve_file
from serve_app.transport import Transport
from tests.processes import free_port, rss_bytes

ROOT = Path(__file__).resolve().parents[2]
_SAMPLE_S = 0.05


@contextmanager
def serving(config: str, transport: Transport = "proxy", **changes: Any) -> Iterator[str]:
    """The URL of a service started from a file in configs/, with some settings changed."""
    file = load_serve_file(ROOT / "configs" / config).with_args(**changes)
    with local.running(
        file,
        port=free_port(),
        environment=local.ray_environment(),
        quiet=True,
        transport=transport,
    ) as service:
        yield service.url


@contextmanager
def serving_args(
    args: dict[str, Any],
    environment: Mapping[str, str] | None = None,
    transport: Transport = "proxy",
) -> Iterator[str]:
    """The URL of a service with these settings, and Ray's variables changed so."""
    application = {
        "name": "vibevoice",
        "route_prefix": "/",
        "import_path": "serve_app.app:build",
        "args": args,
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump({"applications": [application]}))
        with local.running(
            load_serve_file(path),
            port=free_port(),
            environment={**local.ray_environment(), **(environment or {})},
            quiet=True,
            transport=transport,
        ) as service:
            yield service.url


class PeakMemory:
    """Samples a process' resident memory while a block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.idle_bytes = rss_bytes(pid)
        self.peak_bytes = self.idle_bytes

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, rss_bytes(self._pid))
