"""From a request to a stream of bytes: check, plan, fan out, stitch, encode.

Everything that can be refused is refused before anything starts. Then the first segment is sent
out, and once a replica has taken it the rest is planned: no sooner, because planning would slow
down its way there. The stream is opened only once its first audio exists and its plan is whole, so
that a failure until then is still a proper HTTP error.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from serve_app.ahead import Ahead
from serve_app.config import SpeechSettings
from serve_app.core.fair import FairPool
from serve_app.core.plan import PlannedSegment, plan_segments
from serve_app.encode import FORMATS, open_encoder
from serve_app.engines.base import EngineInfo, SpeakTask
from serve_app.errors import (
    InputTooLongError,
    InvalidInputError,
    OverloadedError,
    UnknownFormatError,
)
from serve_app.fanout import FanOut
from serve_app.outcomes import Outcome, Outcomes
from serve_app.pieces import FanOutRules, PartEnd, Speak, TakeItem, Waiting
from serve_app.prepare import Ability, Prepared, ScriptOrder, prepare
from serve_app.render import Renderer
from serve_app.request_watch import NoRequestHook, RequestHook, RequestWatch
from telemetry.spans import open_span

_ADMIT_LOOK_S = 0.5
_INTERACTIVE_SHARE = 0.25
"""Of the streams at once, those that requests of a lower priority than interactive leave free."""
_PLANNED_AT_ONCE = 300
"""Characters that are planned in less time than a thread costs: well under a millisecond."""


@dataclass(frozen=True, slots=True)
class SpeechOrder:
    """A request for speech, free of HTTP.

    Args:
        script: What to say.
        audio_format: Key of ``encode.FORMATS``.
        speed: 0.25..4, of the finished audio.
        seed: Changes every take when given.
        priority: Places on the cards go to lower numbers first.
        request_id: Names the stream; made here if empty.
        caller: Who asks, as its outcome remembers it.
    """

    script: ScriptOrder
    audio_format: str
    speed: float = 1.0
    seed: int | None = None
    priority: int = 0
    request_id: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose first bytes exist and whose plan is whole.

    Args:
        outcome: Its progress.
        media_type: MIME type.
        body: The bytes, ``whole`` if all of them exist; closing it cancels everything behind.
    """

    outcome: Outcome
    media_type: str
    body: Ahead


