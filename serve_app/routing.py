"""Which replica takes a segment: Ray Serve's router, told to look at every one of them.

Serve's own router draws two replicas at random. Where each speaks one segment at a time and all
but one are busy, most draws find both full and wait before they draw again, while a card stands
idle. Segments take seconds, so asking every replica's (cached) queue costs nothing beside that.
"""

from __future__ import annotations

import random

from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import (
    FIFOMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)


class EveryReplica(FIFOMixin, RequestRouter):  # type: ignore[misc] # Ray ships no types
    """The least loaded of all replicas, in the order in which segments were sent."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """All candidates as one rank, shuffled so that ties don't favour the first."""
        if not candidate_replicas:
            if pending_request is not None:  # an empty answer without this spins
                pending_request.routing_context.should_backoff = True
            return []
        return [random.sample(candidate_replicas, len(candidate_replicas))]


def router_config() -> RequestRouterConfig:
    """The router of the ``Synth`` deployment, with waits that are short beside a segment."""
    return RequestRouterConfig(
        request_router_class="serve_app.routing.EveryReplica",
        initial_backoff_s=0.005,
        backoff_multiplier=1.5,
        max_backoff_s=0.05,
    )
