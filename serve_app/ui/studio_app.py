"""The studio as an ASGI application: the page, and the recordings that it plays."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.config import api_key
from serve_app.ui.recordings import Recordings
from serve_app.ui.speech_api import SpeechApi
from serve_app.ui.studio_page import Desk, Login, build_page, mount_page
from serve_app.ui.studio_settings import StudioSettings

logger = logging.getLogger(__name__)

LOGIN_OFF: Final = (
    "THE STUDIO ASKS FOR NO LOGIN: whoever can reach it may use it. It sends no key, so it works "
    "only with a service that asks for none."
)
# Gradio's page has inline scripts and compiles templates; another host is never allowed.
_POLICY: Final = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; frame-ancestors 'self'"
)


def create_studio(settings: StudioSettings, examples: Mapping[str, str]) -> FastAPI:
    """Build the application; it owns its client and its recordings while its lifespan lasts."""
    asks = settings.login == "key"
    # Without a login its key would be everybody's.
    api = SpeechApi(settings.service_url, key=api_key() if asks else None)
    if not asks:
        logger.warning(LOGIN_OFF)
    recordings = Recordings(api, settings.max_recordings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await recordings.close()

    app = FastAPI(title="vibevoice-serve studio", telemetry={"tracing": False}, lifespan=lifespan)
    app.add_middleware(PolicyMiddleware)
    _add_recordings(app, recordings)
    page = build_page(Desk(api, recordings), examples, settings.monitor_url)
    mount_page(app, page, login=_login(api) if asks else None)
    return app


def _login(api: SpeechApi) -> Login:
    async def knows(_name: str, key: str) -> bool:
        """Whether the service takes a key."""
        return await api.accepts(key)

    return knows


class PolicyMiddleware:
    """Adds the policy to every answer, streams included.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = _POLICY
            await send(message)

        await self._app(scope, receive, send_fenced)


def _add_recordings(app: FastAPI, recordings: Recordings) -> None:
    @app.get("/recordings/{name}")
    async def recording(name: str, download: bool = False) -> Response:
        """A recording: as it grows, or whole (in ranges too) once it is."""
        found = recordings.find(name.partition(".")[0])
        if found is None or found.path.name != name:
            raise HTTPException(404, "This recording is gone; speak the script again.")
        headers = {"cache-control": "no-store"}
        if found.status.ended:
            shown = f"speech.{found.order.audio_format}" if download else None
            return FileResponse(
                found.path, media_type=found.media_type, filename=shown, headers=headers
            )
        return StreamingResponse(found.listen(), media_type=found.media_type, headers=headers)
