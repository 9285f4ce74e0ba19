"""The body of ``POST /v1/jobs``: JSON, or a form with an uploaded document."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from contextlib import suppress
from typing import Any, Final, Literal

from fastapi import Request
from pydantic import Field, ValidationError
from starlette.datastructures import UploadFile

from serve_app.core.casting import ANY_VOICE
from serve_app.core.chapters import headings, paused
from serve_app.core.text import clean
from serve_app.documents import MAX_DOCUMENT_BYTES, Document, read_document
from serve_app.encode_cover import MAX_COVER_BYTES
from serve_app.encode_file import FILE_FORMATS
from serve_app.errors import BodyTooLargeError, InvalidInputError
from serve_app.ingress.bounded import BodyBounds
from serve_app.ingress.fields import MAX_ID_CHARACTERS, Name, StrictBody, VoiceName
from serve_app.ingress.problems import wrong_fields
from serve_app.jobs.order import JobOrder
from serve_app.jobs.settings import JobSettings
from serve_app.tempo import MAX_SPEED, MIN_SPEED

CHAPTER_PAUSE_S: Final = 1.5
"""Before a chapter, so that it begins where a segment does."""

_JSON_FIELDS: Final = frozenset(
    {"voices", "options", "metadata", "seed", "speed", "normalise", "chapters", "body_only"}
)
_MAX_FIELDS: Final = 40
_OTHER_BYTES: Final = 2**20
"""For all fields but the script, the document and the cover, and for what stands around them."""
_BYTES_A_CHARACTER: Final = 4
_JSON_BYTES_A_CHARACTER: Final = 6
"""Clients that write JSON in ASCII send so many for a Chinese character."""


class JobRequest(StrictBody):
    """A job; unknown fields are refused, none is ignored."""

    input: str | None = None
    """The script: prose, or lines ``Name: text`` of at most four speakers. In a form the document
    in ``file`` may take its place."""
    voice: VoiceName = ANY_VOICE
    """Voice of the first speaker: an id, a name, an alias, or ``auto`` for the voices' order."""
    voices: dict[Name, Name] = Field(default_factory=dict, max_length=64)
    """Voice by the name of a speaker."""
    format: str = Field(default="mp3", json_schema_extra={"enum": list(FILE_FORMATS)})
    """Of the finished file; others can be had later."""
    speed: float = Field(default=1.0, ge=MIN_SPEED, le=MAX_SPEED)
    """Of the finished audio, at the same pitch."""
    language: Literal["auto", "en", "zh"] = "auto"
    """How figures and signs are read; ``auto`` tells it from the text around them."""
    normalise: bool = True
    """Put figures, dates, money, units and addresses into words before speaking."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Another seed gives other takes."""
    options: dict[str, float] = Field(default_factory=dict, max_length=16)
    """Options of the engine by name, such as ``cfg_scale``."""
    title: str = Field(default="", max_length=300)
    """For people and for the file; a document's own unless told."""
    metadata: dict[str, str] = Field(default_factory=dict, max_length=16)
    """Whatever is wanted back."""
    notice: str = Field(default="", max_length=1_000)
    """Said before everything else, such as that the speech is made by a machine."""
    chapters: bool = True
    """Find headings: each begins a chapter, after a short pause."""
    body_only: bool = False
    """Leave out Project Gutenberg's header and footer of a .txt file."""
    cover: str | None = None
    """Picture for the file, JPEG or PNG in base64; in a form it is a file."""


def body_bounds(settings: JobSettings) -> BodyBounds:
    """Bodies large enough for the longest script, or document, and a cover."""
    cover_bytes = MAX_COVER_BYTES * 4 // 3
    return BodyBounds(
        settings.max_characters * _JSON_BYTES_A_CHARACTER + cover_bytes + _OTHER_BYTES,
        max(MAX_DOCUMENT_BYTES, settings.max_characters * _BYTES_A_CHARACTER)
        + cover_bytes
        + _OTHER_BYTES,
    )


