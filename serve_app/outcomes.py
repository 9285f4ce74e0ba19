"""How streams went: progress while they run, and how they ended.

A byte stream can't carry its own end: a client that asks ``GET /v1/audio/speech/{id}`` learns
whether it is whole, what was spoken again, and which parts are doubtful. Bounded: the oldest
finished streams are forgotten first.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from serve_app.core.audio import duration_s
from serve_app.core.backlog import next_end_s
from serve_app.core.plan import PlannedSegment
from serve_app.errors import ServeError
from serve_app.pieces import Delivery, PartEnd
from serve_app.prepare import TextReport
from serve_app.request_watch import RequestWatch
from telemetry.core.request import RequestRecord
from telemetry.core.sample import CANCELLED
from telemetry.spans import error_type

State = Literal["running", "complete", "failed", "cancelled"]
_FINISH: Final[Mapping[State, str | None]] = MappingProxyType(
    {"running": None, "complete": "stop", "failed": "error", "cancelled": "cancelled"}
)
_EVENTS_KEPT = 200
_RATE_FROM = 64
_LONGEST_WAIT_S = 120  # beyond it OpenAI's client does not wait as told


@dataclass(slots=True)
class Outcome:
    """One stream's progress and end.

    Args:
        request_id: As in ``x-request-id``.
        speakers: Voice by speaker.
        started_s: Monotonic time at which the request came.
        text: What became of its text.
        caller: Who asked; nobody else may know how it went, but for admins.
        speed: Of the audio that leaves.
        segments: Planned; all of them are before the first bytes leave.
        estimated_s: Audio seconds that those planned are expected to give, at that speed.
        spoken_s: Audio seconds that the engine gave.
        input_tokens, output_tokens: Of the takes that count.
        watch: What is measured of it.
    """

    request_id: str
    speakers: dict[str, str]
    started_s: float
    text: TextReport
    caller: str = ""
    speed: float = 1.0
    segments: int = 0
    estimated_s: float = 0.0
    state: State = "running"
    segments_done: int = 0
    spoken_s: float = 0.0
    samples_sent: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    first_audio_s: float | None = None
    wall_s: float | None = None
    events: list[Delivery] = field(default_factory=list)
    doubtful: list[dict[str, object]] = field(default_factory=list)
    cards: dict[str, float] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    trace_id: str = ""
    error: str | None = None
    watch: RequestWatch = field(default_factory=RequestWatch)

    @property
    def audio_s(self) -> float:
        """Seconds of audio sent so far."""
        return duration_s(self.samples_sent)

    @property
    def finish_reason(self) -> str | None:
        """``stop``, ``error`` or ``cancelled``; None while it runs."""
        return _FINISH[self.state]

    @property
    def usage(self) -> dict[str, int]:
        """Tokens so far, in OpenAI's shape."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }

    def planned(self, segments: tuple[PlannedSegment, ...]) -> None:
        """Note further segments of the plan."""
        self.segments += len(segments)
        self.estimated_s += sum(item.segment.est_s for item in segments) / self.speed

    def sound(self, now_s: float) -> None:
        """Bytes leave; the first of them count."""
        if self.first_audio_s is None:
            self.first_audio_s = now_s - self.started_s
        self.watch.playback.left(now_s, self.audio_s)

    def fail(self, error: BaseException) -> None:
        """Note why the stream ended, unless it had come to its end before."""
        if self.state != "running":
            return
        if isinstance(error, (GeneratorExit, asyncio.CancelledError)):
            self.state, self.error = "cancelled", "the client left"
            self.watch.error = CANCELLED
        else:
            message = error.message if isinstance(error, ServeError) else type(error).__name__
            self.state, self.error = "failed", message
            self.watch.error = error_type(error)

    def event(self, event: Delivery) -> None:
        """Note a retry or split, the first few hundred of them."""
        if len(self.events) < _EVENTS_KEPT:
            self.events.append(event)

    def part_done(self, end: PartEnd) -> None:
        """Note a finished part."""
        record = end.report.record
        self.watch.simulated |= record.simulated
        self.spoken_s += record.audio_s
        self.input_tokens += record.input_tokens
        self.output_tokens += record.output_tokens
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

    def record(self) -> RequestRecord:
        """The stream as metrics count it, once it is over."""
        return self.watch.record(
            wall_s=self.wall_s or 0.0,
            first_audio_s=self.first_audio_s,
            audio_s=self.audio_s,
            events=self.events,
            trace_id=self.trace_id,
        )

    def to_json(self, now_s: float) -> dict[str, object]:
        """As the API answers; *now_s* is the registry's clock."""
        retries = [event for event in self.events if event.kind != "split"]
        return {
            "id": self.request_id,
            "object": "audio.speech",
            "status": self.state,
            "finish_reason": self.finish_reason,
            "truncated": self.state in {"failed", "cancelled"},
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
            "text": self.text.to_json(),
            "usage": self.usage,
            "speed": self.speed,
            "speakers": self.speakers,
            "cards": {card: round(audio_s, 3) for card, audio_s in self.cards.items()},
            "replicas": self.replicas,
            "trace_id": self.trace_id,
            "error": self.error,
        }


class Outcomes:
    """The last streams by caller and id.

    Args:
        limit: How many are remembered.
        clock: Monotonic seconds.
    """

    def __init__(self, limit: int = 512, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self.clock = limit, clock
        self._kept: OrderedDict[tuple[str, str], Outcome] = OrderedDict()
        self._running: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Remember a stream that starts; the oldest that no longer runs makes room."""
        key = outcome.caller, outcome.request_id
        self._kept[key] = outcome
        self._running.append(outcome)
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            ended = (key for key, kept in self._kept.items() if kept.state != "running")
            del self._kept[next(ended, next(iter(self._kept)))]

    def get(self, request_id: str, caller: str) -> Outcome | None:
        """The stream that *caller* calls so, if it is remembered: ids are each caller's own."""
        return self._kept.get((caller, request_id))

    def of_anyone(self, request_id: str) -> Outcome | None:
        """The newest stream that anyone calls so, if one is remembered."""
        found = (kept for kept in reversed(self._kept.values()) if kept.request_id == request_id)
        return next(found, None)

    def all(self) -> tuple[Outcome, ...]:
        """Those remembered, oldest first."""
        return tuple(self._kept.values())

    def next_end_s(self) -> int:
        """Whole seconds until a stream is likely to end, by how long the last ones took."""
        now_s = self.clock()
        running = self._still_running()
        ended = [kept.wall_s for kept in self._kept.values() if kept.wall_s is not None]
        return next_end_s(
            ended[-_RATE_FROM:],
            [now_s - kept.started_s for kept in running],
            most_s=_LONGEST_WAIT_S,
        )

    @property
    def running(self) -> int:
        """Streams that run right now."""
        return len(self._still_running())

    def _still_running(self) -> list[Outcome]:
        """Asked with each request: it looks at those that ran lately, not at all remembered."""
        self._running = [outcome for outcome in self._running if outcome.state == "running"]
        return self._running
