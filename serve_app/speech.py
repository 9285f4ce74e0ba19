"""From a request to a stream of bytes: check, plan, fan out, stitch, encode.

Everything that can be refused is refused before anything starts. The stream is opened only once
its first audio exists, so that a failure until then is still a proper HTTP error.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from serve_app.config import SpeechSettings
from serve_app.core.audio import Pcm, pcm_from_bytes
from serve_app.core.casting import cast
from serve_app.core.fair import FairPool
from serve_app.core.plan import Plan, plan
from serve_app.core.script import Script, parse
from serve_app.core.stitch import Stitcher, StitchRules
from serve_app.encode import FORMATS, Encoder, open_encoder
from serve_app.engines.base import EngineInfo, Line
from serve_app.errors import (
    InputTooLongError,
    InvalidInputError,
    OverloadedError,
    UnknownFormatError,
)
from serve_app.fanout import FanOut
from serve_app.outcomes import Outcome, Outcomes
from serve_app.pieces import FanOutRules, Part, PartAudio, PartEnd, Piece, Speak
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
    """A stream whose first bytes exist.

    Args:
        outcome: Its progress.
        media_type: MIME type.
        body: The bytes; closing it cancels everything behind.
    """

    outcome: Outcome
    media_type: str
    body: AsyncGenerator[bytes, None]


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
        self._refuse(order)
        script, voices, planned = await asyncio.to_thread(self._plan, order, engine)
        outcome = Outcome(
            request_id=order.request_id or uuid.uuid4().hex,
            segments=len(planned.segments),
            estimated_s=planned.est_s,
            speakers=voices,
            started_s=self.outcomes.clock(),
        )
        self.outcomes.add(outcome)
        gains_db = {voice.id: voice.gain_db for voice in engine.voices}
        renderer = Renderer(gains_db, open_encoder(order.audio_format), script.final_pause_s)
        body = self._body(planned, renderer, outcome)
        try:
            first = await anext(body, b"")
        except BaseException:
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

    def _plan(self, order: SpeechOrder, engine: EngineInfo) -> tuple[Script, dict[str, str], Plan]:
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
        planned = plan(script, voices=voices, revision=engine.revision, seed=order.seed)
        return script, voices, planned

    async def _body(
        self, planned: Plan, renderer: Renderer, outcome: Outcome
    ) -> AsyncGenerator[bytes, None]:
        attributes: dict[str, str | int | float | bool | None] = {
            "vibevoice.request.id": outcome.request_id,
            "vibevoice.request.segments": outcome.segments,
            "vibevoice.request.speakers": len(outcome.speakers),
        }
        try:
            with open_span("speech", attributes=attributes) as span:
                outcome.trace_id = span.trace_id
                with span.active():
                    fan_out = FanOut(
                        planned.segments,
                        self._speak,
                        self._pool,
                        self._rules,
                        voices=outcome.speakers,
                        on_event=outcome.event,
                    )
                async with aclosing(self._rendered(fan_out, renderer, outcome)) as rendered:
                    async for data in rendered:
                        yield data
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


async def _resumed(first: bytes, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(body):
        yield first
        async for data in body:
            yield data


class Renderer:
    """Pieces in, encoded bytes out; :meth:`push` and :meth:`close` run in a worker thread.

    Args:
        gains_db: Fixed gain by voice.
        encoder: The stream's one encoder.
        final_pause_s: Pause that the script asks for at its end.
    """

    def __init__(
        self, gains_db: Mapping[str, float], encoder: Encoder, final_pause_s: float | None
    ) -> None:
        self._stitcher = Stitcher(StitchRules(), gains_db)
        self._encoder, self._final_pause_s = encoder, final_pause_s
        self._part: Part | None = None
        self._working = threading.Lock()
        self._aborted = False

    @property
    def samples_out(self) -> int:
        """Samples handed to the encoder so far."""
        return self._stitcher.samples_out

    def push(self, piece: Piece) -> bytes:
        """Stitch and encode one piece; returns the bytes that are ready."""
        return self._exclusive(lambda: self._push(piece))

    def close(self) -> bytes:
        """Finish the stream; returns its last bytes."""
        return self._exclusive(
            lambda: self._encode(self._stitcher.finish(self._final_pause_s)) + self._encoder.close()
        )

    def abort(self) -> None:
        """Free the encoder, at once or when the worker that still uses it is done."""
        self._aborted = True
        if self._working.acquire(blocking=False):
            try:
                self._encoder.abort()
            finally:
                self._working.release()

    def _exclusive(self, work: Callable[[], bytes]) -> bytes:
        # A cancelled stream leaves its worker running: the two must not free what the other uses.
        with self._working:
            try:
                return b"" if self._aborted else work()
            finally:
                if self._aborted:
                    self._encoder.abort()

    def _push(self, piece: Piece) -> bytes:
        if isinstance(piece, PartAudio):
            if piece.part is not self._part:
                self._stitcher.begin(piece.part.before, piece.part.pause_s)
                self._part = piece.part
            return self._encode(
                self._stitcher.feed(pcm_from_bytes(piece.chunk.pcm), piece.chunk.voice)
            )
        self._part = None
        return self._encode(self._stitcher.end())

    def _encode(self, pcm: Pcm) -> bytes:
        return self._encoder.encode(pcm) if len(pcm) else b""