@dataclass(frozen=True, slots=True)
class _Draft:
    """An order that nothing speaks against, planned as far as its first segment.

    Args:
        prepared: What to say.
        first: The first segment.
        rest: Plans those behind it.
    """

    prepared: Prepared
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
        ability: What the engine can speak.
        speak: Speaks one task on some replica.
        pool: Places shared by all requests.
        outcomes: Where progress is noted.
        admit: Raises if the fleet takes nothing new now.
        requests: Told of each request when it has ended.
    """

    def __init__(
        self,
        settings: SpeechSettings,
        *,
        speak: Speak,
        pool: FairPool,
        outcomes: Outcomes,
        ability: Ability | None = None,
        admit: Callable[[], None] = lambda: None,
        requests: RequestHook | None = None,
    ) -> None:
        self._settings, self._rules = settings, rules_of(settings)
        self._speak, self._pool, self.outcomes = speak, pool, outcomes
        self._ability = ability or Ability()
        self._admit = admit
        self._requests = requests or NoRequestHook()

    async def open(self, order: SpeechOrder, engine: EngineInfo) -> OpenStream:
        """Check, plan and start an order; returns with its first bytes ready.

        Raises:
            InvalidInputError: The order can't be served; nothing was started.
            OverloadedError: Too many streams run.
            AllPausedError: Every card is too hot.
            ServeError: It failed before its first audio.
        """
        started_s = self.outcomes.clock()
        self._refuse(order)
        self._admit()
        watch = RequestWatch(engine.name, engine.model, simulated=engine.name == "simulated")
        with watch.plan.on():
            if order.script.characters <= _PLANNED_AT_ONCE:
                draft = self._draft(order, engine)
            else:
                draft = await asyncio.to_thread(self._draft, order, engine)
        self._refuse_crowd(order)  # others may have come meanwhile
        request_id = order.request_id or uuid.uuid4().hex
        prepared = draft.prepared
        gains_db = {voice.id: voice.gain_db for voice in engine.voices}
        encoder = open_encoder(order.audio_format)
        renderer = Renderer(
            gains_db,
            encoder,
            prepared.script.final_pause_s,
            order.speed,
            light=FORMATS[order.audio_format].light,
            watch=watch,
        )
        outcome = Outcome(
            request_id,
            prepared.voices,
            started_s,
            prepared.report,
            caller=order.caller,
            speed=order.speed,
            watch=watch,
        )
        outcome.planned((draft.first,))
        self.outcomes.add(outcome)
        taken = asyncio.Event()
        rest = asyncio.create_task(_planned_rest(draft, outcome, taken))
        fan_out = partial(
            FanOut,
            (draft.first,),
            _noting(self._speak, taken),
            self._pool.at(order.priority),
            self._rules,
            voices=prepared.voices,
            options=order.script.options,
            on_event=outcome.event,
            rest=rest,
        )
        body = self._body(fan_out, renderer, outcome)
        try:
            first = await self._begun(body, taken, outcome)
            await rest
        except BaseException as error:
            outcome.fail(error)
            rest.cancel()
            await body.aclose()
            raise
        ahead = Ahead(body, first)
        if outcome.segments == 1:
            await ahead.read_on(self._settings.whole_answer_wait_s)
        return OpenStream(outcome, FORMATS[order.audio_format].media_type, ahead)

    async def _begun(
        self, body: AsyncGenerator[bytes, None], taken: asyncio.Event, outcome: Outcome
    ) -> bytes:
        """The first bytes of *body*.

        A request that no replica has taken yet is a new one: it is refused as soon as the fleet
        takes nothing new, instead of waiting without a sound until it times out.
        """
        first = asyncio.ensure_future(_read(body))
        try:
            while not first.done():
                await asyncio.wait({first}, timeout=_ADMIT_LOOK_S)
                if not (first.done() or taken.is_set()):
                    self._admit()
            return first.result()
        except BaseException as error:
            outcome.fail(error)  # before the cancelled body calls it the client's doing
            raise
        finally:
            first.cancel()
            await asyncio.wait({first})

    def _refuse(self, order: SpeechOrder) -> None:
        limit = self._settings.max_input_characters
        if order.script.characters > limit:
            raise InputTooLongError(
                f"The input has {order.script.characters} characters; one request may carry "
                f"{limit}. Send it in several requests.",
                "input",
            )
        if order.audio_format not in FORMATS:
            raise UnknownFormatError(
                f"Format {order.audio_format!r} is not written here; use one of "
                f"{', '.join(FORMATS)}.",
                "response_format",
            )
        self._refuse_crowd(order)

    def _refuse_crowd(self, order: SpeechOrder) -> None:
        known = self.outcomes.get(order.request_id, order.caller)
        if known is not None and known.state == "running":
            raise InvalidInputError(
                f"Request id {order.request_id!r} belongs to a stream that still runs; send a new "
                "x-request-id, or none."
            )
        limit = self._settings.max_concurrent_requests
        if order.priority > 0:
            limit -= int(limit * _INTERACTIVE_SHARE)
        if self.outcomes.running >= limit:
            raise OverloadedError(
                f"{self.outcomes.running} streams run, and {limit} is the limit for this priority; "
                "try again shortly.",
                retry_after_s=self.outcomes.next_end_s(),
            )

    def _draft(self, order: SpeechOrder, engine: EngineInfo) -> _Draft:
        prepared = prepare(order.script, engine, self._ability)
        segments = plan_segments(
            prepared.script,
            voices=prepared.voices,
            revision=engine.revision,
            options=order.script.options,
            seed=order.seed,
        )
        return _Draft(prepared, next(segments), segments)

    async def _body(
        self, make_fan_out: Callable[[], FanOut], renderer: Renderer, outcome: Outcome
    ) -> AsyncGenerator[bytes, None]:
        attributes: dict[str, str | int | float | bool | None] = {
            "vibevoice.request.id": outcome.request_id,
            "vibevoice.request.speakers": len(outcome.speakers),
        }
        context = None
        try:
            with open_span("speech", attributes=attributes, began=outcome.watch.began) as span:
                outcome.trace_id, context = span.trace_id, span.context
                with span.active():
                    fan_out = make_fan_out()
                try:
                    async with aclosing(self._rendered(fan_out, renderer, outcome)) as rendered:
                        async for data in rendered:
                            yield data
                finally:
                    span.set({"vibevoice.request.segments": outcome.segments})
                    outcome.watch.tell(span)
        except BaseException as error:
            outcome.fail(error)
            raise
        finally:
            outcome.wall_s = self.outcomes.clock() - outcome.started_s
            self._requests.answered(outcome.record(), context)
            renderer.abort()

    async def _rendered(
        self, fan_out: FanOut, renderer: Renderer, outcome: Outcome
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(fan_out.batches()) as batches:
            async for batch in batches:
                if renderer.is_brief(batch):
                    ready = renderer.push(batch)
                else:
                    ready = await asyncio.to_thread(renderer.push, batch)
                outcome.samples_sent = renderer.samples_out
                if isinstance(batch[-1], PartEnd):
                    outcome.part_done(batch[-1])
                if ready:
                    outcome.sound(self.outcomes.clock())
                    yield ready
                    outcome.watch.playback.taken(self.outcomes.clock())
        rest = renderer.close() if renderer.is_brief() else await asyncio.to_thread(renderer.close)
        outcome.samples_sent = renderer.samples_out
        outcome.state = "complete"
        if rest:
            yield rest


async def _read(body: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(body, b"")


def _noting(speak: Speak, taken: asyncio.Event) -> Speak:
    """*speak*, which sets *taken* when a replica has a task."""

    async def noted(task: SpeakTask) -> AsyncGenerator[TakeItem | Waiting, None]:
        async with aclosing(speak(task)) as items:
            async for item in items:
                if not isinstance(item, Waiting):
                    taken.set()
                yield item

    return noted


async def _planned_rest(
    draft: _Draft, outcome: Outcome, taken: asyncio.Event
) -> tuple[PlannedSegment, ...]:
    await taken.wait()
    with outcome.watch.plan.on():
        if draft.prepared.report.characters <= _PLANNED_AT_ONCE:
            rest = tuple(draft.rest)
        else:
            rest = await asyncio.to_thread(tuple, draft.rest)
    outcome.planned(rest)
    return rest
