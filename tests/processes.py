"""Processes by title, and ports, for tests and benchmarks."""

from __future__ import annotations

import socket
from pathlib import Path


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pids_of(title: str) -> list[int]:
    """Processes whose command line contains *title*."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and title.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return sorted(found)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no resident memory")


def ancestors_of(pid: int) -> set[int]:
    """Ids of a process' parent, its parent, and so on; as far as they still run."""
    found: set[int] = set()
    while pid > 1:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return found
        pid = int(stat.rpartition(")")[2].split()[1])
        found.add(pid)
    return found
