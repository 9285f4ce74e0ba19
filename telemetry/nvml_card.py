"""One NVIDIA card: its handle, what it has refused to tell, and its last slow reading.

A signal that the card or its driver lacks is asked for once and then absent for good, never 0; a
call that an old driver lacks gives way to the one before it, where there is one. A card that is
lost is looked up again now and then, and asked for everything anew when it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pynvml

from telemetry.core.reader import Reading
from telemetry.core.sample import CardSample, unknown_uuid
from telemetry.nvml_signals import FAST, Signal, Values
from telemetry.nvml_slow import SLOW

REFUSED = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    }
)
"""The card or the driver has no such thing."""
CARD_LOST = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED})
DRIVER_GONE = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)

_CARD = "card"
"""What the trouble of a card as a whole is filed under."""


class NvmlCard:
    """A card of this node. One thread at a time calls :meth:`read`.

    Args:
        index: NVML index when the driver was opened.
        driver_version: For the samples.
        retry_s: Seconds between two look-ups of a lost card.
        slow_s: Seconds between two readings of the slow signals.
        clock, wall: Monotonic and Unix time, s.
    """

    def __init__(
        self,
        index: int,
        *,
        driver_version: str | None,
        retry_s: float,
        slow_s: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.index = index
        self.uuid = unknown_uuid(index)
        self.handle: Any = None
        self.look_ups = 0
        self._name = "NVIDIA card"
        self._driver_version = driver_version
        self._bus_id: str | None = None
        self._retry_s = retry_s
        self._slow_s = slow_s
        self._clock = clock
        self._wall = wall
        self._look_up_at = clock()
        self._slow_at = clock()
        self._slow: dict[str, Any] = {}
        self._ways: dict[str, int] = {}
        self._trouble: dict[str, str] = {}

    def read(self) -> Reading:
        """One sample, stamped with the time before the first call.

        Raises:
            pynvml.NVMLError: The driver as a whole is gone.
        """
        timestamp = self._wall()
        values: dict[str, Any] = {}
        try:
            if self.handle is None and self._clock() >= self._look_up_at:
                self._look_up()
            if self.handle is not None:
                values = self._values()
        except pynvml.NVMLError as error:
            if error.value in DRIVER_GONE:
                raise
            self._lose(str(error))
        sample = CardSample(
            timestamp,
            self.index,
            self.uuid,
            self._name,
            simulated=False,
            error=self._trouble.get(_CARD),
            driver_version=self._driver_version,
            pci_bus_id=self._bus_id,
            **values,
        )
        return Reading(samples=(sample,))

    def problems(self) -> tuple[str, ...]:
        """What went wrong at the last reading, for people; may be called from any thread."""
        return tuple(
            f"card {self.index} ({self.uuid}): {what}: {text}"
            for what, text in sorted(self._trouble.copy().items())
        )

    def _look_up(self) -> None:
        """Get the handle; by UUID where it is known, since the indices may have moved."""
        if self.uuid == unknown_uuid(self.index):
            handle = pynvml.nvmlDeviceGetHandleByIndex(self.index)
        else:
            handle = pynvml.nvmlDeviceGetHandleByUUID(self.uuid)
        self.uuid, self._name = identity(handle)
        with suppress(pynvml.NVMLError):
            self._bus_id = str(pynvml.nvmlDeviceGetPciInfo(handle).busId)
        self._ways, self._trouble = {}, {}
        self._slow, self._slow_at = {}, self._clock()
        self.look_ups += 1
        self.handle = handle

    def _lose(self, reason: str) -> None:
        self.handle = None
        self._slow = {}
        self._look_up_at = self._clock() + self._retry_s
        self._trouble = {_CARD: reason}

    def _values(self) -> dict[str, Any]:
        """All signals, the slow ones as they were last read."""
        fast = self._read_all(FAST)
        if not fast and self._trouble:
            # Not one answer, and not because the card has nothing to tell.
            self._lose(f"it can't be read: {next(iter(self._trouble.values()))}")
            return {}
        if self._clock() >= self._slow_at:
            self._slow = self._read_all(SLOW)
            self._slow_at = self._clock() + self._slow_s
        values = {**self._slow, **fast}
        temp_c, slowdown_c = values.get("temp_c"), values.get("temp_slowdown_c")
        if "margin_c" not in values and temp_c is not None and slowdown_c is not None:
            values["margin_c"] = slowdown_c - temp_c
        return values

    def _read_all(self, signals: Iterable[Signal]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for signal in signals:
            values.update(self._read_signal(signal))
        return values

    def _read_signal(self, signal: Signal) -> Values:
        """Read one signal, by the first way that this card has not refused.

        Raises:
            pynvml.NVMLError: The card or the driver is gone.
        """
        while (way := self._ways.get(signal.name, 0)) < len(signal.ways):
            try:
                values = signal.ways[way](self.handle)
            except pynvml.NVMLError as error:
                if error.value in CARD_LOST or error.value in DRIVER_GONE:
                    raise
                if error.value not in REFUSED:
                    self._trouble[signal.name] = str(error)
                    return {}
                self._ways[signal.name] = way + 1
            else:
                self._trouble.pop(signal.name, None)
                return values
        self._trouble.pop(signal.name, None)  # of a call that is refused by now
        return {}


def identity(handle: Any) -> tuple[str, str]:
    """UUID and product name. Check: ``nvidia-smi --query-gpu=uuid,name --format=csv``.

    Raises:
        pynvml.NVMLError: The card does not tell.
    """
    return str(pynvml.nvmlDeviceGetUUID(handle)), str(pynvml.nvmlDeviceGetName(handle))
