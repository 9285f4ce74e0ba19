"""How streams went: progress while they run, and how they ended.

A byte stream can't carry its own end: a client that asks ``GET /v1/audio/speech/{id}`` learns
whether it is whole, what was spoken again, and which parts are doubtful. Bounded: the oldest
finished streams are forgotten first.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from serve_app.core.audio import duration_s
from serve_app.core.plan import PlannedSegment
from serve_app.errors import ServeError
from serve_app.pieces import Delivery, PartEnd

State = Literal["running", "complete", "failed", "cancelled"]
_EVENTS_KEPT = 200


@dataclass(slots=True)
class Outcome:
    """One stream's progress and end.

    Args:
        request_id: As in ``x-request-id``.
        speakers: Voice by speaker.
        started_s: Monotonic time at which the request came.
        segments: Planned; all of them are before the first bytes leave.
        estimated_s: Audio seconds that those planned are expected to give.
    """

    request_id: str
    speakers: dict[str, str]
    started_s: float
    segments: int = 0
    estimated_s: float = 0.0
    state: State = "running"
    segments_done: int = 0
    spoken_s: float = 0.0
    samples_sent: int = 0
    first_audio_s: float | None = None
    wall_s: float | None = None
    events: list[Delivery] = field(default_factory=list)
    doubtful: list[dict[str, object]] = field(default_factory=list)
    cards: dict[str, float] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    trace_id: str = ""
    error: str | None = None

    @property
    def audio_s(self) -> float:
        """Seconds of audio sent so far."""
        return duration_s(self.samples_sent)

    def planned(self, segments: tuple[PlannedSegment, ...]) -> None:
        """Note further segments of the plan."""
        self.segments += len(segments)
        self.estimated_s += sum(item.segment.est_s for item in segments)

    def sound(self, now_s: float) -> None:
        """Bytes leave; the first of them count."""
        if self.first_audio_s is None:
            self.first_audio_s = now_s - self.started_s

    def fail(self, error: BaseException) -> None:
        """Note why the stream ended, unless it had come to its end before."""
        if self.state != "running":
            return
        if isinstance(error, (GeneratorExit, asyncio.CancelledError)):
            self.state, self.error = "cancelled", "the client left"
        else:
            message = error.message if isinstance(error, ServeError) else type(error).__name__
            self.state, self.error = "failed", message

    def event(self, event: Delivery) -> None:
        """Note a retry or split, the first few hundred of them."""
        if len(self.events) < _EVENTS_KEPT:
            self.events.append(event)

    def part_done(self, end: PartEnd) -> None:
        """Note a finished part."""
        record = end.report.record
        self.spoken_s += record.audio_s
        self.replicas[record.replica] = self.replicas.get(record.replica, 0) + 1
        if record.card_uuid is not None:
            card = record.card_uuid
            self.cards[card] = self.cards.get(card, 0.0) + record.audio_s
        if end.last:
            self.segments_done += 1
        if not end.verdict.ok and len(self.doubtful) < _EVENTS_KEPT:
            self.doubtful.append(
                {
                    "segment": end.part.index,
                    "ends_at_s": round(self.audio_s, 3),
                    "why": str(end.verdict),
                }
            )

    def to_json(self, now_s: float) -> dict[str, object]:
        """As the API answers; *now_s* is the registry's clock."""
        retries = [event for event in self.events if event.kind != "split"]
        return {
            "id": self.request_id,
            "object": "audio.speech",
            "status": self.state,
            "segments": self.segments,
            "segments_done": self.segments_done,
            "estimated_s": round(self.estimated_s, 3),
            "audio_s": round(self.audio_s, 3),
            "spoken_s": round(self.spoken_s, 3),
            "elapsed_s": round(
                self.wall_s if self.wall_s is not None else now_s - self.started_s, 3
            ),
            "first_audio_s": self.first_audio_s and round(self.first_audio_s, 3),
            "retries": len(retries),
            "retried_segments": sorted({event.index for event in retries}),
            "split_segments": sorted({e.index for e in self.events if e.kind == "split"}),
            "doubtful": self.doubtful,
            "speakers": self.speakers,
            "cards": {card: round(audio_s, 3) for card, audio_s in self.cards.items()},
            "replicas": self.replicas,
            "trace_id": self.trace_id,
            "error": self.error,
        }


class Outcomes:
    """The last streams by id.

    Args:
        limit: How many are remembered.
        clock: Monotonic seconds.
    """

    def __init__(self, limit: int = 512, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self.clock = limit, clock
        self._by_id: OrderedDict[str, Outcome] = OrderedDict()

    def add(self, outcome: Outcome) -> None:
        """Remember a stream that starts; the oldest that no longer runs makes room."""
        self._by_id[outcome.request_id] = outcome
        while len(self._by_id) > self._limit:
            ended = (key for key, kept in self._by_id.items() if kept.state != "running")
            del self._by_id[next(ended, next(iter(self._by_id)))]

    def get(self, request_id: str) -> Outcome | None:
        """The stream of that id, if it is remembered."""
        return self._by_id.get(request_id)

    def all(self) -> tuple[Outcome, ...]:
        """Those remembered, oldest first."""
        return tuple(self._by_id.values())

    @property
    def running(self) -> int:
        """Streams that run right now."""
        return sum(1 for outcome in self._by_id.values() if outcome.state == "running")
