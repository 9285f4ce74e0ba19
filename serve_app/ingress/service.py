"""What the routes stand on, so that they can be tested without Ray."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from serve_app.config import Settings
from serve_app.readiness import Replicas
from serve_app.speech import SpeechService

if TYPE_CHECKING:
    from serve_app.ingress.routes_metrics import Fleet
    from serve_app.jobs.port import JobsPort
    from serve_app.voice_desk import VoiceDesk


class Store(Protocol):
    """Something that has to be writable."""

    async def problem(self) -> str | None:
        """Why it can't be written to, or None; bounded in time."""
        ...


class Drain:
    """Whether this process still takes requests; set once, by its end."""

    def __init__(self) -> None:
        self.draining = False


@dataclass(frozen=True, slots=True)
class Service:
    """The parts behind the routes.

    Args:
        settings: The application's settings.
        speech: Turns orders into streams.
        replicas: Engine facts and readiness.
        metrics: Body of ``/get_metrics`` since a Unix time, or of the last minute.
        voices: Changes the voice library; None where there is none.
        stores: What speech needs to write to, asked for ``/readyz``.
        all_paused: Whether every card is paused, so that nothing can be spoken.
        drain: Whether this process still takes requests.
        jobs: Long jobs; None where there are none.
        fleet: Metrics, history and reports of the fleet; None where nobody watches it.
    """

    settings: Settings
    speech: SpeechService
    replicas: Replicas
    metrics: Callable[[float | None], Awaitable[dict[str, Any]]]
    voices: VoiceDesk | None = None
    stores: tuple[Store, ...] = ()
    all_paused: Callable[[], bool] = lambda: False
    drain: Drain = field(default_factory=Drain)
    jobs: JobsPort | None = None
    fleet: Fleet | None = None
