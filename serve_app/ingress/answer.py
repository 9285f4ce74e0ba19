"""From an order for speech to its HTTP answer; shared by all routes that speak."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Final, Literal
from urllib.parse import quote

from fastapi import Request, Response

from serve_app.engines.base import EngineInfo
from serve_app.errors import InputTooLongError, NotFoundError, ServeError
from serve_app.ingress import sse
from serve_app.ingress.bounded import ClosedStream, CutOffError
from serve_app.ingress.gate import Caller, caller_of
from serve_app.ingress.service import Service
from serve_app.outcomes import Outcome
from serve_app.speech import OpenStream, SpeechOrder

logger = logging.getLogger(__name__)

_DIGEST_DIGITS: Final = 12
JOB_ROUTE: Final = "POST /v1/jobs"
"""Takes what is too long for one answer, where there are jobs."""


class StreamCutError(CutOffError):
    """Breaks a stream of audio that can't be completed."""


def known_caller(request: Request) -> Caller | None:
    """Who sent a request; None where no gate stands before the routes."""
    try:
        return caller_of(request)
    except KeyError:
        return None


def name_of(caller: Caller | None) -> str:
    """What an outcome remembers of a caller."""
    return "" if caller is None else caller.name


async def speaking_engine(service: Service, model: str) -> EngineInfo:
    """The engine, if it is the one that is asked for.

    Raises:
        NotFoundError: It is another one.
        NotReadyError: No replica has answered yet.
    """
    engine = await service.replicas.engine()
    known = (engine.model, *service.settings.model_aliases)
    if model not in known:
        raise NotFoundError(
            f"Model {model!r} does not exist; use one of {', '.join(known)}.", "model"
        )
    return engine


async def speak(
    service: Service,
    order: SpeechOrder,
    engine: EngineInfo,
    caller: Caller | None,
    *,
    stream_format: Literal["audio", "sse"] = "audio",
) -> Response:
    """Start an order and answer with its audio; its characters are the caller's unless it fails.

    Raises:
        ServeError: It could not start.
    """
    try:
        stream = await _opened(service, order, engine, caller)
    except InputTooLongError as error:
        if service.jobs is None:
            raise
        told = f"{error.message} Or submit it as a job ({JOB_ROUTE})."
        raise InputTooLongError(told, error.param) from None
    headers = _headers(stream.outcome)
    if not order.request_id:  # Serve's proxy adds the one that it made or was sent
        headers["x-request-id"] = stream.outcome.request_id
    if stream_format == "sse":
        headers |= {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return ClosedStream(
            sse.events(stream), stream.body, media_type=sse.MEDIA_TYPE, headers=headers
        )
    if stream.body.whole:
        async with aclosing(stream.body) as body:
            data = b"".join([part async for part in body])
        headers["x-audio-seconds"] = f"{stream.outcome.audio_s:.3f}"
        headers["x-finish-reason"] = str(stream.outcome.finish_reason)
        return Response(data, media_type=stream.media_type, headers=headers)
    return ClosedStream(
        _cut_off(stream), stream.body, media_type=stream.media_type, headers=headers
    )


async def _opened(
    service: Service, order: SpeechOrder, engine: EngineInfo, caller: Caller | None
) -> OpenStream:
    characters = order.script.characters
    try:
        if caller is not None:
            caller.spend(characters)
        try:
            stream = await service.speech.open(order, engine)
        except BaseException:
            if caller is not None:
                caller.refund(characters)
            raise
    except ServeError as error:
        _note(service, order, error.code)
        raise
    _note(service, replace(order, request_id=stream.outcome.request_id), "started")
    return stream


def _note(service: Service, order: SpeechOrder, what: str) -> None:
    """Write a request down, its text only if the settings ask for it."""
    text = order.script.text
    whole = text if isinstance(text, str) else "\n".join(turn.text for turn in text)
    digest = sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_DIGITS]
    told = f", {whole!r}" if service.settings.speech.log_text else ""
    logger.info(
        "speech %s of %s: %s, %d characters, SHA-256 %s%s",
        *(order.request_id or "-", order.caller or "-", what, order.script.characters),
        *(digest, told),
    )


def _headers(outcome: Outcome) -> dict[str, str]:
    headers = {
        "x-segments": str(outcome.segments),
        "x-estimated-seconds": f"{outcome.estimated_s:.1f}",
        "x-speakers": ",".join(
            f"{quote(speaker)}={quote(voice)}" for speaker, voice in outcome.speakers.items()
        ),
        "x-ai-generated": "true",
    }
    if outcome.text.unspoken_characters:
        headers["x-unspoken-characters"] = str(outcome.text.unspoken_characters)
    return headers


async def _cut_off(stream: OpenStream) -> AsyncGenerator[bytes, None]:
    async with aclosing(stream.body) as body:
        try:
            async for data in body:
                yield data
        except ServeError as error:
            # Whoever logs this must not log the text that the message may quote.
            raise StreamCutError(f"{stream.outcome.request_id}: {error.code}") from None
