"""A replica's work without Ray: an engine, its card, and what is told about each synthesis.

:class:`Speaker` is what ``synth`` wraps as a deployment. It speaks tasks, measures them, and
tells its node and the metrics about each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from serve_app.core.audio import BYTES_PER_S
from serve_app.core.trail import trail
from serve_app.engines.base import (
    Chunk,
    Engine,
    EngineInfo,
    Line,
    SpeakTask,
    SpeechEnd,
)
from serve_app.engines.slots import Slots
from serve_app.errors import BadAudioError, EngineError, ServeError
from serve_app.permit import Permit
from serve_app.pieces import SpeechReport, Started, TakeItem
from telemetry.card_spans import CardSpans
from telemetry.core.card_use import Occupancy, share_of
from telemetry.core.sample import CANCELLED, SynthesisRecord
from telemetry.spans import Span, describe, error_type, synthesis_span
from telemetry.speech_metrics import SynthesisHook

logger = logging.getLogger(__name__)

TEST_WORDS = "The stage is set, and every voice is ready."
_TEST_S = 3.0


@dataclass(frozen=True, slots=True)
class ReplicaIdentity:
    """Where a replica runs.

    Args:
        replica: Serve's replica id.
        node: Ray node id.
        card_uuid: UUID of its card, or None.
        simulated: True if its card or its engine is simulated.
    """

    replica: str
    node: str
    card_uuid: str | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """What a replica tells an ingress.

    Args:
        identity: Where it runs.
        engine: What it speaks with.
        slots: Segments at once.
    """

    identity: ReplicaIdentity
    engine: EngineInfo
    slots: int


class NodeSink(SynthesisHook, Protocol):
    """The node's book of what its replicas do; no method blocks or raises."""

    def load(self, busy: int, slots: int) -> None:
        """The number of segments being spoken has changed."""
        ...


