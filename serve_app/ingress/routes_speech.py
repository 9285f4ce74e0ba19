"""``POST /v1/audio/speech`` as OpenAI's clients call it, and how a stream went."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field, JsonValue

from serve_app.errors import NotFoundError
from serve_app.ingress import routes_dialogue
from serve_app.ingress.answer import known_caller, name_of, speak, speaking_engine
from serve_app.ingress.fields import (
    MAX_ID_CHARACTERS,
    SPEECH_ANSWERS,
    Name,
    SpeechFields,
    VoiceName,
)
from serve_app.ingress.service import Service

_EXAMPLES: list[JsonValue] = [
    {"model": "tts-1", "input": "Good morning! It is 7:30.", "voice": "alloy"},
    {
        "model": "tts-1",
        "input": "Lily: Is anybody there?\nJeyes: Only me, miss.",
        "voice": "auto",
        "response_format": "wav",
        "speed": 1.25,
        "seed": 7,
    },
]


class SpeechRequest(SpeechFields):
    """Body of a speech request; unknown fields are refused, none is ignored."""

    model_config = ConfigDict(json_schema_extra={"examples": _EXAMPLES})

    input: str
    """The script: prose, or lines ``Name: text`` of at most four speakers."""
    voice: VoiceName
    """Voice of the first speaker: an id, a name, an alias, or ``auto`` for the voices' order."""
    speakers: dict[Name, Name] = Field(default_factory=dict, max_length=64)
    """Extension: voice by the name of a speaker."""


def router(service: Service) -> APIRouter:
    """The routes of this resource."""
    routes = APIRouter(prefix="/v1/audio")

    @routes.post("/speech", response_class=StreamingResponse, responses=SPEECH_ANSWERS)
    async def create_speech(
        body: SpeechRequest,
        request: Request,
        x_request_id: Annotated[str, Header(max_length=128, pattern=r"^[\w.:-]*$")] = "",
    ) -> Response:
        """Speak a script; audio leaves while later segments are still being spoken."""
        caller = known_caller(request)
        engine = await speaking_engine(service, body.model)
        order = body.order(
            body.input,
            body.voice,
            body.speakers,
            request_id=x_request_id,
            caller=name_of(caller),
        )
        return await speak(service, order, engine, caller, stream_format=body.stream_format)

    @routes.get("/speech/{request_id}")
    async def get_speech(request_id: str, request: Request) -> dict[str, Any]:
        """How a stream goes or went: progress, retries, doubtful parts, cards, its text's signs."""
        outcomes, caller = service.speech.outcomes, known_caller(request)
        outcome = outcomes.get(request_id, name_of(caller))
        if outcome is None and (caller is None or caller.admin):
            outcome = outcomes.of_anyone(request_id)
        if outcome is None:
            raise NotFoundError(
                f"Request {request_id[:MAX_ID_CHARACTERS]!r} is not known here; only the last few "
                "hundred are kept.",
                "request_id",
            )
        return outcome.to_json(outcomes.clock())

    routes.include_router(routes_dialogue.router(service))
    return routes
