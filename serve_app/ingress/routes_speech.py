"""``POST /v1/audio/speech`` as OpenAI's clients call it, and how a stream went."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from serve_app.errors import InvalidInputError, NotFoundError, ServeError
from serve_app.ingress.service import Service
from serve_app.speech import SpeechOrder


class VoiceId(BaseModel):
    """A voice as an object, the second form that OpenAI's API takes."""

    model_config = ConfigDict(extra="forbid")

    id: str


class SpeechRequest(BaseModel):
    """Body of a speech request; unknown fields are refused, none is ignored."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str
    """A model of ``GET /v1/models``, or a configured alias."""
    input: str
    """The script: prose, or lines ``Name: text`` of at most four speakers."""
    voice: str | VoiceId
    """Voice of the first speaker; ``auto`` leaves all to the voices' order."""
    response_format: str = "mp3"
    """``wav``, ``pcm`` (24 kHz 16-bit mono), ``mp3`` or ``flac``."""
    speed: float = Field(default=1.0, ge=0.25, le=4.0)
    """Only 1.0 is spoken."""
    instructions: str | None = None
    """No engine here follows instructions; a text is refused."""
    stream_format: Literal["audio", "sse"] = "audio"
    """Only ``audio``."""
    speakers: dict[str, str] = Field(default_factory=dict)
    """Extension: voice by the name of a speaker."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Extension: another seed gives other takes."""


def router(service: Service) -> APIRouter:
    """The routes of this resource."""
    routes = APIRouter(prefix="/v1/audio")

    @routes.post("/speech", response_class=StreamingResponse)
    async def create_speech(
        request: SpeechRequest,
        x_request_id: Annotated[str, Header(max_length=128, pattern=r"^[\w.:-]*$")] = "",
    ) -> StreamingResponse:
        """Speak a script; audio leaves while later segments are still being spoken."""
        _refuse_unsupported(request)
        engine = await service.replicas.engine()
        known = (engine.model, *service.settings.model_aliases)
        if request.model not in known:
            raise NotFoundError(
                f"Model {request.model!r} does not exist; use one of {', '.join(known)}.", "model"
            )
        order = SpeechOrder(
            text=request.input,
            voice=request.voice if isinstance(request.voice, str) else request.voice.id,
            audio_format=request.response_format,
            speakers=request.speakers,
            seed=request.seed,
            request_id=x_request_id,
        )
        stream = await service.speech.open(order, engine)
        outcome = stream.outcome
        headers = {
            "x-segments": str(outcome.segments),
            "x-estimated-seconds": f"{outcome.estimated_s:.1f}",
            "x-speakers": ",".join(
                f"{quote(speaker)}={quote(voice)}" for speaker, voice in outcome.speakers.items()
            ),
        }
        if not x_request_id:  # Serve's proxy adds the one that it made or was sent
            headers["x-request-id"] = outcome.request_id
        return StreamingResponse(
            _cut_off(stream.body), media_type=stream.media_type, headers=headers
        )

    @routes.get("/speech/{request_id}")
    async def get_speech(request_id: str) -> dict[str, Any]:
        """How a stream goes or went: progress, retries, doubtful parts, cards."""
        outcome = service.speech.outcomes.get(request_id)
        if outcome is None:
            raise NotFoundError(
                f"Request {request_id!r} is not known here; only the last few hundred are kept.",
                "request_id",
            )
        return outcome.to_json(service.speech.outcomes.clock())

    return routes


class StreamCutError(Exception):
    """Breaks a response that has begun: the connection is closed in mid-body, without an end.

    Not of our tree on purpose: no handler may try to answer a response that has started.
    """


async def _cut_off(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(body):
        try:
            async for data in body:
                yield data
        except ServeError as error:
            raise StreamCutError(error.message) from error


def _refuse_unsupported(request: SpeechRequest) -> None:
    if request.speed != 1.0:
        raise InvalidInputError(
            f"speed {request.speed:g} is not spoken by this service yet; send 1.0 or leave it out.",
            "speed",
        )
    if request.instructions:
        raise InvalidInputError(
            "This engine follows no instructions; leave 'instructions' out.", "instructions"
        )
    if request.stream_format != "audio":
        raise InvalidInputError(
            f"stream_format {request.stream_format!r} is not served yet; use 'audio'.",
            "stream_format",
        )
