"""``POST /v1/audio/dialogue``: the turns of a dialogue as JSON, spoken like a script."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field, JsonValue

from serve_app.core.dialogue import Said
from serve_app.core.script import MAX_PAUSE_S
from serve_app.ingress.answer import known_caller, name_of, speak, speaking_engine
from serve_app.ingress.fields import AUTO, SPEECH_ANSWERS, SpeechFields, StrictBody, VoiceName
from serve_app.ingress.service import Service

_EXAMPLE: JsonValue = {
    "model": "tts-1",
    "turns": [
        {"speaker": "Lily", "text": "Is anybody there?", "voice": "nova"},
        {"speaker": "Jeyes", "text": "Only me, miss.", "voice": "onyx", "pause_s": 1.5},
    ],
}


class DialogueTurn(StrictBody):
    """What one speaker says at a time."""

    speaker: str
    """Any name; the same one is the same voice."""
    text: str
    """What is said; blank lines part paragraphs, ``[pause 1.5s]`` is a pause, labels are text."""
    voice: VoiceName | None = None
    """Voice of this speaker in all turns; without one the voices' order decides."""
    pause_s: float | None = Field(default=None, ge=0, le=MAX_PAUSE_S)
    """Silence before this turn, s; the dialogue's ``pause_s`` unless told."""


class DialogueRequest(SpeechFields):
    """Body of a dialogue request; the other fields are those of a speech request."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    turns: list[DialogueTurn] = Field(min_length=1, max_length=10_000)
    """In order; of at most four speakers."""
    voice: VoiceName = AUTO
    """Voice of the first speaker who has none of his own."""
    pause_s: float | None = Field(default=None, ge=0, le=MAX_PAUSE_S)
    """Silence between turns, s; the usual one unless told."""

    def said(self) -> tuple[Said, ...]:
        """The turns, free of HTTP."""
        return tuple(
            Said(
                turn.speaker,
                turn.text,
                self.pause_s if turn.pause_s is None and number else turn.pause_s,
                turn.voice if turn.voice is None or isinstance(turn.voice, str) else turn.voice.id,
            )
            for number, turn in enumerate(self.turns)
        )


def router(service: Service) -> APIRouter:
    """The route of this resource, below ``/v1/audio``."""
    routes = APIRouter()

    @routes.post("/dialogue", response_class=StreamingResponse, responses=SPEECH_ANSWERS)
    async def create_dialogue(
        body: DialogueRequest,
        request: Request,
        x_request_id: Annotated[str, Header(max_length=128, pattern=r"^[\w.:-]*$")] = "",
    ) -> Response:
        """Speak a dialogue; the answer is that of a speech request."""
        caller = known_caller(request)
        engine = await speaking_engine(service, body.model)
        order = body.order(
            body.said(), body.voice, {}, request_id=x_request_id, caller=name_of(caller)
        )
        return await speak(service, order, engine, caller, stream_format=body.stream_format)

    return routes
