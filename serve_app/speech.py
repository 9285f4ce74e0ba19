"""From a request to a stream of bytes: check, plan, fan out, stitch, encode.

Everything that can be refused is refused before anything starts. Then the first segment is sent
out, and once a replica has taken it the rest is planned: no sooner, because planning would slow
down its way there. The stream is opened only once its first audio exists and its plan is whole, so
that a failure until then is still a proper HTTP error.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from serve_app.config import SpeechSettings
from serve_app.core.casting import cast
from serve_app.core.fair import FairPool
from serve_app.core.plan import PlannedSegment, plan_segments
from serve_app.core.script import Script, parse
from serve_app.encode import FORMATS, open_encoder
from serve_app.engines.base import EngineInfo, Line, SpeakTask
from serve_app.errors import (
    InputTooLongError,
    InvalidInputError,
    OverloadedError,
    UnknownFormatError,
)
from serve_app.fanout import FanOut
from serve_app.outcomes import Outcome, Outcomes
from serve_app.pieces import FanOutRules, PartEnd, Speak, TakeItem
from serve_app.render import Renderer
from telemetry.spans import open_span


@dataclass(frozen=True, slots=True)
class SpeechOrder:
    """A request for speech, free of HTTP.

    Args:
        text: The script.
        voice: Voice id, alias or ``auto``.
        audio_format: Key of ``encode.FORMATS``.
        speakers: Voice id by speaker name, as far as the client cares.
        seed: Changes every take when given.
        request_id: Names the stream; made here if empty.
    """

    text: str
    voice: str
    audio_format: str
    speakers: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose first bytes exist and whose plan is whole.

    Args:
        outcome: Its progress.
        media_type: MIME type.
        body: The bytes; closing it cancels everything behind.
    """

    outcome: Outcome
    media_type: str
    body: AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class _Draft:
    """An order that nothing speaks against, planned as far as its first segment.

    Args:
        script: What to say.
        voices: Voice by speaker.
        first: The first segment.
        rest: Plans those behind it.
    """

    script: Script
    voices: dict[str, str]
    first: PlannedSegment
    rest: Iterator[PlannedSegment]


def rules_of(settings: SpeechSettings) -> FanOutRules:
    """The fan-out's rules from the settings."""
    return FanOutRules(
        look_ahead=settings.look_ahead_segments,
        buffer_bytes=settings.buffer_mib * 1024 * 1024,
        attempts=settings.attempts,
        takes=settings.takes,
        assign_timeout_s=settings.assign_timeout_s,
        first_chunk_timeout_s=settings.first_chunk_timeout_s,
        chunk_timeout_s=settings.chunk_timeout_s,
        live=settings.live,
    )


