"""Faults (Xid events) of a node's NVIDIA cards, as the driver reports them.

NVML keeps the events of registered cards until they are asked for, so a look now and then finds
them all; those from before the registration are lost. Asked in a lane of its own: a fault is told
even while the lane of the faulty card hangs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pynvml

from telemetry.core.reader import Reading
from telemetry.core.sample import XidEvent
from telemetry.nvml_card import CARD_LOST, DRIVER_GONE, REFUSED, NvmlCard

WAIT_MS = 1
"""How long NVML may wait for an event; those that came before are there at once."""
MOST_AT_A_LOOK = 64
"""Events taken at one look; a storm goes on at the next."""


class NvmlEvents:
    """The faults of some cards. One thread at a time calls :meth:`read`.

    Args:
        cards: The cards; each is registered when it has a handle, and again when it comes back.
        wall: Unix time, s.
    """

    def __init__(self, cards: Sequence[NvmlCard], *, wall: Callable[[], float]) -> None:
        self._cards = cards
        self._wall = wall
        self._set: Any = None
        self._registered: dict[int, int] = {}
        self._refused: dict[int, tuple[int, str]] = {}
        self._uuids: dict[int | None, str] = {}
        self._absent = False
        self._trouble: str | None = None

    def read(self) -> Reading:
        """The faults since the last look.

        Raises:
            pynvml.NVMLError: The driver as a whole is gone.
        """
        if self._absent:
            return Reading()
        found: list[XidEvent] = []
        try:
            self._register_all()
            self._drain(found)
            self._trouble = None
        except pynvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise
            self._absent = error.value in REFUSED
            self._trouble = None if self._absent or error.value in CARD_LOST else str(error)
            self._renew()
        return Reading(xids=tuple(found))

    def problems(self) -> tuple[str, ...]:
        """What went wrong, for people; may be called from any thread."""
        refused = [
            f"card {index}: faults can't be watched: {text}"
            for index, (_, text) in sorted(self._refused.copy().items())
            if text
        ]
        trouble = self._trouble
        return (*refused, *(() if trouble is None else (f"faults can't be watched: {trouble}",)))

    def _renew(self) -> None:
        """Begin a new set at once: the old one may be broken, and a lost card spoils it."""
        if self._set is not None:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._set)
        self._set = None
        self._registered.clear()
        if not self._absent:
            with suppress(pynvml.NVMLError):
                self._register_all()

    def _register_all(self) -> None:
        if self._set is None:
            self._set = pynvml.nvmlEventSetCreate()
        for card in self._cards:
            handle, look_ups = card.handle, card.look_ups
            refused_at, _ = self._refused.get(card.index, (None, ""))
            asked = look_ups in {self._registered.get(card.index), refused_at}
            if handle is not None and not asked:
                self._register(card, handle, look_ups)

    def _register(self, card: NvmlCard, handle: Any, look_ups: int) -> None:
        try:
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
        except pynvml.NVMLError as error:
            if error.value in DRIVER_GONE or error.value == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                raise
            if error.value in CARD_LOST:
                return
            absent = error.value in REFUSED
            self._refused[card.index] = (look_ups, "" if absent else str(error))
            if not absent:
                # The set may be broken; the next one is made without this card.
                raise
        else:
            self._registered[card.index] = look_ups
            self._uuids[_address(handle)] = card.uuid

    def _drain(self, found: list[XidEvent]) -> None:
        """Move what NVML keeps to *found*, until it has no more."""
        while self._registered and len(found) < MOST_AT_A_LOOK:
            try:
                data = pynvml.nvmlEventSetWait_v2(self._set, WAIT_MS)
            except pynvml.NVMLError as error:
                if error.value == pynvml.NVML_ERROR_TIMEOUT:
                    return
                raise
            if data.eventType & pynvml.nvmlEventTypeXidCriticalError:
                # The card may be lost by now: its name must not need another call.
                uuid = self._uuids[_address(data.device)]
                found.append(XidEvent(self._wall(), uuid, int(data.eventData)))


def _address(handle: Any) -> int | None:
    """What two handles of the same card have in common."""
    return ctypes.cast(handle, ctypes.c_void_p).value
