"""Jobs on a real Ray Serve: the runner and a card are killed, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import serve

from serve_app.core.job_status import Status
from serve_app.engines.simulated_code import segments_heard
from serve_app.errors import NotReadyError
from serve_app.jobs.deployment import Jobs
from serve_app.jobs.folder import Folder
from serve_app.jobs.handle import JobsHandle
from serve_app.jobs.order import JobOrder
from serve_app.jobs.store import JobStore
from serve_app.jobs.views import JobView
from serve_app.routing import router_config
from serve_app.synth import Synth
from tests.integration.conftest import Cluster
from tests.processes import pids_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

NAME = "jobs-test"
ARGS: dict[str, Any] = {
    "engine": {
        "kind": "simulated",
        "options": {"first_chunk_s": 0.2, "real_time_factor": 0.02, "slots": 1},
    },
    "cards": "none",
    "replicas": 2,
    "replica_cpus": 0.1,
}
TEXT = "\n\n".join(
    f"Paragraph number {n} of a book that nobody wants to lose is spoken here, slowly, and kept. "
    "What follows is more of the same, since one sentence alone would be over too soon."
    for n in range(24)
)


@pytest.fixture
async def jobs(cluster: Cluster, tmp_path: Path) -> AsyncIterator[JobsHandle]:
    actor = {"num_cpus": 0.1, "num_gpus": 0}
    synth = Synth.options(
        num_replicas=2,
        max_ongoing_requests=1,
        request_router_config=router_config(),
        ray_actor_options=actor,
    ).bind(ARGS)
    runner = Jobs.options(ray_actor_options=actor).bind(synth, ARGS, {"store": str(tmp_path)}, 2)
    handle = await asyncio.to_thread(serve.run, runner, name=NAME, route_prefix=None)
    try:
        yield JobsHandle(handle)
    finally:
        await asyncio.to_thread(serve.delete, NAME)


async def until(jobs: JobsHandle, job_id: str, status: Status) -> JobView:
    """The job, once it is as wanted; the runner may be away meanwhile."""
    async with asyncio.timeout(90):
        while True:
            try:
                view = await jobs.get(job_id)
            except NotReadyError:
                view = None
            if view is not None and view.status is status:
                return view
            await asyncio.sleep(0.1)


async def test_the_runner_and_a_card_die_and_nothing_is_lost(
    jobs: JobsHandle, tmp_path: Path
) -> None:
    store = JobStore(Folder(str(tmp_path)), lambda: 0)
    job = (await jobs.submit(JobOrder(TEXT, idempotency_key="once"))).id
    async with asyncio.timeout(60):
        while len(store.takes(job)) < 5:
            await asyncio.sleep(0.05)
    (runner,) = pids_of(f"ServeReplica:{NAME}:Jobs")
    os.kill(runner, signal.SIGKILL)
    os.kill(pids_of(f"ServeReplica:{NAME}:Synth")[0], signal.SIGKILL)
    kept = set(store.takes(job))
    view = await until(jobs, job, Status.COMPLETE)
    assert (view.done, view.failed) == (view.segments, 0)
    takes = store.takes(job)
    assert kept <= set(takes)
    assert [name.number for name in takes] == list(range(view.segments))
    assert {name.epoch for name in takes} == {1, 2}
    assert (await jobs.submit(JobOrder(TEXT, idempotency_key="once"))).id == job
    audio = b"".join([block async for block in jobs.audio(job)])
    heard = segments_heard(np.frombuffer(audio, "<i2"))
    assert [part.tag for part in heard if part.complete] == list(range(view.segments))
    await jobs.forget(job)
    assert await jobs.list() == ()
