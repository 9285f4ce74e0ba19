"""What one ingress is made of inside its Ray process."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from serve_app.config import Settings
from serve_app.core.fair import FairPool
from serve_app.engines.registry import checker
from serve_app.ingress.http import create_app
from serve_app.ingress.service import Service
from serve_app.outcomes import Outcomes
from serve_app.rayreplica import telemetry_config
from serve_app.replicas import ReplicaHandle
from serve_app.speech import SpeechService
from telemetry.actor import RayCluster
from telemetry.body import to_json
from telemetry.cluster import ClusterView
from telemetry.otel import flush_spans


class IngressParts:
    """The parts behind the routes, wired to Ray.

    Args:
        synth: Handle of the replicas.
        settings: The application's settings.
        replicas: How many replicas there are; with their slots, the places of the pool.
    """

    def __init__(self, synth: DeploymentHandle[Any], settings: Settings, replicas: int) -> None:
        handle = ReplicaHandle(synth)
        self._view = ClusterView(RayCluster(telemetry_config(settings)))
        speech = SpeechService(
            settings.speech,
            speak=handle.speak,
            pool=FairPool(replicas * settings.engine.slots),
            outcomes=Outcomes(),
            voice_aliases=settings.voice_aliases,
            check=checker(settings.engine.kind),
        )
        self._service = Service(settings, speech, handle, self._metrics)

    def app(self) -> FastAPI:
        """The HTTP application."""
        return create_app(self._service)

    async def close(self) -> None:
        """Stop following the nodes and send the last spans; bounded."""
        self._view.close()
        await asyncio.to_thread(flush_spans)

    async def _metrics(self, since: float | None) -> dict[str, Any]:
        snapshot = await self._view.gather(since)
        return dict(to_json(snapshot))
