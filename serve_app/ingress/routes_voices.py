"""``/v1/audio/voices``: what scripts can be spoken with, and the voice library behind it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from serve_app.core.casting import ANY_VOICE, STOCK_NAMES, with_stock_names
from serve_app.core.script import NARRATOR
from serve_app.engines.base import EngineInfo, Voice
from serve_app.errors import BodyTooLargeError, ForbiddenError, InvalidInputError, NotFoundError
from serve_app.ingress.answer import known_caller, name_of, speak
from serve_app.ingress.fields import MAX_ID_CHARACTERS
from serve_app.ingress.service import Service
from serve_app.prepare import ScriptOrder
from serve_app.speech import SpeechOrder
from serve_app.voice_desk import VoiceDesk
from serve_app.voice_file import MAX_UPLOAD_BYTES
from serve_app.voice_record import VOICE_ID, VoiceRecord, name_key

_SAMPLES: Final = {
    "en": "Good evening. This is how I sound when I read you a story.",
    "zh": "晚上好。我给你读故事的时候，就是这个声音。",
}
_SAMPLE_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The voice's recording, or a sentence spoken by a voice of the engine's.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in ("audio/flac", "audio/mpeg")
        },
    },
    504: {"description": "The engine gave no audio in time."},
}


def router(service: Service) -> APIRouter:
    """The routes of this resource, below ``/v1``."""
    routes = APIRouter(prefix="/audio/voices")

    @routes.get("")
    async def list_voices() -> dict[str, Any]:
        """The voices in the order in which speakers take them, then the aliases."""
        voices = _listed(service, await service.replicas.engine())
        return {"object": "list", "data": voices, "voices": voices}

    @routes.get("/{voice_id}")
    async def get_voice(voice_id: str) -> dict[str, Any]:
        """One voice, by its id, name or alias."""
        entry = _found(service, await service.replicas.engine(), voice_id)
        if service.voices is None or entry["source"] != "library":
            return entry
        return {**_recorded(await service.voices.get(entry["alias_of"] or entry["id"])), **entry}

    @routes.get("/{voice_id}/sample", response_class=Response, responses=_SAMPLE_ANSWERS)
    async def get_sample(voice_id: str, request: Request) -> Response:
        """How a voice sounds: its recording, or a sentence that an engine's own voice speaks."""
        engine = await service.replicas.engine()
        entry = _found(service, engine, voice_id)
        voice = entry["alias_of"] or entry["id"]
        if service.voices is not None and entry["source"] == "library":
            return Response(await service.voices.audio(voice), media_type="audio/flac")
        caller = known_caller(request)
        language = next((known for known in entry["languages"] if known in _SAMPLES), "en")
        script = ScriptOrder(_SAMPLES[language], voice=voice)
        order = SpeechOrder(script, audio_format="mp3", caller=name_of(caller))
        return await speak(service, order, engine, caller)

    _add_changes(routes, service)
    return routes


def _add_changes(routes: APIRouter, service: Service) -> None:
    """The routes that change the library."""

    @routes.post("")
    async def create_voice(
        name: Annotated[str, Form(max_length=MAX_ID_CHARACTERS)],
        consent: Annotated[str, Form(max_length=4_000)],
        audio_sample: Annotated[UploadFile, File()],
    ) -> dict[str, Any]:
        """Make a voice of a recording of 1-30 s (WAV, FLAC, MP3 or Ogg, at most 10 MiB).

        ``consent`` says under which licence or with whose consent it is used. The voice can be used
        on all replicas at once.
        """
        desk = await _desk(service)
        if audio_sample.size is None or audio_sample.size > MAX_UPLOAD_BYTES:
            raise BodyTooLargeError(
                f"The recording is larger than {MAX_UPLOAD_BYTES} bytes; 30 s are enough.",
                "audio_sample",
            )
        _refuse_reserved(service, await service.replicas.engine(), name)
        return _recorded(await desk.add(name, await audio_sample.read(), consent))

    @routes.delete("/{voice_id}", responses={403: {"description": "This needs an admin's key."}})
    async def delete_voice(voice_id: str, request: Request) -> dict[str, Any]:
        """Remove a voice from the library; this needs an admin's key, as it takes it from all."""
        caller = known_caller(request)
        if caller is not None and not caller.admin:
            raise ForbiddenError("Voices are shared: removing one needs an admin's key.")
        desk = await _desk(service)
        if not re.fullmatch(VOICE_ID, voice_id):
            raise _not_found(voice_id)
        await desk.delete(voice_id)
        return {"id": voice_id, "object": "audio.voice.deleted", "deleted": True}


