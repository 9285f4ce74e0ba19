"""What one ingress is made of inside its Ray process."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle

from serve_app.access import Access, LiveKeys, open_keys, rules_of
from serve_app.capacity import CapacityWatch
from serve_app.config import Settings
from serve_app.core.fair import FairPool
from serve_app.engines.registry import checker, task_options
from serve_app.fleet_link import FleetLink
from serve_app.ingress.http import create_app
from serve_app.ingress.service import Service
from serve_app.jobs.handle import JobsHandle, jobs_port, reporter
from serve_app.outcomes import Outcomes
from serve_app.prepare import Ability
from serve_app.replicas import ReplicaHandle
from serve_app.speech import SpeechService
from serve_app.store_probe import job_store_probe, voice_store_probe
from serve_app.voice_desk import VoiceDesk
from serve_app.voice_roster import LibraryReplicas, open_roster
from serve_app.watching import report_schedule, telemetry_config
from telemetry import logs
from telemetry.cluster import ClusterView
from telemetry.otel import flush_spans, start_metrics
from telemetry.ray_cluster import RayCluster
from telemetry.speech_metrics import RequestMetrics
from telemetry.watch_actor import WatchLink, ensure_watch

logger = logging.getLogger(__name__)

_WATCH_PERIOD_S = 30.0


class IngressParts:
    """The parts behind the routes, wired to Ray.

    Args:
        synth: Handle of the replicas.
        settings: The application's settings.
        replicas: How many replicas there are; with their slots, the places of the pool.
        jobs: Handle of the runner of the jobs, if there is one.
    """

    def __init__(
        self,
        synth: DeploymentHandle[Any],
        settings: Settings,
        replicas: int,
        jobs: DeploymentHandle[Any] | None = None,
    ) -> None:
        self._keys = open_keys(settings.access)
        if isinstance(self._keys, LiveKeys):
            self._keys.start()
        self._access = Access(self._keys, rules_of(settings.access), settings.access.cors_origins)
        handle = ReplicaHandle(synth, full=lambda: self._capacity.capacity.full)
        self._telemetry = telemetry_config(settings)
        self._schedule = report_schedule(settings)
        nodes = RayCluster(self._telemetry)
        self._view = ClusterView(nodes)
        runner = None if jobs is None else JobsHandle(jobs)
        pool = FairPool(replicas * settings.engine.slots, self._demand_changed)
        self._demand = None if runner is None else reporter(pool, runner)
        self._capacity = CapacityWatch(
            # A view of its own: it asks for no samples, which pages show of nodes that fall silent.
            ClusterView(nodes).gather,
            pool,
            application=serve.get_replica_context().app_name,
            hold_s=settings.telemetry.thermal.hold_s,
        )
        logs.install()
        self._exported = start_metrics(
            f"ingress-{serve.get_replica_context().replica_id.unique_id}",
            {"ray.node_id": ray.get_runtime_context().get_node_id()},
        )
        self._fleet = FleetLink(
            self._view,
            exported=None if self._exported is None else RequestMetrics(self._exported.meter),
            exports=tuple if self._exported is None else self._exported.exports,
        )
        self._background = (
            asyncio.create_task(self._capacity.follow()),
            asyncio.create_task(self._watch_fleet()),
            asyncio.create_task(
                self._fleet.report(
                    serve.get_replica_context().replica_id.unique_id,
                    serve.get_replica_context().app_name,
                    pool.waits_s,
                )
            ),
        )
        speech = SpeechService(
            settings.speech,
            speak=handle.speak,
            pool=pool,
            admit=self._capacity.check,
            requests=self._fleet,
            outcomes=Outcomes(),
            ability=Ability(
                check=checker(settings.engine.kind),
                options=task_options(settings.engine.kind),
                aliases=settings.voice_aliases,
            ),
        )
        self._roster = open_roster(settings.voices)
        listed = handle if self._roster is None else LibraryReplicas(handle, self._roster)
        self._desk = None if self._roster is None else VoiceDesk(self._roster)
        probes = voice_store_probe(settings.voices), job_store_probe(settings.jobs)
        self._stores = tuple(probe for probe in probes if probe is not None)
        self._jobs = None if runner is None else jobs_port(settings, runner)
        self._service = Service(
            settings,
            speech,
            listed,
            self._fleet.page,
            self._desk,
            stores=self._stores,
            all_paused=self._capacity.all_paused,
            jobs=self._jobs,
            fleet=self._fleet,
        )

    def app(self) -> FastAPI:
        """The HTTP application."""
        return create_app(self._service, self._access)

    def drain(self) -> int:
        """Take no new requests; returns the streams that still run."""
        self._service.drain.draining = True
        return self._service.speech.outcomes.running

    async def close(self) -> None:
        """Stop following the nodes and send the last spans; bounded."""
        self.drain()
        if self._demand is not None:
            await self._demand.close()
        if self._jobs is not None:
            self._jobs.files.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if isinstance(self._keys, LiveKeys):
            await self._keys.close()
        for store in self._stores:
            store.close()
        self._view.close()
        if self._desk is not None:
            self._desk.close()
        if self._roster is not None:
            await self._roster.close()
        await asyncio.to_thread(flush_spans)
        if self._exported is not None:
            await asyncio.to_thread(self._exported.close)

    def _demand_changed(self) -> None:
        """Requests have or want other places than before: jobs leave them free."""
        if self._demand is not None:
            self._demand.changed()

    async def _watch_fleet(self) -> None:
        """See that the cluster has a watch, and keeps it; it outlives this process."""
        known = False
        while True:
            ensure = partial(ensure_watch, self._telemetry, self._schedule, known=known)
            try:
                self._fleet.watch = WatchLink(await asyncio.to_thread(ensure))
                known = True
            except RayError as error:
                logger.warning("the cluster has no watch: %s", error)
            await asyncio.sleep(_WATCH_PERIOD_S)
