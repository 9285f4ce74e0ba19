"""The service as browsers see it, without Ray: the real routes over replicas held by the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from serve_app.config import parse_settings
from serve_app.core.fair import FairPool
from serve_app.engines.base import EngineInfo, Line, SpeakTask, Voice
from serve_app.ingress.http import create_app
from serve_app.ingress.service import Service
from serve_app.outcomes import Outcomes
from serve_app.pieces import TakeItem, Waiting
from serve_app.readiness import Readiness
from serve_app.speech import SpeechService
from serve_app.ui.studio_app import create_studio
from serve_app.ui.studio_settings import load_examples, parse_studio_settings
from tests.unit.fake_replicas import FakeReplicas

ENGINE = EngineInfo(
    name="fake",
    model="fake-1",
    revision="1",
    voices=tuple(
        Voice(name.lower(), name, ("en",)) for name in ("Alto", "Tenor", "Bass", "Soprano")
    ),
    tokens_per_s=7.5,
)
SETTINGS = parse_settings({"engine": {"kind": "simulated"}, "cards": "none"})


class HeldReplicas(FakeReplicas):
    """Speaks the first segment at once, and those behind it only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self.cancelled = threading.Event()
        self._released = False
        self._held = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def release(self) -> None:
        """Let the rest be spoken; from any thread."""
        self._released = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._held.set)

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem | Waiting, None]:
        self.lines.extend(task.lines)
        self._loop = asyncio.get_running_loop()
        try:
            if task.tag > 0 and not self._released:
                await self._held.wait()
            async for item in super().speak(task):
                yield item
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise


class Known:
    """Replicas that are there."""

    async def engine(self) -> EngineInfo:
        return ENGINE

    async def readiness(self) -> Readiness:
        return Readiness(True, {})


async def no_metrics(_since: float | None) -> dict[str, Any]:
    raise AssertionError("nobody should ask")


def make_service(
    replicas: FakeReplicas,
    metrics: Callable[[float | None], Awaitable[dict[str, Any]]] = no_metrics,
) -> Service:
    """The parts behind the routes."""
    speech = SpeechService(
        SETTINGS.speech, speak=replicas.speak, pool=FairPool(4), outcomes=Outcomes()
    )
    return Service(SETTINGS, speech, Known(), metrics)


def studio_beside(service: Service, settings: dict[str, Any]) -> FastAPI:
    """The service at ``/`` and the studio at ``/studio``, as Ray Serve's proxy shows them."""
    settings_of_studio = parse_studio_settings({"login": "off", **settings})
    studio = create_studio(settings_of_studio, load_examples(settings_of_studio.example_files))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        async with studio.router.lifespan_context(studio):
            yield

    both = FastAPI(lifespan=lifespan)
    both.mount("/studio", studio)
    both.mount("/", create_app(service))
    return both