async def read_order(
    request: Request, settings: JobSettings, *, owner: str, idempotency_key: str
) -> JobOrder:
    """What a request asks for.

    Raises:
        InvalidInputError: It can't be read; the message says what is wrong.
    """
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        most = max(settings.max_characters * _BYTES_A_CHARACTER, _OTHER_BYTES)
        body, document, cover = await _from_form(request, most)
    else:
        raw = await request.body()
        body, document, cover = await asyncio.to_thread(_from_json, raw), None, None
    return await asyncio.to_thread(_order, body, document, cover, owner, idempotency_key)


def _from_json(raw: bytes) -> JobRequest:
    try:
        return JobRequest.model_validate_json(raw)
    except ValidationError as error:
        raise _refusal(error) from None


_Upload = tuple[str, bytes]


async def _from_form(
    request: Request, max_field_bytes: int
) -> tuple[JobRequest, _Upload | None, bytes | None]:
    fields: dict[str, Any] = {}
    uploads: dict[str, _Upload] = {}
    async with request.form(
        max_files=2, max_fields=_MAX_FIELDS, max_part_size=max_field_bytes
    ) as form:
        for name, value in form.multi_items():
            if name in fields or name in uploads:
                raise InvalidInputError(f"The field {name!r} comes twice; send it once.", name)
            if isinstance(value, UploadFile):
                uploads[name] = (value.filename or "", await value.read())
            else:
                fields[name] = _field(name, value)
    if strange := sorted(set(uploads) - {"file", "cover"}):
        raise InvalidInputError(
            f"{strange[0]!r} is no file that is taken here; send 'file' or 'cover'.", strange[0]
        )
    try:
        body = JobRequest.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise _refusal(error) from None
    cover = uploads.get("cover")
    return body, uploads.get("file"), None if cover is None else cover[1]


def _field(name: str, value: str) -> Any:
    """A field of a form; those that are no text are JSON."""
    if name not in _JSON_FIELDS:
        return value
    with suppress(ValueError, RecursionError):
        return json.loads(value)
    return value


def _order(
    body: JobRequest,
    upload: _Upload | None,
    cover: bytes | None,
    owner: str,
    idempotency_key: str,
) -> JobOrder:
    if (body.input is None) == (upload is None):
        raise InvalidInputError("Send the script either as 'input' or as a 'file'.", "input")
    document = (
        _script(body.input or "", with_chapters=body.chapters)
        if upload is None
        else read_document(*upload, body_only=body.body_only)
    )
    marks = document.chapters if body.chapters else ()
    return JobOrder(
        text=paused(document.text, marks, CHAPTER_PAUSE_S) if marks else document.text,
        voice=body.voice if isinstance(body.voice, str) else body.voice.id[:MAX_ID_CHARACTERS],
        speakers=body.voices,
        language=None if body.language == "auto" else body.language,
        in_words=body.normalise,
        options=tuple(sorted(body.options.items())),
        seed=body.seed,
        audio_format=body.format,
        speed=body.speed,
        title=body.title or document.title or "",
        metadata=body.metadata,
        headings=marks,
        notice=body.notice,
        cover=_picture(body.cover) if cover is None else cover,
        notes=document.notes,
        owner=owner,
        idempotency_key=idempotency_key,
    )


def _script(text: str, *, with_chapters: bool) -> Document:
    """A script as a document."""
    if not with_chapters:
        return Document(text, None, ())
    text = clean(text)
    return Document(text, None, headings(text))


def _picture(encoded: str | None) -> bytes | None:
    if encoded is None:
        return None
    if len(encoded) > 2 * MAX_COVER_BYTES:
        raise BodyTooLargeError("The cover is too large.", "cover")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInputError("The cover is not base64; send it as a file.", "cover") from None


def _refusal(error: ValidationError) -> InvalidInputError:
    return wrong_fields([(item["loc"], item) for item in error.errors()])


FORM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "The fields of the JSON body as fields of a form; those that are no text are "
    "written as JSON.",
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "The script: a .txt, .md, .epub or .srt file.",
        },
        "cover": {
            "type": "string",
            "format": "binary",
            "description": "Picture for the file: JPEG or PNG.",
        },
    },
    "additionalProperties": {"type": "string"},
}