async def _desk(service: Service) -> VoiceDesk:
    """The library, if there is one that the engine speaks with.

    Raises:
        InvalidInputError: There is none.
    """
    engine = await service.replicas.engine()
    if not engine.library_languages:
        raise InvalidInputError(
            f"The engine {engine.name!r} can't speak with recordings. A service whose engine is "
            "vibevoice and whose config names a folder in voices.path can."
        )
    if service.voices is None:
        raise InvalidInputError(
            "This service keeps no voices; name a folder that all nodes reach in voices.path of "
            "its config."
        )
    return service.voices


def _refuse_reserved(service: Service, engine: EngineInfo, name: str) -> None:
    """Keep what scripts and clients mean by a name from being caught by a new voice."""
    own = [voice for voice in engine.voices if not re.fullmatch(VOICE_ID, voice.id)]
    reserved = {
        *(ANY_VOICE, NARRATOR, *STOCK_NAMES, *service.settings.voice_aliases),
        *(known for voice in own for known in (voice.id, voice.name)),
    }
    if name_key(name) in map(name_key, reserved):
        raise InvalidInputError(
            f"The name {name[:MAX_ID_CHARACTERS]!r} stands for something else already: an alias, "
            "a voice of the engine's, the narrator or the voices' order. Choose another name.",
            "name",
        )


def _listed(service: Service, engine: EngineInfo) -> list[dict[str, Any]]:
    voices = [_entry(voice) for voice in engine.voices]
    by_id = {voice["id"]: voice for voice in voices}
    aliases = with_stock_names(service.settings.voice_aliases, list(by_id))
    return voices + [
        {**by_id[target], "id": alias, "name": alias, "alias_of": target}
        for alias, target in aliases.items()
        if target in by_id and alias not in by_id
    ]


def _entry(voice: Voice) -> dict[str, Any]:
    kept = re.fullmatch(VOICE_ID, voice.id) is not None
    return {
        "id": voice.id,
        "object": "audio.voice",
        "name": voice.name,
        "languages": list(voice.languages),
        "source": "library" if kept else "engine",
        "alias_of": None,
    }


def _found(service: Service, engine: EngineInfo, wanted: str) -> dict[str, Any]:
    """A voice by its id or alias, else by its name, as in a request for speech."""
    listed = _listed(service, engine)
    key = wanted.casefold()
    same: tuple[Callable[[dict[str, Any]], bool], ...] = (
        lambda entry: bool(entry["id"] == wanted),
        lambda entry: bool(entry["id"].casefold() == key),
        lambda entry: bool(entry["name"].casefold() == key),
    )
    for is_wanted in same:
        for entry in filter(is_wanted, listed):
            return entry
    raise _not_found(wanted)


def _not_found(voice_id: str) -> NotFoundError:
    return NotFoundError(
        f"Voice {voice_id[:MAX_ID_CHARACTERS]!r} does not exist; GET /v1/audio/voices lists them.",
        "voice_id",
    )


def _recorded(record: VoiceRecord) -> dict[str, Any]:
    """What is known of a voice of the library."""
    return {
        "id": record.id,
        "object": "audio.voice",
        "name": record.name,
        "created_at": int(record.created.timestamp()),
        "duration_s": round(record.duration_s, 3),
        "consent": record.consent,
    }
