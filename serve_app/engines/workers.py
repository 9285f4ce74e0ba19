"""Slots and threads: how an engine's blocking work meets the event loop.

::

    caller --> Slots (first come, first served) --> Worker thread --> bounded queue --> caller
                                                        ^
                                       StopSignal (close, cancel)

A slot is taken until both the thread has ended and the caller has closed: after a cancel the next
caller starts when the thread is really gone, so that there is never more work than slots. A thread
that does not stop within the grace keeps its slot, and :meth:`SlotThreads.check` then raises.

Everything here is used from one event loop, except what a thread's work is handed: its
:class:`StopSignal`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing, suppress
from typing import Any, Generic, TypeVar

from serve_app.engines.slots import Slots, closed_error
from serve_app.errors import EngineCrashedError, EngineTimeoutError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class StopSignal:
    """Tells a thread that its work is no longer wanted; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hooks: list[Callable[[], None]] = []
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """True once the work should end."""
        return self._stopped

    def on_stop(self, hook: Callable[[], None]) -> None:
        """Have *hook* called when the work should end; at once if it already should."""
        with self._lock:
            if not self._stopped:
                self._hooks.append(hook)
                return
        hook()

    def stop(self) -> None:
        """Ask the work to end; further calls do nothing."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook()


Work = Callable[[StopSignal], Generator[T, None, None]]
"""Blocking work: yields items (never None) from its thread, ends soon after its signal says so."""


class _Worker(Generic[T]):
    """One thread, its work and the queue between it and the loop that made it."""

    def __init__(self, name: str, work: Work[T], bound: int, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._ended = ended
        self._items: deque[T] = deque()
        self._news = asyncio.Event()
        self._room = threading.Semaphore(bound)
        self._error: BaseException | None = None
        self.signal = StopSignal()
        self.signal.on_stop(self._room.release)  # wakes a thread that waits for room
        self.over = asyncio.Event()
        self.overdue = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def next(self) -> T | None:
        """The next item, or None after the last.

        Raises:
            EngineCrashedError: The work was stopped by someone else.
            BaseException: What the work raised.
        """
        while not self._items:
            if self.signal.stopped:
                raise closed_error()
            if self.over.is_set():
                if self._error is not None:
                    raise self._error
                return None
            self._news.clear()
            await self._news.wait()
        item = self._items.popleft()
        self._room.release()
        return item

    async def stop(self, grace_s: float) -> None:
        """Ask the work to end and wait until its thread has, *grace_s* at most."""
        self.signal.stop()
        self._news.set()
        try:
            async with asyncio.timeout(grace_s):
                await self.over.wait()
        except TimeoutError:
            self.overdue = True
            logger.warning("thread %s does not stop after %s s", self._thread.name, grace_s)

    def _run(self) -> None:
        try:
            with closing(self._work(self.signal)) as items:
                for item in items:
                    self._room.acquire()
                    if self.signal.stopped:
                        break
                    self._tell(self._arrive, item)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller must see it
            self._error = error
        self._tell(self._finish)

    def _tell(self, what: Callable[..., None], *args: T) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(what, *args)

    def _arrive(self, item: T) -> None:
        self._items.append(item)
        self._news.set()

    def _finish(self) -> None:
        self.over.set()
        self._news.set()
        self._ended()


class _Hold:
    """What a thread and its caller hold together; the second to leave lets go of it."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._left = 2

    def leave(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._release()


class SlotThreads:
    """Runs blocking generators in threads, at most ``slots.limit`` at once.

    Args:
        name: Prefix of the threads' names.
        limit: Slots, at least 1.
        bound: Items that may wait for a slow caller; the thread then waits too.
        grace_s: How long a thread may take to stop before it counts as stuck.

    Raises:
        ValueError: *limit* is below 1.
    """

    def __init__(self, name: str, limit: int, *, bound: int = 64, grace_s: float = 10.0) -> None:
        self.slots = Slots(limit)
        self._name = name
        self._bound = bound
        self._grace_s = grace_s
        self._closed = False
        self._workers: set[_Worker[Any]] = set()

    async def stream(self, work: Work[T]) -> AsyncGenerator[T, None]:
        """Run *work* on a slot of its own and yield what it yields, in order.

        Closing the generator stops the work and waits for its thread, the grace at most.

        Raises:
            EngineCrashedError: The threads were closed, or the system gives no more of them.
            BaseException: What *work* raised.
        """
        await self.slots.acquire()
        hold = _Hold(self.slots.release)
        try:
            worker = self._start(work, ended=hold.leave)
            try:
                while (item := await worker.next()) is not None:
                    yield item
            finally:
                await worker.stop(self._grace_s)
        finally:
            hold.leave()

    async def run(self, work: Work[T], timeout_s: float) -> T:
        """The first item of *work*, run beside the slots; for checks that must not wait in line.

        Raises:
            EngineTimeoutError: It took more than *timeout_s*.
            EngineCrashedError: The threads were closed, or the work gave nothing.
            BaseException: What *work* raised.
        """
        if self._closed:
            raise closed_error()
        worker = self._start(work)
        try:
            async with asyncio.timeout(timeout_s):
                item = await worker.next()
        except TimeoutError as error:
            worker.overdue = True
            raise EngineTimeoutError(
                f"the engine's self-test gave nothing for {timeout_s} s; replace the replica"
            ) from error
        finally:
            worker.signal.stop()
        if item is None:
            raise EngineCrashedError("the engine's self-test gave nothing; replace the replica")
        return item

    def check(self) -> None:
        """Nothing, if every thread stops when it is asked to.

        Raises:
            EngineCrashedError: A thread did not stop within the grace, or all are closed.
        """
        if self._closed:
            raise closed_error()
        overdue = sum(worker.overdue for worker in self._workers)
        if overdue:
            raise EngineCrashedError(
                f"{overdue} of {len(self._workers)} threads did not stop within "
                f"{self._grace_s} s of being told to; replace the replica"
            )

    async def close(self) -> None:
        """Stop all threads and refuse all callers; idempotent."""
        self._closed = True
        self.slots.close()
        await asyncio.gather(*(worker.stop(self._grace_s) for worker in set(self._workers)))

    def _start(self, work: Work[T], ended: Callable[[], None] = lambda: None) -> _Worker[T]:
        def forget() -> None:
            self._workers.discard(worker)
            ended()

        try:
            worker = _Worker(self._name, work, self._bound, forget)
        except RuntimeError as error:
            ended()
            raise EngineCrashedError(f"the system gives no thread to speak in: {error}") from error
        self._workers.add(worker)
        return worker
