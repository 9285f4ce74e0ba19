"""Which replica takes a segment: Ray Serve's router, told to look at every one of them.

Serve's own router draws two replicas at random. Where each speaks one segment at a time and all
but one are busy, most draws find both full and wait before they draw again, while a card stands
idle. Segments take seconds, so asking every replica's (cached) queue costs nothing beside that.

What a replica tells of its card comes here through Serve's controller and is seconds old. A card
that was paused meanwhile refuses at once, is idle for it, and would draw every further segment.
A sick card that fails at once does the same. So a call of ``speak`` names, behind its task, the
replicas that refused or failed lately, each with the monotonic time up to which it comes last: a
call that waits for the busy others may still go to it later.
"""

from __future__ import annotations

import random
import time

from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import (
    FIFOMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

GUARD_STATE = "guard_state"
"""Key of a replica's routing statistics: ``open``, ``eased`` or ``paused``."""

# The replica itself refuses within half a second; this only spares the detours.
_STATS_PERIOD_S = 2.0


class EveryReplica(FIFOMixin, RequestRouter):  # type: ignore[misc] # Ray ships no types
    """The least loaded of all replicas, in the order in which segments were sent."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Candidates by what their cards may take, shuffled so that ties don't favour the first."""
        if pending_request is not None:
            # Without this the router asks again and again, without a pause, until one is free.
            pending_request.routing_context.should_backoff = True
        if not candidate_replicas:
            return []
        avoided = _avoided(pending_request)
        ranks = [
            [
                replica
                for replica in candidate_replicas
                if _guard_state(replica) == state and replica.replica_id.unique_id not in avoided
            ]
            for state in ("open", "eased")
        ]
        # Where all are paused or avoided one of them must be named: an empty answer hangs the
        # request. A paused replica itself refuses, and whoever sent it tries again.
        found = [rank for rank in ranks if rank] or [candidate_replicas]
        return [random.sample(rank, len(rank)) for rank in found]


def _guard_state(replica: RunningReplica) -> str:
    return str((replica.routing_stats or {}).get(GUARD_STATE, "open"))


def _avoided(pending_request: PendingRequest | None) -> frozenset[str]:
    """The replicas that a call of ``Synth.speak`` should not be sent to now."""
    if pending_request is None or len(pending_request.args) < 2:
        return frozenset()
    now_s = time.monotonic()
    until_s = pending_request.args[1].items()
    return frozenset(replica for replica, end_s in until_s if now_s < end_s)


def router_config() -> RequestRouterConfig:
    """The router of the ``Synth`` deployment, with waits that are short beside a segment."""
    return RequestRouterConfig(
        request_router_class="serve_app.routing.EveryReplica",
        request_routing_stats_period_s=_STATS_PERIOD_S,
        request_routing_stats_timeout_s=5.0,
        initial_backoff_s=0.005,
        backoff_multiplier=1.5,
        max_backoff_s=0.05,
    )
