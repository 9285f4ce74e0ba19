"""Jobs over HTTP on a real Ray Serve: processes die, it restarts, the bytes stay the same."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ray import serve

from serve_app.app import build
from serve_app.engines.simulated_code import segments_heard
from serve_app.jobs.folder import Folder
from serve_app.jobs.store import JobStore
from tests.integration.conftest import Cluster
from tests.processes import pids_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

NAME = "jobs-http"
PARTS = ("Jobs", "Ingress", "Synth")
ARGS: dict[str, Any] = {
    "engine": {
        "kind": "simulated",
        "options": {"first_chunk_s": 0.2, "real_time_factor": 0.02, "slots": 1},
    },
    "cards": "none",
    "replicas": 2,
    "replica_cpus": 0.1,
    "access": {"keys": "off", "drain_timeout_s": 2},
}
TEXT = "\n\n".join(
    f"Paragraph number {n} of a book that nobody wants to lose is spoken here, slowly, and kept. "
    "What follows is more of the same, since one sentence alone would be over too soon."
    for n in range(16)
)
ORDER = {"input": TEXT, "format": "flac", "title": "Kept"}


class Service:
    """The application with a store of its own, which can be taken down and brought up again."""

    def __init__(self, url: str, store: Path) -> None:
        self.store = JobStore(Folder(str(store)), lambda: 0)
        self.http = httpx.AsyncClient(base_url=f"{url}/{NAME}", timeout=60)
        # Without a cache, so that every job is really spoken.
        jobs = {"store": str(store), "cache_gib": 0}
        self._args = {**ARGS, "jobs": jobs}

    async def up(self) -> None:
        application = build(self._args)
        await asyncio.to_thread(serve.run, application, name=NAME, route_prefix=f"/{NAME}")

    async def down(self) -> None:
        await asyncio.to_thread(serve.delete, NAME)

    async def submit(self) -> str:
        answer = await self.http.post("/v1/jobs", json=ORDER)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def until_kept(self, job: str, takes: int) -> None:
        async with asyncio.timeout(60):
            while len(self.store.takes(job)) < takes:
                await asyncio.sleep(0.05)

    async def followed(self, job: str) -> list[str]:
        """Kinds of events up to the last one; who is cut off goes on where it was."""
        path, last = f"/v1/jobs/{job}/events", ""
        kinds: list[str] = []
        async with asyncio.timeout(120):
            while kinds[-1:] != ["end"]:
                headers = {"last-event-id": last} if last else {}
                with suppress(httpx.TransportError):
                    async with self.http.stream("GET", path, headers=headers) as answer:
                        async for line in answer.aiter_lines():
                            name, _, value = line.partition(": ")
                            last = value if name == "id" else last
                            kinds += [value] if name == "event" else []
                await asyncio.sleep(0.1)
        return kinds

    async def file(self, job: str) -> bytes:
        answer = await self.http.get(f"/v1/jobs/{job}/audio")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-length"] == str(len(answer.content))
        return answer.content


@pytest.fixture
async def service(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(cluster.url, tmp_path)
    await made.up()
    try:
        yield made
    finally:
        await made.http.aclose()
        await made.down()


async def test_killed_or_restarted_the_finished_bytes_are_the_undisturbed_ones(
    service: Service,
) -> None:
    job = await service.submit()
    listening = asyncio.create_task(service.followed(job))
    await service.until_kept(job, 5)
    at_work = {name: pids_of(f"ServeReplica:{NAME}:{name}") for name in PARTS}
    assert all(at_work.values())
    for pid in chain.from_iterable(at_work.values()):
        os.kill(pid, signal.SIGKILL)
    kept = set(service.store.takes(job))
    kinds = await listening
    assert kinds.count("snapshot") >= 2
    assert kinds[-1] == "end"
    takes = service.store.takes(job)
    assert kept <= set(takes)
    assert [name.number for name in takes] == list(range(len(takes)))
    assert {name.epoch for name in takes} == {1, 2}
    disturbed = await service.file(job)

    undisturbed = await service.submit()
    early = (await service.http.get(f"/v1/jobs/{undisturbed}/audio?format=pcm")).content
    assert (await service.followed(undisturbed))[-1] == "end"
    assert await service.file(undisturbed) == disturbed
    whole = await service.http.get(f"/v1/jobs/{job}/audio?format=pcm")
    assert whole.content == early
    heard = segments_heard(np.frombuffer(early, "<i2"))
    assert [part.tag for part in heard if part.complete] == list(range(len(takes)))

    restarted = await service.submit()
    await service.until_kept(restarted, 5)
    await service.down()
    kept = set(service.store.takes(restarted))
    await service.up()
    assert (await service.followed(restarted))[-1] == "end"
    assert kept <= set(service.store.takes(restarted))
    assert await service.file(restarted) == disturbed
    view: dict[str, Any] = (await service.http.get(f"/v1/jobs/{restarted}")).json()
    assert (view["status"], view["segments"]["failed"]) == ("complete", 0)
    listed = (await service.http.get("/v1/jobs")).json()["data"]
    assert {it["id"] for it in listed} == {job, undisturbed, restarted}
