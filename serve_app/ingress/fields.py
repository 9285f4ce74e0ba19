"""What requests for speech have in common: their fields, and what the API's description says."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from serve_app.core.casting import ANY_VOICE
from serve_app.core.dialogue import Said
from serve_app.encode import FORMATS
from serve_app.errors import InvalidInputError
from serve_app.ingress import sse
from serve_app.prepare import ScriptOrder
from serve_app.speech import SpeechOrder
from serve_app.tempo import MAX_SPEED, MIN_SPEED

PRIORITIES: Final = {"interactive": 0, "batch": 5}
MAX_ID_CHARACTERS: Final = 128

Priority = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 9})]


class StrictBody(BaseModel):
    """A body of which no field is ignored and no value bent into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class VoiceId(StrictBody):
    """A voice as an object, the second form that OpenAI's API takes."""

    id: str = Field(max_length=MAX_ID_CHARACTERS)


Name = Annotated[str, Field(max_length=MAX_ID_CHARACTERS)]
VoiceName = Name | VoiceId


class SpeechFields(StrictBody):
    """How a script is to be spoken."""

    model: str = Field(max_length=MAX_ID_CHARACTERS)
    """A model of ``GET /v1/models``, or a configured alias."""
    response_format: str = Field(default="mp3", json_schema_extra={"enum": list(FORMATS)})
    """``pcm`` is 24 kHz, 16-bit little-endian, mono."""
    stream_format: Literal["audio", "sse"] = "audio"
    """``audio`` sends the file's bytes as they come, ``sse`` events that hold them."""
    speed: float = Field(default=1.0, ge=MIN_SPEED, le=MAX_SPEED)
    """Pace of the finished audio at the same pitch, pauses included."""
    instructions: str | None = None
    """No engine here follows instructions: only an empty text is taken."""
    language: Literal["auto", "en", "zh"] = "auto"
    """Extension: how figures and signs are read; ``auto`` tells it from the text around them."""
    normalise: bool = True
    """Extension: put figures, dates, money, units and addresses into words before speaking."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Extension: another seed gives other takes."""
    cfg_scale: float | None = Field(default=None, ge=0, le=20)
    """Extension: guidance of the vibevoice engine; other engines refuse it."""
    priority: Priority | Literal["interactive", "batch"] = "interactive"
    """Extension: who waits for a card with a higher number lets the lower ones go first, 0..9;
    ``interactive`` is 0, ``batch`` is 5."""

    def order(
        self,
        text: str | tuple[Said, ...],
        voice: VoiceName,
        speakers: dict[str, str],
        *,
        request_id: str,
        caller: str,
    ) -> SpeechOrder:
        """The order that these fields make.

        Raises:
            InvalidInputError: A field asks for what nobody here does.
        """
        self._refuse()
        options = () if self.cfg_scale is None else (("cfg_scale", self.cfg_scale),)
        script = ScriptOrder(
            text,
            voice=voice if isinstance(voice, str) else voice.id,
            speakers=speakers,
            language=None if self.language == "auto" else self.language,
            in_words=self.normalise,
            options=options,
        )
        return SpeechOrder(
            script,
            audio_format=self.response_format,
            speed=self.speed,
            seed=self.seed,
            priority=self.priority if isinstance(self.priority, int) else PRIORITIES[self.priority],
            request_id=request_id,
            caller=caller,
        )

    def _refuse(self) -> None:
        if self.instructions:
            raise InvalidInputError(
                "No engine here follows instructions; leave 'instructions' out.", "instructions"
            )
        if isinstance(self.priority, int) and not 0 <= self.priority <= 9:
            raise InvalidInputError(
                f"priority {self.priority} is not within 0..9, 'interactive' or 'batch'.",
                "priority",
            )


_AUDIO: Final = {"schema": {"type": "string", "format": "binary"}}
_AUDIO_TYPES: Final = tuple(dict.fromkeys(made.media_type for made in FORMATS.values()))
_HEADERS: Final = {
    "x-request-id": "Asks GET /v1/audio/speech/{request_id} how it ended.",
    "x-segments": "In how many segments it is spoken.",
    "x-estimated-seconds": "Expected length of the audio.",
    "x-audio-seconds": "Length of the audio, where it was complete before the answer began.",
    "x-finish-reason": "How it ended, where that was known before the answer began.",
    "x-speakers": "Voice by speaker, both percent-encoded.",
    "x-unspoken-characters": "How many characters have no reading, where there are some.",
    "x-ai-generated": "Always true.",
}


SPEECH_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Audio, from its first sound on, or events that hold it.",
        "content": {
            **dict.fromkeys(_AUDIO_TYPES, _AUDIO),
            sse.MEDIA_TYPE: {"schema": sse.EVENT_SCHEMA},
        },
        "headers": {
            name: {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in _HEADERS.items()
        },
    },
}
"""What the API's description says of a route that speaks, where all goes well."""

AUTO: Final = ANY_VOICE
