"""What the service knows of its replicas: what they speak with, and whether they can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from serve_app.engines.base import EngineInfo


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests can be served.

    Args:
        ready: At least one replica has spoken.
        reasons: What is missing, or what it rests on.
    """

    ready: bool
    reasons: Mapping[str, Any]


class Replicas(Protocol):
    """What the ingress knows of its replicas."""

    async def engine(self) -> EngineInfo:
        """Engine facts.

        Raises:
            NotReadyError: No replica has answered yet.
        """
        ...

    async def readiness(self) -> Readiness:
        """Whether a replica can speak right now; bounded in time."""
        ...
