"""The replica: a Ray Serve deployment over an engine, pinned to one card.

Thin on purpose: Serve pickles this class by value, so what it needs is imported inside its
methods, from modules that the replica's own process loads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ray import serve

if TYPE_CHECKING:
    from serve_app.engines.base import SpeakTask
    from serve_app.permit import TakeBatch
    from serve_app.replica import ReplicaInfo


@serve.deployment(name="Synth")
class Synth:
    """One engine on one card; see :class:`serve_app.replica.Speaker`.

    Args:
        args: The application's settings, as plain data.
    """

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc] # Serve awaits it
        from serve_app.config import parse_settings
        from serve_app.rayreplica import start_replica

        self._replica = await start_replica(parse_settings(args))

    async def speak(
        self,
        task: SpeakTask,
        avoid_until_s: Mapping[str, float] | None = None,  # noqa: ARG002 - read by the router
    ) -> AsyncGenerator[TakeBatch, None]:
        """Speak one segment; the first item says that a slot was found, or that none is given.

        Args:
            task: The segment.
            avoid_until_s: Replicas that should not have it; see :mod:`serve_app.routing`.
        """
        async with aclosing(self._replica.speak(task)) as batches:
            async for batch in batches:
                yield batch

    async def describe(self) -> ReplicaInfo:
        """Engine, card and slots of this replica, which has spoken a test sentence."""
        return self._replica.info

    def record_routing_stats(self) -> dict[str, str]:
        """What the router must know of this replica; see :mod:`serve_app.routing`."""
        return {"guard_state": self._replica.speaker.permit.state}

    async def check_health(self) -> None:
        """Raise if the engine is beyond repair; Serve then replaces this replica."""
        await self._replica.speaker.health()

    async def __del__(self) -> None:
        """Stop the engine's threads; Serve awaits this at shutdown."""
        await self._replica.close()
