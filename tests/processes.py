"""Processes by title, and ports, for tests and benchmarks."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pids_of(title: str, starter: int | None = None) -> list[int]:
    """Processes whose command line contains *title*, which a process has started, or its children.

    Titles alone would not do: other clusters on this machine have processes of the same names.

    Args:
        title: What to look for.
        starter: Id of the process that has started them; this one by default.
    """
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and title.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return sorted(pid for pid in found if (starter or os.getpid()) in _ancestors(pid))


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no resident memory")


def _ancestors(pid: int) -> set[int]:
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
