"""A running service and a look at its processes, for the benchmarks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve_app import local
from serve_app.config import load_serve_file

ROOT = Path(__file__).resolve().parents[2]
_SAMPLE_S = 0.05


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(config: str) -> Iterator[str]:
    """The URL of a service started from a file in configs/."""
    file = load_serve_file(ROOT / "configs" / config)
    with local.running(
        file, port=free_port(), environment=local.ray_environment(), quiet=True
    ) as service:
        yield service.url


def pids_of(title: str) -> list[int]:
    """Processes whose command line contains *title*."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and title.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no resident memory")


class PeakMemory:
    """Samples a process' resident memory while a block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.idle_bytes = rss_bytes(pid)
        self.peak_bytes = self.idle_bytes

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, rss_bytes(self._pid))
