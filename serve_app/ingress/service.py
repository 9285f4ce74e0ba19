"""What the routes stand on, so that they can be tested without Ray."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from serve_app.config import Settings
from serve_app.engines.base import EngineInfo
from serve_app.speech import SpeechService


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


@dataclass(frozen=True, slots=True)
class Service:
    """The parts behind the routes.

    Args:
        settings: The application's settings.
        speech: Turns orders into streams.
        replicas: Engine facts and readiness.
        metrics: Body of ``/get_metrics`` since a Unix time, or of the last minute.
    """

    settings: Settings
    speech: SpeechService
    replicas: Replicas
    metrics: Callable[[float | None], Awaitable[dict[str, Any]]]
