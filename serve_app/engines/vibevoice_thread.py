"""The engine's own thread: it runs the batch frame by frame and takes orders between two frames.

Orders (speak, cancel, check) come from event loops over a lock; what a segment gives goes back to
its loop by ``call_soon_threadsafe``. A segment's outbox is bounded by its token budget.

**Joining.** One segment at a time, a piece of its prompt before each frame: the ones that are being
spoken wait for one piece at most.

Nobody is kept waiting for room: a segment that has none beside the others ends at once with a
retryable error, and the slots are lowered to what has. Who then waits for a slot has not started.

**Out of memory.** A half of a frame that failed for lack of memory is done again when all that is
only kept to be faster was given back, and then without the newest row, until it succeeds: the older
ones lose nothing. The dropped segments end with a retryable error and the slots are lowered to what
fitted. Only a segment that found no room on a card where it was alone, and nothing was kept, ends
with an EngineMemoryError, which callers answer by splitting it: whether a segment is split must
depend on it and the card, never on its neighbours.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

from serve_app.core.audio import finite_to_pcm
from serve_app.engines.slots import closed_error
from serve_app.engines.vibevoice_load import LoadedModel
from serve_app.engines.vibevoice_loop import Batch, Row, Sounded, probe
from serve_app.engines.vibevoice_memory import Admission, MemoryReading, give_back
from serve_app.engines.vibevoice_order import Ended, Order
from serve_app.engines.vibevoice_prefill import Reader, Reading
from serve_app.engines.vibevoice_shortage import is_memory
from serve_app.errors import (
    BadAudioError,
    EngineCrashedError,
    EngineError,
    EngineMemoryError,
    EngineTimeoutError,
    ServeError,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")


def on_card(device: torch.device) -> AbstractContextManager[object]:
    """Make a card the current one: where what names no device goes."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class LoopThread:
    """Owns the batch; starts with the first order, ends with :meth:`close`.

    Args:
        batch: The rows; touched by the thread alone.
        reader: Reads prompts; likewise.
        spare: An empty batch for checks; likewise.
        loaded: The model.
        memory: What the card has left.
        lowered: Called on the thread with the slots that are left when memory is short.
        patience_s: A single piece of work may take so long before the thread counts as hung.
    """

    def __init__(
        self,
        batch: Batch,
        reader: Reader,
        *,
        spare: Batch,
        loaded: LoadedModel,
        memory: MemoryReading,
        lowered: Callable[[int], None],
        patience_s: float = 0.0,
    ) -> None:
        self._batch, self._spare = batch, spare
        self._reader, self._context, self._card = reader, loaded.context, loaded.device
        self._admission, self._lowered = Admission(loaded.shape, memory), lowered
        self._patience_s, self._begun_s = patience_s, 0.0
        self._lock = threading.Condition()
        self._waiting: deque[Order] = deque()
        self._gone: list[Order] = []
        self._checks: list[Future[None]] = []
        self._reading: Reading | None = None  # of the first that waits
        self._running: dict[Row, Order] = {}
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._done: Future[None] = Future()

    def submit(self, order: Order) -> None:
        """Have a segment spoken.

        Raises:
            EngineCrashedError: The thread is closed, or the system gives none.
        """
        self._ask(lambda: self._waiting.append(order))

    def cancel(self, order: Order) -> None:
        """Have it leave within a frame; ``order.over`` tells when it has."""
        with self._lock:
            self._gone.append(order)
            self._lock.notify()

    async def check(self, timeout_s: float) -> None:
        """Compute what a frame computes, between two frames.

        Raises:
            EngineError: It gave no finite audio, failed, or took longer than *timeout_s* while
                the thread was at one piece of work for longer than its patience.
        """
        future: Future[None] = Future()
        self._ask(lambda: self._checks.append(future))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wrap_future(future)
        except TimeoutError as error:
            if time.monotonic() - self._begun_s < self._patience_s:
                return  # at a shape of a batch that is compiled or recorded just now
            raise EngineTimeoutError(
                f"the engine's thread gave nothing for {timeout_s} s; replace the replica"
            ) from error

    def stop(self) -> None:
        """Ask the thread to end; segments in it end with an error."""
        with self._lock:
            self._stopping = True
            self._lock.notify()

    async def close(self, grace_s: float) -> None:
        """Stop and wait until the thread is done, *grace_s* at most; idempotent."""
        self.stop()
        if self._thread is None:
            return
        try:
            async with asyncio.timeout(grace_s):
                await asyncio.shield(asyncio.wrap_future(self._done))
        except TimeoutError:
            logger.warning("the vibevoice thread does not stop after %s s", grace_s)

    def _ask(self, append: Callable[[], None]) -> None:
        with self._lock:
            if self._stopping:
                raise closed_error()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="vibevoice", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    raise EngineCrashedError(f"the system gives no thread: {error}") from error
                self._thread = thread
            append()
            self._lock.notify()

    def _run(self) -> None:
        try:
            with torch.inference_mode(), on_card(self._card):
                while self._orders():
                    if self._batch.rows:
                        self._frame()
        except Exception:
            logger.exception("the vibevoice thread failed")
        self.stop()
        self._fail_all(closed_error())
        for order in self._waiting:
            order.give(closed_error(), last=True)
        for check in self._checks:
            if check.set_running_or_notify_cancel():
                check.set_exception(closed_error())
        self._done.set_result(None)

    def _orders(self) -> bool:
        """Take what has come, waiting while there is nothing to do; False to end."""
        with self._lock:
            while not (self._stopping or self._gone or self._checks or self._work()):
                self._lock.wait()
            if self._stopping:
                return False
            self._begun_s = time.monotonic()
            gone, self._gone = self._gone, []
            checks, self._checks = self._checks, []
        for order in gone:
            self._remove(order)
        for check in checks:
            self._check(check)
        if self._waiting and self._join(self._waiting[0]):
            with self._lock:
                self._waiting.popleft()
        return True

    def _work(self) -> bool:
        return bool(self._waiting or self._batch.rows)

    def _remove(self, order: Order) -> None:
        with self._lock:
            if self._waiting and order is self._waiting[0]:
                self._reading = None
            if order in self._waiting:
                self._waiting.remove(order)
        self._running.pop(order.row, None)
        self._batch.leave([order.row])
        order.give(closed_error(), last=True)

    def _check(self, check: Future[None]) -> None:
        if not check.set_running_or_notify_cancel():
            return
        try:
            fine = self._probe()
        except Exception as error:  # noqa: BLE001 - the caller must see whatever it is
            check.set_exception(EngineCrashedError(f"the engine's self-test failed: {error}"))
            return
        if fine:
            check.set_result(None)
        else:
            check.set_exception(EngineCrashedError("the model gives samples that are no numbers"))

    def _probe(self) -> bool:
        """Whether the model gives numbers; a full card that speaks is well."""
        try:
            return probe(self._spare, self._reader.begin)
        except Exception as error:
            if not is_memory(error):
                raise
        if self._batch.rows:
            return True
        give_back(self._batch, self._reader)
        return probe(self._spare, self._reader.begin)

    def _join(self, order: Order) -> bool:
        """Read a piece of a segment's prompt; True once it is in the batch, or has failed."""
        try:
            reading = self._reading or self._begin(order)
            prefill = reading.advance()
            if prefill is None:
                return False
            self._reading = None
            self._batch.join(order.row, prefill)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this segment
            self._reading = None
            if not is_memory(error):
                order.give(_named(error), last=True)
                return True
            short = str(error)
        else:
            self._running[order.row] = order
            return True
        # Only here, where the error holds no tensors any more.
        give_back(self._batch, self._reader)
        beside = len(self._batch.rows)
        if order.failed_beside is None or (order.failed_beside and not beside):
            order.failed_beside = beside
            return False
        order.give(self._short(short), last=True)
        return True

    def _begin(self, order: Order) -> Reading:
        """Begin to read a segment's prompt.

        Raises:
            EngineError: There is no room beside the others.
            EngineMemoryError: There is none on the empty card.
        """
        prompt = self._reader.prompt(order.turns)
        order.tokens = len(prompt.ids)
        order.row.budget = min(order.row.budget, self._context - order.tokens)
        fitting = self._admission.admit(self._batch, self._reader, prompt, order.row.budget)
        if fitting is not None:
            self._lowered(fitting)
            beside = len(self._batch.rows)
            raise EngineError(
                f"no room for a segment of {order.tokens + order.row.budget} tokens beside {beside}"
                f" others; {fitting} slots are left, speak it again when one is free"
            )
        self._reading = self._reader.reading(prompt)
        return self._reading

    def _frame(self) -> None:
        self._begun_s = time.monotonic()
        for sounded in self._retried(self._batch.sound) or ():
            self._deliver(sounded)
        self._retried(self._batch.think)

    def _retried(self, half: Callable[[], T]) -> T | None:
        """Half a frame; again while memory is short, and then without the newest row."""
        given_back = False
        while self._batch.rows:
            try:
                return half()
            except Exception as error:
                if not is_memory(error):
                    logger.exception("a frame of %d rows failed", len(self._batch.rows))
                    self._fail_all(EngineCrashedError(f"a frame failed: {error}"))
                    return None
                short = str(error)
            # Only here, where the error holds no tensors any more.
            if given_back:
                self._shed(short)
            give_back(self._batch, self._reader)
            given_back = True
        return None

    def _shed(self, short: str) -> None:
        newest, order = self._running.popitem()
        self._batch.leave([newest])
        order.give(self._short(short), last=True)

    def _short(self, short: str) -> EngineError:
        """What a segment gets that memory was too short for."""
        left = len(self._batch.rows)
        if not left:
            return EngineMemoryError(f"out of memory for one segment on an empty card: {short}")
        self._lowered(left)
        logger.warning("out of memory; %d slots are left", left)
        return EngineError(
            f"out of memory beside {left} segments, which is what fits from now on: {short}"
        )

    def _deliver(self, sounded: Sounded) -> None:
        order, row = self._running[sounded.row], sounded.row
        if sounded.finish:
            del self._running[row]
        if sounded.samples is not None:
            try:
                order.give(finite_to_pcm(sounded.samples), last=False)
            except BadAudioError as error:
                self._running.pop(row, None)
                self._batch.leave([row])
                order.give(error, last=True)
                return
        if sounded.finish and row.frames == 0:
            order.give(
                BadAudioError("the model ended without a frame of audio; speak it again"), last=True
            )
        elif sounded.finish:
            order.give(Ended(sounded.finish, order.tokens, row.frames), last=True)

    def _fail_all(self, error: EngineError) -> None:
        self._batch.leave(list(self._batch.rows))
        orders, self._running = list(self._running.values()), {}
        for order in orders:
            order.give(error, last=True)


def _named(error: Exception) -> ServeError:
    if isinstance(error, ServeError):
        return error
    logger.error("a segment failed", exc_info=error)
    return EngineError(f"a segment failed: {type(error).__name__}: {error}")
