"""NVIDIA cards, read through NVML; the only file that knows ``pynvml``.

NVML ignores ``CUDA_VISIBLE_DEVICES`` and sees every card of the node, which is what a watcher
wants. A reading that a card does not have stays ``None`` for good, never 0; a call that an old
driver lacks falls back to the one before it, where there is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pynvml

from telemetry.core.reader import CardSource, NoDriver, UnknownCardError
from telemetry.core.sample import CardSample, unknown_uuid

Values = Mapping[str, float | int]
"""Fields of a :class:`~telemetry.core.sample.CardSample`, by name."""

_ABSENT = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED})
_OLD_DRIVER = frozenset(
    {pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH}
)
_CARD_LOST = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED})
_DRIVER_GONE = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)


def read_utilisation(handle: Any) -> Values:
    """Share of the last sampling period in which a kernel ran, percent.

    Check: ``nvidia-smi --query-gpu=utilization.gpu --format=csv,nounits``
    """
    return {"gpu_util": float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)}


def read_memory(handle: Any) -> Values:
    """Memory that programs use, and all there is, bytes; what the driver reserves is not used.

    Check: ``nvidia-smi --query-gpu=memory.used,memory.total,memory.reserved --format=csv`` (MiB)
    """
    info = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return {"mem_used_bytes": int(info.used), "mem_total_bytes": int(info.total)}


def read_memory_v1(handle: Any) -> Values:
    """As :func:`read_memory`, on drivers before 510, which count reserved memory as used."""
    info = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {"mem_used_bytes": int(info.used), "mem_total_bytes": int(info.total)}


def read_temperature(handle: Any) -> Values:
    """Core temperature, deg C.

    Check: ``nvidia-smi --query-gpu=temperature.gpu --format=csv``
    """
    return {"temp_c": float(pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU))}


def read_temperature_v1(handle: Any) -> Values:
    """As :func:`read_temperature`, by the call that NVIDIA has deprecated since."""
    return {"temp_c": float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))}


def read_power(handle: Any) -> Values:
    """Power drawn, W.

    Check: ``nvidia-smi --query-gpu=power.draw --format=csv``
    """
    return {"power_w": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000.0}


def read_power_limit(handle: Any) -> Values:
    """Power that the card is held to, the lowest of all limits, W.

    Check: ``nvidia-smi --query-gpu=enforced.power.limit --format=csv``
    """
    return {"power_limit_w": pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000.0}


def read_sm_clock(handle: Any) -> Values:
    """Clock of the processors, MHz.

    Check: ``nvidia-smi --query-gpu=clocks.sm --format=csv``
    """
    return {"sm_clock_mhz": float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))}


def read_memory_clock(handle: Any) -> Values:
    """Clock of the memory, MHz.

    Check: ``nvidia-smi --query-gpu=clocks.mem --format=csv``
    """
    return {"mem_clock_mhz": float(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM))}


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that a card may tell.

    Args:
        name: For people.
        ways: Functions from a handle to fields of a sample, newest driver first.
    """

    name: str
    ways: tuple[Callable[[Any], Values], ...]


SIGNALS = (
    Signal("utilisation", (read_utilisation,)),
    Signal("memory", (read_memory, read_memory_v1)),
    Signal("temperature", (read_temperature, read_temperature_v1)),
    Signal("power", (read_power,)),
    Signal("power limit", (read_power_limit,)),
    Signal("SM clock", (read_sm_clock,)),
    Signal("memory clock", (read_memory_clock,)),
)
"""What is read each tick, about 2 to 10 microseconds a call where the driver is healthy."""


@dataclass(slots=True)
class _Card:
    """What is remembered about a card between readings.

    Args:
        ways: Per signal, how many of its ways this card has refused.
        trouble: Per signal, what went wrong at the last reading.
    """

    index: int
    uuid: str
    name: str
    handle: Any = None
    look_up_at: float = 0.0
    ways: dict[str, int] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)


