"""The HTTP face without Ray: the real routes over fake replicas."""

from __future__ import annotations

from typing import Any

import httpx
from fastapi import FastAPI

from serve_app.config import Settings, parse_settings
from serve_app.core.fair import FairPool
from serve_app.engines.base import EngineInfo, Voice
from serve_app.engines.piper_text import require_speakable
from serve_app.errors import NotReadyError
from serve_app.ingress.http import create_app
from serve_app.ingress.service import Service
from serve_app.outcomes import Outcomes
from serve_app.prepare import Ability
from serve_app.readiness import Readiness, Replicas
from serve_app.speech import SpeechService
from serve_app.voice_desk import VoiceDesk
from tests.unit.fake_replicas import FakeReplicas

ENGINE = EngineInfo(
    name="fake",
    model="fake-1",
    revision="1",
    voices=(Voice("alto", "Anna", ("en",)), Voice("tenor", "Tom", ("en", "zh"))),
    tokens_per_s=7.5,
)
SETTINGS = parse_settings(
    {
        "engine": {"kind": "simulated"},
        "cards": "none",
        "speech": {"max_input_characters": 5000, "max_concurrent_requests": 2},
        "voice_aliases": {"alloy": "tenor"},
    }
)
LONG = "A first sentence that is spoken well. " + "And another one that never will be. " * 8
BODY = {"model": "fake-1", "input": "Hello, how are you today?", "voice": "alto"}


class Known:
    """Replicas whose engine is known, or that are not there yet."""

    def __init__(self, ready: bool = True, engine: EngineInfo = ENGINE) -> None:
        self.ready, self._engine = ready, engine

    async def engine(self) -> EngineInfo:
        if not self.ready:
            raise NotReadyError("no replica answered")
        return self._engine

    async def readiness(self) -> Readiness:
        return Readiness(self.ready, {} if self.ready else {"reasons": ["no replica answered"]})


async def metrics(since: float | None) -> dict[str, Any]:
    return {"gpu": [], "inference": [], "since": since}


def service(
    replicas: FakeReplicas,
    *,
    ready: bool = True,
    settings: Settings = SETTINGS,
    ability: Ability | None = None,
    listed: Replicas | None = None,
    voices: VoiceDesk | None = None,
    pool: FairPool | None = None,
) -> Service:
    made = SpeechService(
        settings.speech,
        speak=replicas.speak,
        pool=pool or FairPool(2),
        outcomes=Outcomes(),
        ability=ability or Ability(check=require_speakable, aliases=settings.voice_aliases),
    )
    return Service(settings, made, listed or Known(ready), metrics, voices)


def client_of(built: Service, *, show_errors: bool = False) -> httpx.AsyncClient:
    return client_of_app(create_app(built), show_errors=show_errors)


def client_of_app(app: FastAPI, *, show_errors: bool = False) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=show_errors)
    return httpx.AsyncClient(transport=transport, base_url="http://test")
