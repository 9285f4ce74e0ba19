"""What passes between replicas, fan-out and listener, and the fan-out's rules, as plain data."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final, Literal

from serve_app.core.audio import BYTES_PER_S
from serve_app.core.quality import Verdict
from serve_app.core.segment import Boundary
from serve_app.engines.base import Chunk, SpeakTask, SpeechEnd
from telemetry.core.sample import SynthesisRecord


@dataclass(frozen=True, slots=True)
class Started:
    """First item of a take: a slot was found.

    Args:
        replica: Who speaks.
        revision: The engine's revision, which the plan's keys were made for.
    """

    replica: str
    revision: str


@dataclass(frozen=True, slots=True)
class SpeechReport:
    """Last item of a take: how it ended and what it cost."""

    end: SpeechEnd
    record: SynthesisRecord


_RETRY_PAUSE_MOST_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Before :class:`Started`: a replica has refused the task and it will be sent again."""


TakeItem = Started | Chunk | SpeechReport
Speak = Callable[[SpeakTask], AsyncGenerator[TakeItem | Waiting, None]]


@dataclass(frozen=True, slots=True)
class FanOutRules:
    """Bounds of a fan-out.

    Args:
        look_ahead: Segments dispatched from the listener's on.
        buffer_bytes: PCM in flight or held behind the listener, estimated before it exists.
        attempts: Takes of one part before a fault is final; if it was always too large for the
            card's memory, it is split then.
        retry_pause_s: Before the take that follows a fault; twice as long after each further one.
        takes: Seeds tried before a bad part is split.
        assign_timeout_s: Wait for a slot on a replica, from the last refusal on.
        paused_timeout_s: Wait from the first refusal on, while cards cool down.
        first_chunk_timeout_s: From the slot to the first sound.
        chunk_timeout_s: Between two chunks.
        head_chunk_s: Chunk for the segment that the listener waits for.
        behind_chunk_s: Chunk for those behind it, larger so that the rate of chunks does not
            bound the number of cards.
        live: Let every segment out as soon as its turn comes, not only the first (see ``takes``).
        clock: Monotonic seconds.
    """

    look_ahead: int = 32
    buffer_bytes: int = 40 * 1024 * 1024
    attempts: int = 4
    retry_pause_s: float = 0.05
    takes: int = 3
    assign_timeout_s: float = 120.0
    paused_timeout_s: float = 1800.0
    first_chunk_timeout_s: float = 30.0
    chunk_timeout_s: float = 20.0
    head_chunk_s: float = 0.2
    behind_chunk_s: float = 1.0
    live: bool = False
    clock: Callable[[], float] = time.monotonic

    def pause_s(self, faults: int) -> float:
        """Pause behind so many faults of a part; a cause that passes gets time to."""
        return min(self.retry_pause_s * 2.0 ** (faults - 1), _RETRY_PAUSE_MOST_S)

    def bytes_of(self, est_s: float) -> int:
        """PCM bytes of an estimated duration."""
        return int(est_s * BYTES_PER_S)


@dataclass(frozen=True, slots=True)
class Part:
    """A segment, or a piece of one after a split, as the stitcher must know it.

    Args:
        key: Content key.
        index: Segment number in the plan.
        before: Boundary in front.
        pause_s: Explicit pause in front, or None.
    """

    key: str
    index: int
    before: Boundary
    pause_s: float | None


@dataclass(frozen=True, slots=True)
class PartAudio:
    """Audio of a part, in order."""

    part: Part
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class PartEnd:
    """A part is complete.

    Args:
        part: Which.
        report: Of the take that counted.
        verdict: Of the quality check; not ok means doubtful (its audio had already left).
        last: True if the segment is complete with it.
    """

    part: Part
    report: SpeechReport
    verdict: Verdict
    last: bool


Piece = PartAudio | PartEnd
Batch = tuple[Piece, ...]
"""Neighbours that came together; a part's end is the last of its batch."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something a segment needed beyond its first take.

    Args:
        kind: ``fault`` (spoken again, same seed), ``bad_take`` (spoken again, next seed) or
            ``split``.
        index: Segment number.
        code: Error code behind it.
    """

    kind: Literal["fault", "bad_take", "split"]
    index: int
    code: str
