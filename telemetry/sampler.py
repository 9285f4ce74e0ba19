"""Reads a node's cards again and again, on time even while some of them hang.

One thread keeps the time, another reads the lanes one after the other: eight threads that wake for
a tenth of a millisecond each would cost four times as much. When a call hangs, its thread is left
with it and a fresh one reads the other lanes, from then on each tick; the samples of the card that
hangs age, and whoever reads them sees a stale card. A lane that hangs is not read again until it
answers, so there are never more readers than lanes, plus one.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from telemetry.core.reader import CardReader, Lane, Reading

logger = logging.getLogger(__name__)

PATIENCE_S = 0.1
"""How long a lane may take before the others go on without it (up to twice as long)."""
HANGS_AFTER_S = 3.0
"""A call that takes longer is told as a problem."""

Keep = Callable[[float, Reading], None]
"""Takes a reading and the monotonic time just before it; must return at once."""


def next_deadline(deadline: float, now: float, period_s: float) -> float:
    """The first time after *now* on the grid of *deadline*; ticks that were missed are skipped."""
    missed = max(math.floor((now - deadline) / period_s), 0)
    return deadline + (missed + 1) * period_s


class _Watched:
    """What became of the last of some calls, of which one is made at a time.

    Args:
        key: What is called, for people.
        clock: Monotonic time, s.
    """

    def __init__(self, key: str, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._began: float | None = None
        self._trouble: str | None = None

    def call(self, ask: Callable[[], None]) -> None:
        """Make a call; what it raises is logged and told, not raised."""
        self._began = self._clock()
        try:
            ask()
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
            if trouble != self._trouble:
                logger.exception("%s could not be read; the sampler goes on", self._key)
            self._trouble = trouble
        else:
            self._trouble = None
        finally:
            self._began = None

    def problem(self) -> str | None:
        """What is wrong now, or None; may be asked from any thread."""
        began, trouble = self._began, self._trouble
        if began is not None and (for_s := self._clock() - began) > HANGS_AFTER_S:
            return f"{self._key}: the driver has not answered for {for_s:.0f} s"
        return None if trouble is None else f"{self._key}: {trouble}"


class _Reader:
    """A thread that reads lanes when told to.

    Args:
        read: Reads a lane; raises nothing.
    """

    def __init__(self, read: Callable[[Lane], None]) -> None:
        self.lane: Lane | None = None
        self.free = True
        self._read = read
        self._jobs: SimpleQueue[tuple[deque[Lane], SimpleQueue[None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="card-reader", daemon=True)
        self._thread.start()

    def work_off(self, lanes: deque[Lane]) -> bool:
        """Read *lanes*, each of which leaves the queue before it is read; only a free reader may.

        Returns:
            False if it is stuck in one; it goes on with the rest, if there is any, when it can.
        """
        done: SimpleQueue[None] = SimpleQueue()
        self.free = False
        self._jobs.put((lanes, done))
        while True:
            before = self.lane
            try:
                done.get(timeout=PATIENCE_S)
            except Empty:
                if before is not None and self.lane is before:
                    return False
            else:
                return True

    def dismiss(self) -> None:
        """Let the thread end after the lanes it has; returns at once."""
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the end, which a hang puts off."""
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            lanes, done = job
            while (lane := _popped(lanes)) is not None:
                self.lane = lane
                self._read(lane)
                self.lane = None
            self.free = True
            done.put(None)


def _popped(lanes: deque[Lane]) -> Lane | None:
    """The first lane, taken from the queue, which a second reader may empty at the same time."""
    try:
        return lanes.popleft()
    except IndexError:
        return None


class CardSampler:
    """Reads all lanes of a reader once a period.

    Call :meth:`start` once, and :meth:`close` when done; or :meth:`tick` alone, where time is
    somebody else's.

    Args:
        reader: Owned; closed after the last reading.
        keep: Where the readings go; called from several threads.
        period_s: Seconds between two readings of a lane.
        clock: Monotonic time, s.
    """

    def __init__(
        self,
        reader: CardReader,
        keep: Keep,
        *,
        period_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._keep = keep
        self._period_s = period_s
        self._clock = clock
        self._driver = _Watched("driver", clock)
        self._watched: dict[str, _Watched] = {}
        self._readers: list[_Reader] = []
        self._swept = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card-sampler", daemon=True)

    def start(self) -> None:
        """Start the threads; once."""
        self._thread.start()

    def wait_first(self, timeout_s: float) -> bool:
        """Wait until every lane that does not hang was read; False if not within *timeout_s*."""
        return self._swept.wait(timeout_s)

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop sampling; idempotent.

        Returns:
            False if the driver still hangs after *timeout_s*; the threads then end by themselves
            as soon as the driver answers, or with the process.
        """
        self._stop.set()
        if self._thread.ident is None:
            self._reader.close()
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def tick(self) -> None:
        """Read every lane once, now, in this thread; blocks as long as the driver does."""
        for lane in self._reader.lanes():
            self._read(lane)

    def problems(self) -> tuple[str, ...]:
        """What is wrong right now, for people."""
        watched = (self._driver, *self._watched.copy().values())
        found = (problem for one in watched if (problem := one.problem()) is not None)
        return (*self._reader.problems(), *found)

    def _run(self) -> None:
        deadline = self._clock()
        try:
            while not self._stop.wait(max(deadline - self._clock(), 0.0)):
                self._driver.call(self._sweep)
                self._swept.set()
                deadline = next_deadline(deadline, self._clock(), self._period_s)
        finally:
            for reader in self._readers:
                reader.dismiss()
            for reader in self._readers:
                reader.join()
            self._reader.close()

    def _sweep(self) -> None:
        """Have every lane read that does not hang."""
        lanes = self._reader.lanes()
        stuck = {lane.key for reader in self._readers if (lane := reader.lane) is not None}
        waiting = deque(lane for lane in lanes if lane.key not in stuck)
        while waiting and not self._stop.is_set():
            if self._free_reader().work_off(waiting):
                break
        self._send_home()

    def _free_reader(self) -> _Reader:
        for reader in self._readers:
            if reader.free:
                return reader
        self._readers.append(_Reader(self._read))
        return self._readers[-1]

    def _send_home(self) -> None:
        """Keep one free reader; the others stood in for those that were stuck."""
        for spare in [reader for reader in self._readers if reader.free][1:]:
            self._readers.remove(spare)
            spare.dismiss()

    def _read(self, lane: Lane) -> None:
        watched = self._watched.get(lane.key)
        if watched is None:
            watched = self._watched.setdefault(lane.key, _Watched(lane.key, self._clock))
        watched.call(lambda: self._keep(self._clock(), lane.read()))
