"""Everything killed at once in mid-job, Ray itself too, and a new start on the same store.

``python -m tests.bench.jobs_ray killed-ray``. As a program, ``python -m tests.bench.jobs_killed
STORE``, this is the service that is killed: with a Ray of its own, until its standard input ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from serve_app.jobs.folder import Folder
from serve_app.jobs.names import takes_folder
from serve_app.jobs.store import JobStore
from tests.bench.service import serving_args
from tests.long_text import minutes_of_text
from tests.processes import pids_of

_ROOT = Path(__file__).resolve().parents[2]
_TITLES = ("gcs_server", "raylet", "ServeReplica:vibevoice:Jobs", "ServeReplica:vibevoice:Ingress")
_MINUTES = 10
_SHARE = 0.4
_LIMIT_S = 180.0


def killed_ray() -> list[str]:
    """Runner, ingress, replicas, raylet and GCS killed by SIGKILL in mid-job; then a new start."""
    with TemporaryDirectory() as place:
        store = Path(place) / "jobs"
        with _service(store) as service:
            job = service.submit()
            kept = service.until_kept(job, _SHARE)
            killed = service.kill()
        before = _takes(store, job)
        with _service(store) as service:
            begun_s = time.monotonic()
            view = service.complete(job)
            wall_s = time.monotonic() - begun_s
            disturbed = service.file(job)
            other = service.submit()
            service.complete(other)
            same = service.file(other) == disturbed
        after = _takes(store, job)
    spoken = [name for name in after if name not in before]
    untouched = all(after.get(name) == written for name, written in before.items())
    return [
        f"{killed} processes killed with {kept} of {view['segments']['total']} segments kept, "
        f"among them {', '.join(_TITLES)}",
        f"status after the new start: {view['status']}, {wall_s:.1f} s from its first answer on",
        f"takes of before untouched: {untouched} ({len(before)}); spoken since: {len(spoken)}; "
        f"takes in all: {len(after)}",
        f"finished file ({len(disturbed)} bytes) is that of an undisturbed job: {same}",
    ]


def _takes(store: Path, job: str) -> dict[str, int]:
    """When each take was written, by its name."""
    folder = store / takes_folder(job)
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.take")}


@dataclass(frozen=True, slots=True)
class _Service:
    """A service in a process of its own.

    Args:
        process: It, and the parent of its Ray.
        http: Its client.
        store: Its jobs.
    """

    process: subprocess.Popen[str]
    http: httpx.Client
    store: JobStore

    def submit(self) -> str:
        text = minutes_of_text(_MINUTES)
        answer = self.http.post("/v1/jobs", json={"input": text, "format": "flac"})
        answer.raise_for_status()
        return str(answer.json()["id"])

    def view(self, job: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1/jobs/{job}")
        answer.raise_for_status()
        view: dict[str, Any] = answer.json()
        return view

    def until_kept(self, job: str, share: float) -> int:
        """Wait for that share of the segments; how many there are."""
        wanted = share * self.view(job)["segments"]["total"]
        for _ in _looks():
            if len(takes := self.store.takes(job)) >= wanted:
                return len(takes)
        raise AssertionError

    def complete(self, job: str) -> dict[str, Any]:
        for _ in _looks():
            view = self.view(job)
            if view["status"] == "complete":
                return view
        raise AssertionError

    def file(self, job: str) -> bytes:
        for _ in _looks():
            answer = self.http.get(f"/v1/jobs/{job}/audio")
            if answer.status_code == 200:
                return answer.content
        raise AssertionError

    def kill(self) -> int:
        """SIGKILL for it and all that it has started, at once; how many those were."""
        pids = pids_of("", self.process.pid)
        missing = [title for title in _TITLES if not pids_of(title, self.process.pid)]
        if missing:
            raise RuntimeError(f"not among the processes: {missing}")
        for pid in (self.process.pid, *pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for _ in _looks():
            if not any(map(_runs, pids)):
                return 1 + len(pids)
        raise AssertionError


@contextmanager
def _service(store: Path) -> Iterator[_Service]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.jobs_killed", str(store)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        lines = (line.strip() for line in process.stdout)
        url = next(line for line in lines if line.startswith("http://"))
        with httpx.Client(base_url=url, timeout=60) as http:
            yield _Service(process, http, JobStore(Folder(str(store)), lambda: 0))
    finally:
        process.stdin.close()
        process.wait(_LIMIT_S)
        process.stdout.close()


def _looks() -> Iterator[None]:
    """Look again and again, for a bounded time."""
    until_s = time.monotonic() + _LIMIT_S
    while time.monotonic() < until_s:
        yield
        time.sleep(0.05)
    raise TimeoutError(f"nothing for {_LIMIT_S:.0f} s")


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def main() -> int:
    """Serve, until standard input ends."""
    args = {
        "engine": {
            "kind": "simulated",
            "options": {"first_chunk_s": 0.3, "real_time_factor": 0.02, "slots": 1},
        },
        "cards": "none",
        "replicas": 2,
        "replica_cpus": 0.1,
        "access": {"keys": "off", "drain_timeout_s": 2},
        "jobs": {"store": sys.argv[1], "cache_gib": 0},
    }
    with serving_args(args) as url:
        print(url, flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