class SpeechService:
    """Turns orders into streams.

    Args:
        settings: Limits.
        voice_aliases: Voice id by the name that clients may send.
        speak: Speaks one task on some replica.
        pool: Places shared by all requests.
        outcomes: Where progress is noted.
        check: The engine's own check of what it can't speak, before anything starts.
    """

    def __init__(
        self,
        settings: SpeechSettings,
        *,
        speak: Speak,
        pool: FairPool,
        outcomes: Outcomes,
        voice_aliases: Mapping[str, str] | None = None,
        check: Callable[[tuple[Line, ...]], None] = lambda _lines: None,
    ) -> None:
        self._settings, self._rules = settings, rules_of(settings)
        self._speak, self._pool, self.outcomes = speak, pool, outcomes
        self._aliases = dict(voice_aliases or {})
        self._check = check

    async def open(self, order: SpeechOrder, engine: EngineInfo) -> OpenStream:
        """Check, plan and start an order; returns with its first bytes ready.

        Raises:
            InvalidInputError: The order can't be served; nothing was started.
            OverloadedError: Too many streams run.
            ServeError: It failed before its first audio.
        """
        started_s = self.outcomes.clock()
        self._refuse(order)
        draft = await asyncio.to_thread(self._draft, order, engine)
        request_id = order.request_id or uuid.uuid4().hex
        outcome = Outcome(request_id, draft.voices, started_s)
        outcome.planned((draft.first,))
        self.outcomes.add(outcome)
        gains_db = {voice.id: voice.gain_db for voice in engine.voices}
        encoder = open_encoder(order.audio_format)
        renderer = Renderer(gains_db, encoder, draft.script.final_pause_s)
        taken = asyncio.Event()
        rest = asyncio.create_task(_planned_rest(draft, outcome, taken))
        fan_out = partial(
            FanOut,
            (draft.first,),
            _noting(self._speak, taken),
            self._pool,
            self._rules,
            voices=draft.voices,
            on_event=outcome.event,
            rest=rest,
        )
        body = self._body(fan_out, renderer, outcome)
        try:
            first = await anext(body, b"")
            await rest
        except BaseException as error:
            outcome.fail(error)
            rest.cancel()
            await body.aclose()
            raise
        return OpenStream(outcome, FORMATS[order.audio_format].media_type, _resumed(first, body))

    def _refuse(self, order: SpeechOrder) -> None:
        limit = self._settings.max_input_characters
        if len(order.text) > limit:
            raise InputTooLongError(
                f"The input has {len(order.text)} characters; one request may carry {limit}. "
                "Send it in several requests, or raise speech.max_input_characters.",
                "input",
            )
        if order.audio_format not in FORMATS:
            raise UnknownFormatError(
                f"Format {order.audio_format!r} is not written here; use one of "
                f"{', '.join(FORMATS)}.",
                "response_format",
            )
        known = self.outcomes.get(order.request_id)
        if known is not None and known.state == "running":
            raise InvalidInputError(
                f"Request id {order.request_id!r} belongs to a stream that still runs; send a new "
                "x-request-id, or none."
            )
        if self.outcomes.running >= self._settings.max_concurrent_requests:
            raise OverloadedError(
                f"{self.outcomes.running} streams run, which is the limit; try again shortly."
            )

    def _draft(self, order: SpeechOrder, engine: EngineInfo) -> _Draft:
        script = parse(order.text)
        voices = cast(
            script.speakers,
            {voice.id: voice.name for voice in engine.voices},
            requested=self._aliases.get(order.voice, order.voice),
            explicit={
                name: self._aliases.get(voice, voice) for name, voice in order.speakers.items()
            },
        )
        self._check(
            tuple(
                Line(turn.speaker, voices[turn.speaker], paragraph.text)
                for turn in script.turns
                for paragraph in turn.paragraphs
            )
        )
        segments = plan_segments(script, voices=voices, revision=engine.revision, seed=order.seed)
        return _Draft(script, voices, next(segments), segments)

    async def _body(
        self, make_fan_out: Callable[[], FanOut], renderer: Renderer, outcome: Outcome
    ) -> AsyncGenerator[bytes, None]:
        attributes: dict[str, str | int | float | bool | None] = {
            "vibevoice.request.id": outcome.request_id,
            "vibevoice.request.speakers": len(outcome.speakers),
        }
        try:
            with open_span("speech", attributes=attributes) as span:
                outcome.trace_id = span.trace_id
                with span.active():
                    fan_out = make_fan_out()
                try:
                    async with aclosing(self._rendered(fan_out, renderer, outcome)) as rendered:
                        async for data in rendered:
                            yield data
                finally:
                    span.set({"vibevoice.request.segments": outcome.segments})
        except BaseException as error:
            outcome.fail(error)
            raise
        finally:
            outcome.wall_s = self.outcomes.clock() - outcome.started_s
            renderer.abort()

    async def _rendered(
        self, fan_out: FanOut, renderer: Renderer, outcome: Outcome
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(fan_out.pieces()) as pieces:
            async for piece in pieces:
                ready = await asyncio.to_thread(renderer.push, piece)
                outcome.samples_sent = renderer.samples_out
                if isinstance(piece, PartEnd):
                    outcome.part_done(piece)
                if ready:
                    outcome.sound(self.outcomes.clock())
                    yield ready
        rest = await asyncio.to_thread(renderer.close)
        outcome.samples_sent = renderer.samples_out
        outcome.state = "complete"
        if rest:
            yield rest


def _noting(speak: Speak, taken: asyncio.Event) -> Speak:
    """*speak*, which sets *taken* when a replica has a task."""

    async def noted(task: SpeakTask) -> AsyncGenerator[TakeItem, None]:
        async with aclosing(speak(task)) as items:
            async for item in items:
                taken.set()
                yield item

    return noted


async def _planned_rest(
    draft: _Draft, outcome: Outcome, taken: asyncio.Event
) -> tuple[PlannedSegment, ...]:
    await taken.wait()
    rest = await asyncio.to_thread(tuple, draft.rest)
    outcome.planned(rest)
    return rest


async def _resumed(first: bytes, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(body):
        yield first
        async for data in body:
            yield data
