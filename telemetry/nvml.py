"""This node's NVIDIA cards, read through NVML.

NVML ignores ``CUDA_VISIBLE_DEVICES`` and sees every card of the node, which is what a watcher
wants. Only the files ``telemetry/nvml*.py`` know ``pynvml``. NVML takes calls from several threads,
but the driver has locks of its own: a call that hangs in it may hold up calls for other cards, and
nothing outside the driver can help that. So each card is a lane, and goes on as far as the driver
lets it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pynvml

from telemetry.core.reader import CardSource, Lane, Reading, UnknownCardError
from telemetry.nvml_card import NvmlCard, identity
from telemetry.nvml_events import NvmlEvents


class _Session:
    """The driver from ``nvmlInit`` to ``nvmlShutdown``.

    Handles die with the shutdown, so it must wait until no lane is inside the driver.

    Args:
        cards: In the order of their indices.
        events: Their faults.
    """

    def __init__(self, cards: tuple[NvmlCard, ...], events: NvmlEvents) -> None:
        self._cards = cards
        self._events = events
        self._lock = threading.Lock()
        self._inside = 0
        self._gone: pynvml.NVMLError | None = None
        self.lanes = (
            *(Lane(f"card {card.index}", partial(self._look, card.read)) for card in cards),
            Lane("faults", partial(self._look, events.read)),
        )

    @property
    def gone(self) -> pynvml.NVMLError | None:
        """What told that the driver is gone, or None."""
        with self._lock:
            return self._gone

    @property
    def empty(self) -> bool:
        """Whether no lane is inside the driver."""
        with self._lock:
            return self._inside == 0

    def problems(self) -> tuple[str, ...]:
        """What its lanes met at their last look."""
        found = [problem for card in self._cards for problem in card.problems()]
        return (*found, *self._events.problems())

    def _look(self, read: Callable[[], Reading]) -> Reading:
        with self._lock:
            if self._gone is not None:
                return Reading()
            self._inside += 1
        gone: pynvml.NVMLError | None = None
        try:
            return read()
        except pynvml.NVMLError as error:
            gone = error
            return Reading()
        finally:
            with self._lock:
                self._inside -= 1
                self._gone = self._gone or gone


class NvmlCards:
    """A :class:`~telemetry.core.reader.CardReader` of this node's NVIDIA cards.

    Without a library or a driver it has no lanes, keeps the reason, and looks again every
    *retry_s*; the same for a card that fell off the bus.

    Args:
        retry_s: Seconds between two attempts to find the driver or a lost card.
        slow_s: Seconds between two readings of the slow signals.
        clock: Monotonic time, s.
        wall: Unix time, s.
    """

    source: CardSource = "nvml"

    def __init__(
        self,
        *,
        retry_s: float = 10.0,
        slow_s: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._retry_s = retry_s
        self._slow_s = slow_s
        self._clock = clock
        self._wall = wall
        self._session: _Session | None = None
        self._missing = "the driver has not been asked yet"
        self._retry_at = clock()

    def lanes(self) -> tuple[Lane, ...]:
        """One lane for each card, and one for the faults of all; see the Protocol."""
        session = self._session
        if session is None:
            return self._open()
        if session.gone is None:
            return session.lanes
        if session.empty:
            self._retry_at = self._clock() + self._retry_s
            self._shut(_no_driver(session.gone))
        return ()

    def problems(self) -> tuple[str, ...]:
        """The missing driver, or each card's trouble."""
        session = self._session
        if session is None:
            return (self._missing,)
        return session.problems() if session.gone is None else (_no_driver(session.gone),)

    def close(self) -> None:
        """Let go of the driver."""
        if self._session is not None:
            self._shut("the reader was closed")
        self._retry_at = float("inf")

    def _open(self) -> tuple[Lane, ...]:
        if self._clock() < self._retry_at:
            return ()
        self._retry_at = self._clock() + self._retry_s
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._missing = _no_driver(error)
            return ()
        try:
            self._session = self._found()
        except pynvml.NVMLError as error:
            self._shut(_no_driver(error))
            return ()
        return self._session.lanes

    def _found(self) -> _Session:
        """The cards that there are; each is looked up in its own lane."""
        version: str | None = None
        with suppress(pynvml.NVMLError):
            version = str(pynvml.nvmlSystemGetDriverVersion())
        cards = tuple(
            NvmlCard(
                index,
                driver_version=version,
                retry_s=self._retry_s,
                slow_s=self._slow_s,
                clock=self._clock,
                wall=self._wall,
            )
            for index in range(pynvml.nvmlDeviceGetCount())
        )
        return _Session(cards, NvmlEvents(cards, wall=self._wall))

    def _shut(self, missing: str) -> None:
        """Forget all handles, since a reloaded driver gives others; *missing* says why."""
        self._missing = missing
        self._session = None
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _no_driver(error: pynvml.NVMLError) -> str:
    """Why a node has no cards to read, and what to do, for people."""
    hints = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "this node has no NVIDIA driver; install it, or set "
        "cards to none or simulated",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "load the kernel module, or set cards to none",
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the driver is too old; install a newer one",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the library and the kernel module are of "
        "different versions; restart the node",
    }
    hint = hints.get(error.value, "look at the kernel log")
    return f"NVML: {error}: {hint}"


@contextmanager
def _driver() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def uuid_of(entry: str) -> str:
    """The UUID of a card named as in ``CUDA_VISIBLE_DEVICES`` or by Ray's accelerator ids.

    Args:
        entry: An NVML index, a UUID (``GPU-...``) or an unambiguous beginning of one. A part of a
            card (``MIG-...``) is the card that it is a part of: it heats, and is guarded, as one.

    Raises:
        UnknownCardError: No card, or more than one, is called that, or there is no driver.
    Check: ``nvidia-smi --query-gpu=index,uuid --format=csv``
    """
    entry = entry.strip()
    try:
        with _driver():
            found = _matches(entry)
    except pynvml.NVMLError as error:
        raise UnknownCardError(f"card {entry!r} can't be looked up: {error}") from error
    if len(found) != 1:
        raise UnknownCardError(f"{len(found)} cards of this node are called {entry!r}")
    return found[0]


def _matches(entry: str) -> list[str]:
    count = pynvml.nvmlDeviceGetCount()
    if entry.isdecimal():
        if int(entry) >= count:
            return []
        return [identity(pynvml.nvmlDeviceGetHandleByIndex(int(entry)))[0]]
    if entry.startswith("MIG-"):
        part = pynvml.nvmlDeviceGetHandleByUUID(entry)
        return [identity(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part))[0]]
    if not entry:
        return []
    uuids = []
    for index in range(count):
        # A lost neighbour must not keep a healthy card from being found.
        with suppress(pynvml.NVMLError):
            uuids.append(identity(pynvml.nvmlDeviceGetHandleByIndex(index))[0])
    return [uuid for uuid in uuids if uuid.startswith(entry)]
