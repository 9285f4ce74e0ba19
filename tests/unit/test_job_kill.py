"""SIGKILL at any moment: what was kept is never spoken again, and the audio is the same bytes."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from serve_app.core.job_status import Status
from serve_app.jobs.folder import Folder
from serve_app.jobs.order import JobOrder
from serve_app.jobs.store import JobStore
from tests.unit.job_child import CARD, KEY
from tests.unit.job_scene import TEXT, scene

ROOT = Path(__file__).resolve().parents[2]
JOB = JobOrder(TEXT, idempotency_key=KEY).new_id()
KILLS = 4


def child(store: Path, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.unit.job_child", str(store), str(log)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill_child(store: Path, log: Path, takes: int, after_s: float) -> None:
    """Kill a runner some moment after the store has so many takes."""
    process = child(store, log)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    deadline_s = time.monotonic() + 60
    while len(kept(store)) < takes:
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    time.sleep(after_s)  # any moment will do: that is the point
    process.kill()
    process.communicate(timeout=20)


def kept(store: Path) -> set[int]:
    return {name.number for name in JobStore(Folder(str(store)), lambda: 0).takes(JOB)}


async def test_killed_again_and_again_it_loses_nothing(tmp_path: Path) -> None:
    moments = random.Random(7)
    store, log = tmp_path / "store", tmp_path / "log"
    log.touch()
    progress = []
    for _ in range(KILLS):
        before, told = kept(store), len(log.read_text())
        wanted = len(before) + moments.randint(0, 4)
        kill_child(store, log, wanted, moments.uniform(0.0, 0.06))
        # A line may be cut off by the kill; the number before it is whole.
        spoken = {int(line) for line in log.read_text()[told:].split("\n")[:-1]}
        assert not before & spoken
        progress.append(len(kept(store)))
    assert progress == sorted(progress)
    assert progress[-1] > 0
    before, told = kept(store), len(log.read_text())
    process = child(store, log)
    assert process.communicate(timeout=60)[0] == "ready\ndone\n"
    assert not before & {int(line) for line in log.read_text()[told:].split()}
    async with scene(store) as at:
        view = await at.runner.jobs.get(JOB)
        assert (view.status, view.done) == (Status.COMPLETE, view.segments)
        disturbed = await at.heard(JOB)
        assert at.cards.spoken == []
        assert not list(store.glob("**/*.tmp"))
    async with scene(tmp_path / "undisturbed", [CARD] * 3) as at:
        job = await at.submit()
        await at.done(job)
        assert await at.heard(job) == disturbed