class Speaker:
    """Speaks tasks with one engine and tells its node and the metrics about each.

    Args:
        engine: The engine; owned, closed by :meth:`close`.
        identity: Where this replica runs.
        node: The node's book.
        metrics: Turns records into metrics.
        permit: What the thermal guard allows this card.
        card: Puts on the spans what the card did meanwhile; None where there is none.
        clock: Monotonic seconds.
        wall_clock: Unix seconds, for time stamps only.
    """

    def __init__(
        self,
        engine: Engine,
        identity: ReplicaIdentity,
        node: NodeSink,
        metrics: SynthesisHook,
        *,
        permit: Permit | None = None,
        card: CardSpans | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine, self._identity = engine, identity
        self._node, self._metrics = node, metrics
        self.permit = permit or Permit()
        self._clock, self._wall_clock = clock, wall_clock
        self._card, self._occupancy = card, Occupancy(clock())
        self._busy, self._closed = 0, False
        self._places = Slots(engine.slots)

    @property
    def info(self) -> ReplicaInfo:
        """Who and what this replica is."""
        return ReplicaInfo(self._identity, self._engine.info, self._engine.slots)

    def on_card(self, card_uuid: str | None) -> None:
        """The card that it runs on, where that is known only after its start."""
        self._identity = replace(self._identity, card_uuid=card_uuid)

    async def warm_up(self) -> None:
        """Speak a sentence, so that a replica that is up has spoken.

        Raises:
            EngineError, BadAudioError: The engine does not work.
        """
        info = self._engine.info
        voice = info.test_voice or info.voices[0].id
        line = Line("Test", voice, TEST_WORDS)
        task = SpeakTask(key="warm-up", lines=(line,), seed=0, est_s=_TEST_S)
        heard = 0
        async with aclosing(self._engine.speak(task)) as items:
            async for item in items:
                heard += len(item.pcm) if isinstance(item, Chunk) else 0
        if heard == 0:
            raise BadAudioError(f"the engine gave no audio for the test {TEST_WORDS!r}")

    async def speak(self, task: SpeakTask) -> AsyncGenerator[TakeItem, None]:
        """Speak one task: :class:`Started`, chunks, :class:`SpeechReport`.

        An engine that has lowered its slots is sent more than it has; who then waits has not
        started yet.

        Raises:
            CardPausedError: The card is too hot for it; nothing was started.
            ServeError: As the engine's; anything else becomes an EngineError.
        """
        self.permit.check(self._busy, self._engine.slots)
        self._change_load(+1)
        try:
            async with self._place(), aclosing(self._told(task)) as items:
                async for item in items:
                    yield item
        finally:
            self._change_load(-1)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the slots that the engine has now."""
        self._places.resize(self._engine.slots)
        await self._places.acquire()
        try:
            yield
        finally:
            self._places.resize(self._engine.slots)
            self._places.release()

    async def _told(self, task: SpeakTask) -> AsyncGenerator[TakeItem, None]:
        """Speak a task and tell of it."""
        with self._span(task) as span:
            watch = _Watch(span, self._clock, self._occupancy)
            try:
                yield Started(self._identity.replica, self._engine.info.revision)
                async with aclosing(self._spoken(task, watch)) as items:
                    async for item in items:
                        yield item
            except BaseException as failure:
                # Whoever has the report may leave before the stream is exhausted.
                if not watch.complete:
                    watch.error = CANCELLED if _is_leaving(failure) else error_type(failure)
                raise
            finally:
                self._tell(task, watch)

    async def _spoken(self, task: SpeakTask, watch: _Watch) -> AsyncGenerator[TakeItem, None]:
        try:
            async with aclosing(self._engine.speak(task)) as items:
                async for item in items:
                    if isinstance(item, Chunk):
                        watch.chunk(item)
                        yield item
                    else:
                        watch.end = item
        except ServeError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever it is
            logger.error(  # noqa: TRY400 - its message may quote the text
                "segment %s failed inside the engine: %s", task.key[:12], trail(failure)
            )
            raise EngineError(f"{type(failure).__name__} in the engine") from None
        watch.stop()
        watch.complete = True
        yield SpeechReport(watch.end, self._record(task, watch))

    def _span(self, task: SpeakTask) -> AbstractContextManager[Span]:
        info = self._engine.info
        return synthesis_span(
            model=info.model,
            engine=info.name,
            attributes={"vibevoice.segment.index": task.tag, "vibevoice.segment.key": task.key},
            end=Span.end if self._card is None else self._card.end,
        )

    def _change_load(self, by: int) -> None:
        self._busy += by
        self.report_load()

    def report_load(self) -> None:
        """Say again how busy this replica is, or goodbye; the node forgets who falls silent."""
        self._node.load(self._busy, 0 if self._closed else self._engine.slots)

    def _tell(self, task: SpeakTask, watch: _Watch) -> None:
        watch.stop()
        record = self._record(task, watch)
        describe(watch.span, record)
        for hook in (self._metrics, self._node):
            hook.spoken(record, watch.span.context)

    async def health(self) -> None:
        """Raise if the engine is beyond repair."""
        await self._engine.health()

    async def close(self) -> None:
        """Stop the engine; the node is told that nothing runs here any more."""
        self._closed = True
        self.report_load()
        self._places.close()
        if self._card is not None:
            await self._card.close()
        await self._engine.close()

    def _record(self, task: SpeakTask, watch: _Watch) -> SynthesisRecord:
        info = self._engine.info
        return SynthesisRecord(
            timestamp=self._wall_clock(),
            node=self._identity.node,
            replica=self._identity.replica,
            engine=info.name,
            model=info.model,
            card_uuid=self._identity.card_uuid,
            simulated=self._identity.simulated,
            input_characters=sum(len(line.text) for line in task.lines),
            input_tokens=watch.end.input_tokens,
            output_tokens=watch.end.output_frames,
            audio_s=watch.audio_bytes / BYTES_PER_S,
            wall_s=watch.wall_s,
            queue_s=task.waited_s,
            first_audio_s=watch.first_audio_s,
            slots=self._engine.slots,
            trace_id=watch.span.trace_id,
            error=watch.error,
            card_share=watch.card_share,
        )


class _Watch:
    """Times one synthesis, from its slot to its end."""

    def __init__(self, span: Span, clock: Callable[[], float], occupancy: Occupancy) -> None:
        self.span, self._clock, self._occupancy = span, clock, occupancy
        self._started_s = clock()
        self._slot_s = occupancy.slot_s(self._started_s)
        self.card_share = 1.0
        occupancy.change(self._started_s, +1)
        self.wall_s: float = -1.0
        self.audio_bytes = 0
        self.first_audio_s: float | None = None
        self.end = SpeechEnd("length", 0, 0)
        self.complete = False
        self.error: str | None = None

    def chunk(self, chunk: Chunk) -> None:
        """Count a chunk."""
        if self.first_audio_s is None:
            self.first_audio_s = self._clock() - self._started_s
        self.audio_bytes += len(chunk.pcm)

    def stop(self) -> None:
        """Stop the time, once."""
        if self.wall_s < 0:
            ended_s = self._clock()
            self.wall_s = ended_s - self._started_s
            all_s = self._occupancy.slot_s(ended_s) - self._slot_s
            self.card_share = share_of(self.wall_s, all_s)
            self._occupancy.change(ended_s, -1)


def _is_leaving(failure: BaseException) -> bool:
    return isinstance(failure, (asyncio.CancelledError, GeneratorExit))
