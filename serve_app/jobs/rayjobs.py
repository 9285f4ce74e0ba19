"""What the runner of the jobs is made of inside its Ray process."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app.config import Settings
from serve_app.core.audio import BYTES_PER_S
from serve_app.engines.registry import checker, task_options
from serve_app.jobs.bounds import ears, job_rules
from serve_app.jobs.cache import SegmentCache
from serve_app.jobs.files import finish_in_child
from serve_app.jobs.folder import Folder
from serve_app.jobs.judge import Judge
from serve_app.jobs.runner import JobRunner
from serve_app.jobs.runs import stopped
from serve_app.jobs.settings import JobSettings
from serve_app.jobs.windows import TAKEN_EVERY, Windows
from serve_app.prepare import Ability
from serve_app.replicas import ReplicaHandle
from serve_app.voice_roster import LibraryReplicas, open_roster
from telemetry import logs
from telemetry.otel import start_metrics
from telemetry.speech_metrics import CacheMetrics

logger = logging.getLogger(__name__)

_COUNT_S: Final = 5.0
_READY_S: Final = 3.0
_BLOCK_BYTES: Final = 5 * BYTES_PER_S
"""Of one item of a stream over a handle."""
_BLOCKS_AHEAD: Final = 2 * TAKEN_EVERY


class RunningJobs:
    """A runner over the replicas of a Serve application.

    Args:
        synth: Handle of the replicas that speak.
        settings: The application's settings.
        jobs: Those of the jobs.
        replicas: How many replicas there should be.

    Attributes:
        runner: What owns the jobs.
        windows: Of the signals that are being read.
    """

    def __init__(
        self, synth: DeploymentHandle[Any], settings: Settings, jobs: JobSettings, replicas: int
    ) -> None:
        handle = ReplicaHandle(synth)
        self._roster = open_roster(settings.voices)
        listed = handle if self._roster is None else LibraryReplicas(handle, self._roster)
        folder = Folder(jobs.store, jobs.store_options)
        logs.install()
        self._exported = start_metrics(
            f"jobs-{uuid.uuid4().hex}",
            {"ray.node_id": ray.get_runtime_context().get_node_id()},
        )
        self._metrics = None if self._exported is None else CacheMetrics(self._exported.meter)
        cache_bytes = int(jobs.cache_gib * 2**30)
        self._cache = SegmentCache(folder, cache_bytes, self._looked_up) if cache_bytes else None
        self._synth, self._slots = synth.deployment_name, settings.engine.slots
        self._counting: asyncio.Task[None] | None = None
        self.windows = Windows(_BLOCKS_AHEAD)
        self._ears = None if jobs.asr is None else ears(jobs.asr)
        self.runner = JobRunner(
            folder,
            speak=handle.speak,
            engine=listed.engine,
            slots=replicas * settings.engine.slots,
            rules=job_rules(jobs, settings.speech),
            share=jobs.share(),
            cache=self._cache,
            ability=Ability(
                check=checker(settings.engine.kind),
                options=task_options(settings.engine.kind),
                aliases=settings.voice_aliases,
            ),
            finish=finish_in_child,
            lease_ttl_s=jobs.lease_ttl_s,
            judge=None if self._ears is None else Judge(self._ears),
        )

    async def start(self) -> None:
        """Begin to own the store and to follow how many replicas there are.

        Returns once it owns it, or after a few seconds: while an old runner is being replaced,
        the new one has to be up before the old one is told to go.
        """
        await self.runner.start()
        self._counting = asyncio.create_task(self._count())
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                await self.runner.ready()

    async def close(self) -> None:
        """Stop all work."""
        await stopped(self._counting)
        await self.runner.close()
        if self._ears is not None:
            await self._ears.close()
        if self._roster is not None:
            await self._roster.close()
        if self._exported is not None:
            await asyncio.to_thread(self._exported.close)

    async def audio(
        self, job_id: str, edition: int | None, *, follow: bool, reader: str
    ) -> AsyncGenerator[bytes, None]:
        """A job's signal in blocks that a handle carries well, no faster than it is read."""
        heard = self.runner.jobs.audio(job_id, edition=edition, follow=follow)
        with self.windows.open(reader) as window:
            async with aclosing(heard) as blocks:
                async for block in blocks:
                    for start in range(0, len(block), _BLOCK_BYTES):
                        await window.send()
                        yield block[start : start + _BLOCK_BYTES]

    def _looked_up(self, hit: bool) -> None:
        if self._metrics is not None:
            self._metrics.looked_up(hit)

    async def _count(self) -> None:
        """Jobs may use the replicas that run, not those that should."""
        while True:
            await asyncio.sleep(_COUNT_S)
            try:
                running = await asyncio.to_thread(_running_replicas, self._synth)
            except Exception:
                logger.warning("the replicas can't be counted", exc_info=True)
                continue
            if running:
                self.runner.set_slots(running * self._slots)


def _running_replicas(deployment: str) -> int:
    application = serve.get_replica_context().app_name
    status = serve.status().applications[application].deployments[deployment]
    return int(status.replica_states.get("RUNNING", 0))
