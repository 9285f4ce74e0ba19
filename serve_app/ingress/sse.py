"""A stream of audio as server-sent events, in the shape of OpenAI's API.

::

    data: {"type": "speech.audio.delta", "audio": "<base64>"}           as often as bytes come
    data: {"type": "speech.audio.done", "usage": {...}, ...}            all is said
    data: {"type": "error", "error": {...}, "discard_audio": true}      or: it can't be completed

The deltas joined are the bytes of the file. Behind an error the audio sent before is only a
beginning: it is to be thrown away.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from serve_app.core.trail import trail
from serve_app.errors import ServeError
from serve_app.ingress.problems import internal_error, problem
from serve_app.speech import OpenStream

logger = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
EVENT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One event; its data is JSON.",
    "required": ["data"],
    "properties": {
        "event": {"type": "string"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "additionalProperties": False,
}
"""What the API's description says of each event of a stream."""


async def events(stream: OpenStream) -> AsyncGenerator[bytes, None]:
    """The events of a stream; closing them closes it."""
    async with aclosing(stream.body) as body:
        try:
            async for data in body:
                yield _event({"type": "speech.audio.delta", "audio": _text(data)})
        except ServeError as error:
            told = json.loads(bytes(problem(error).body))
            yield _event({"type": "error", **told, "discard_audio": True})
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the listener must hear of it
            logger.error(  # noqa: TRY400 - its message may quote the text
                "stream %s failed: %s", stream.outcome.request_id, trail(error)
            )
            told = json.loads(bytes(internal_error().body))
            yield _event({"type": "error", **told, "discard_audio": True})
            return
    outcome = stream.outcome
    yield _event(
        {
            "type": "speech.audio.done",
            "usage": outcome.usage,
            "request_id": outcome.request_id,
            "finish_reason": outcome.finish_reason,
            "audio_seconds": round(outcome.audio_s, 3),
            "unspoken_characters": outcome.text.unspoken_characters,
        }
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, separators=(',', ':'))}\n\n".encode()
