"""From a plan to its audio in order: dispatch, retry, split, cancel.

The fan-out knows no Ray: it is given a callable that speaks one :class:`SpeakTask` somewhere and
yields :class:`Started`, chunks and one :class:`SpeechReport`. Its rules:

* The first segments go out while the rest is still being planned: it comes by a future.
* Segments go out in plan order, as many at once as the pool has places, and no further ahead of
  the listener than ``look_ahead`` segments or ``buffer_bytes`` of PCM: memory depends on what is
  in flight, never on the script. The segment that the listener waits for is never held back.
* What is delivered is in plan order. Nothing of a segment leaves before its turn.
* **A fault** (the replica died, hung, ran out of memory) is answered by the same segment with the
  same seed, after a short pause and on another replica if there is one. If part of it had left,
  that many bytes of the new take are compared with what was sent and skipped; if they differ,
  :class:`TakeMismatchError` ends the stream.
* **A bad take** (see ``core.quality``) of which nothing was let out is spoken again with the next
  seed of its key, then split in halves at a fixed place. Seeds depend on the number of bad takes
  only, so faults never change the audio, but for one: what has run out of memory ``attempts`` times
  is too large for these cards and is split in the same halves, which the answer tells. A bad take
  that had been let out ends the stream if words are missing (``quality`` decides), and is reported
  as doubtful otherwise. What is let out when is told in ``takes``.
* After the last attempt :class:`SegmentFailedError` names the segment and, since it ends up in
  logs, the length and a hash of its text in place of the text.
* Closing the stream cancels every child and waits until each is gone.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from serve_app.core.fair import Places
from serve_app.core.plan import PlannedSegment
from serve_app.pieces import Batch, Delivery, FanOutRules, Speak
from serve_app.takes import SegmentRun

TaskOptions = tuple[tuple[str, float], ...]


class FanOut:
    """One script's way over the replicas; iterate :meth:`batches` once.

    Args:
        segments: The plan, in order, or the beginning of it.
        speak: Speaks one task somewhere.
        pool: Places shared by all requests, at this one's priority.
        rules: Bounds and time-outs.
        voices: Voice id by speaker.
        options: Engine options, as in the plan's keys.
        on_event: Told of retries and splits, for logs and counters.
        rest: Brings what follows *segments* in the plan; its error ends the stream behind them.
    """

    def __init__(
        self,
        segments: tuple[PlannedSegment, ...],
        speak: Speak,
        pool: Places,
        rules: FanOutRules,
        *,
        voices: dict[str, str],
        options: TaskOptions = (),
        on_event: Callable[[Delivery], None] = lambda _event: None,
        rest: asyncio.Future[tuple[PlannedSegment, ...]] | None = None,
    ) -> None:
        self._waiting, self._rest = deque(segments), rest
        self._window: deque[SegmentRun] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        # Whoever iterates may be another task: the trace is that of the maker.
        self._context = contextvars.copy_context()
        self._speak, self._pool, self._rules = speak, pool, rules
        self._voices, self._options, self._on_event = voices, options, on_event

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yield audio and ends of parts, in plan order, as many at once as there are.

        Raises:
            ServeError: The stream can't go on; what was yielded is a true beginning.
        """
        try:
            self._fill()
            arrival = self._start(self._take_rest())
            while await self._listening(arrival):
                run = self._window[0]
                run.open()
                async with aclosing(run.delivered()) as delivered:
                    async for batch in delivered:
                        self._fill()
                        yield batch
                self._window.popleft()
                self._fill()
        finally:
            await self._cancel()

    async def _listening(self, arrival: asyncio.Task[None]) -> bool:
        """Whether there is another segment for the listener to wait for."""
        if not self._window:
            await arrival
        return bool(self._window)

    async def _take_rest(self) -> None:
        if self._rest is not None:
            self._waiting.extend(await self._rest)
            self._fill()

    def _fill(self) -> None:
        while self._waiting and (not self._window or self._has_room(self._waiting[0])):
            run = SegmentRun(
                self._waiting.popleft(),
                self._speak,
                self._rules,
                voices=self._voices,
                options=self._options,
                on_event=self._on_event,
            )
            self._window.append(run)
            self._start(run.work(self._pool, owner=self))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _has_room(self, segment: PlannedSegment) -> bool:
        if len(self._window) >= self._rules.look_ahead:
            return False
        ahead = sum(run.weight_bytes for run in self._window)
        return ahead + self._rules.bytes_of(segment.segment.est_s) <= self._rules.buffer_bytes

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        # The children answer for their own errors through the window; here only their end counts.
        await asyncio.gather(*tasks, return_exceptions=True)
        self._window.clear()
        self._waiting.clear()