class NvmlCards:
    """A :class:`~telemetry.core.reader.CardReader` of this node's NVIDIA cards.

    Without a library or a driver it reads no cards, keeps the reason, and looks again every
    *retry_s*; the same for a card that fell off the bus.

    Args:
        retry_s: Seconds between two attempts to find the driver or a lost card.
        clock: Monotonic time, s.
        wall: Unix time, s.
    """

    source: CardSource = "nvml"

    def __init__(
        self,
        *,
        retry_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._retry_s = retry_s
        self._clock = clock
        self._wall = wall
        self._cards: tuple[_Card, ...] | None = None
        self._missing = NoDriver("the driver has not been asked yet")
        self._retry_at = clock()

    @property
    def missing(self) -> NoDriver | None:
        """Why there are no cards, or None while there is a driver."""
        return self._missing if self._cards is None else None

    def read(self) -> tuple[CardSample, ...]:
        """One sample per card; see the Protocol."""
        if self._cards is None and not self._open():
            return ()
        try:
            return tuple(self._read_card(card) for card in self._cards or ())
        except pynvml.NVMLError as error:
            self._lose_driver(error)
            return ()

    def problems(self) -> tuple[str, ...]:
        """The missing driver, or each card's trouble."""
        cards = self._cards
        if cards is None:
            return (self._missing.reason,)
        return tuple(
            f"card {card.index} ({card.uuid}): {signal}: {text}"
            for card in cards
            for signal, text in sorted(card.trouble.copy().items())
        )

    def close(self) -> None:
        """Let go of the driver."""
        if self._cards is not None:
            self._cards = None
            self._missing = NoDriver("the reader was closed")
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
        self._retry_at = float("inf")

    def _open(self) -> bool:
        if self._clock() < self._retry_at:
            return False
        self._retry_at = self._clock() + self._retry_s
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._missing = _no_driver(error)
            return False
        try:
            count = pynvml.nvmlDeviceGetCount()
            self._cards = tuple(self._find(index) for index in range(count))
        except pynvml.NVMLError as error:
            self._lose_driver(error)
            return False
        return True

    def _lose_driver(self, error: pynvml.NVMLError) -> None:
        """Forget all handles; a reloaded driver gives others."""
        self._cards = None
        self._missing = _no_driver(error)
        self._retry_at = self._clock() + self._retry_s
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def _find(self, index: int) -> _Card:
        card = _Card(index, unknown_uuid(index), "NVIDIA card")
        try:
            self._look_up(card)
        except pynvml.NVMLError as error:
            if error.value in _DRIVER_GONE:
                raise
            self._lose_card(card, error)
        return card

    def _look_up(self, card: _Card) -> None:
        """Get the handle; by UUID where it is known, since the indices may have moved."""
        if card.uuid == unknown_uuid(card.index):
            handle = pynvml.nvmlDeviceGetHandleByIndex(card.index)
        else:
            handle = pynvml.nvmlDeviceGetHandleByUUID(card.uuid)
        card.uuid, card.name = _identity(handle)
        card.handle = handle
        card.trouble.pop("card", None)

    def _lose_card(self, card: _Card, error: pynvml.NVMLError) -> None:
        card.handle = None
        card.look_up_at = self._clock() + self._retry_s
        card.trouble = {"card": str(error)}

    def _read_card(self, card: _Card) -> CardSample:
        """Read one card.

        Raises:
            pynvml.NVMLError: The driver as a whole is gone.
        """
        try:
            if card.handle is None and self._clock() >= card.look_up_at:
                self._look_up(card)
            values: dict[str, Any] = {}
            if card.handle is not None:
                for signal in SIGNALS:
                    values.update(_read_signal(card, signal))
        except pynvml.NVMLError as error:
            if error.value in _DRIVER_GONE:
                raise
            self._lose_card(card, error)
            values = {}
        sample = CardSample(self._wall(), card.index, card.uuid, card.name, simulated=False)
        return replace(sample, **values, error=card.trouble.get("card"))


def _read_signal(card: _Card, signal: Signal) -> Values:
    """Read one signal, by the first way that this card has not refused.

    Raises:
        pynvml.NVMLError: The card or the driver is gone.
    """
    while (way := card.ways.get(signal.name, 0)) < len(signal.ways):
        try:
            values = signal.ways[way](card.handle)
        except pynvml.NVMLError as error:
            if error.value in _CARD_LOST or error.value in _DRIVER_GONE:
                raise
            if error.value in _ABSENT:
                card.ways[signal.name] = len(signal.ways)
            elif error.value in _OLD_DRIVER:
                card.ways[signal.name] = way + 1
            else:
                card.trouble[signal.name] = str(error)
                return {}
        else:
            card.trouble.pop(signal.name, None)
            return values
    return {}


def _identity(handle: Any) -> tuple[str, str]:
    """UUID and product name. Check: ``nvidia-smi --query-gpu=uuid,name --format=csv``."""
    return str(pynvml.nvmlDeviceGetUUID(handle)), str(pynvml.nvmlDeviceGetName(handle))


def _no_driver(error: pynvml.NVMLError) -> NoDriver:
    hints = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "this node has no NVIDIA driver; install it, or set "
        "cards to none or simulated",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "load the kernel module, or set cards to none",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the library and the kernel module are of "
        "different versions; restart the node",
    }
    hint = hints.get(error.value, "look at the kernel log")
    return NoDriver(f"NVML: {error}: {hint}", int(error.value))


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
        entry: An NVML index, a UUID (``GPU-...``) or an unambiguous beginning of one. Names of
            MIG instances (``MIG-...``) are returned as they are.

    Raises:
        UnknownCardError: No card, or more than one, is called that, or there is no driver.
    Check: ``nvidia-smi --query-gpu=index,uuid --format=csv``
    """
    entry = entry.strip()
    if entry.startswith("MIG-"):
        return entry
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
        return [_identity(pynvml.nvmlDeviceGetHandleByIndex(int(entry)))[0]]
    if not entry:
        return []
    uuids = []
    for index in range(count):
        # A lost neighbour must not keep a healthy card from being found.
        with suppress(pynvml.NVMLError):
            uuids.append(_identity(pynvml.nvmlDeviceGetHandleByIndex(index))[0])
    return [uuid for uuid in uuids if uuid.startswith(entry)]
