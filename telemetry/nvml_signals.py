"""What an NVIDIA card tells: one function per call of NVML, from a handle to fields of a sample.

These are the fast signals, read each tick (about 2 to 10 microseconds a call where the driver is
healthy); the slow ones are in :mod:`telemetry.nvml_slow`. A function raises whatever NVML answers;
who calls it remembers what a card has refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pynvml

from telemetry.core.throttle import throttle_reasons

Values = Mapping[str, Any]
"""Fields of a :class:`~telemetry.core.sample.CardSample`, by name."""
Way = Callable[[Any], Values]
"""One call: takes the card's handle."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that a card may tell.

    Args:
        name: For people.
        ways: What may tell it, the newest driver's or the usual one first.
    """

    name: str
    ways: tuple[Way, ...]


_UNION_MEMBER = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}


def read_field(handle: Any, field: int) -> float | int:
    """One field value, read as the type that the driver says it has.

    Raises:
        pynvml.NVMLError: What the driver answered for this field. A field that it does not know
            counts as not supported.
    """
    (found,) = pynvml.nvmlDeviceGetFieldValues(handle, [field])
    if found.nvmlReturn == pynvml.NVML_ERROR_INVALID_ARGUMENT:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    if found.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(found.nvmlReturn)
    member = _UNION_MEMBER.get(found.valueType)
    if member is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    value: float | int = getattr(found.value, member)
    return value


def read_utilisation(handle: Any) -> Values:
    """Share of the last sampling period in which a kernel ran, and the memory bus, percent.

    Check: ``nvidia-smi --query-gpu=utilization.gpu,utilization.memory --format=csv,nounits``
    """
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return {"gpu_util": float(rates.gpu), "mem_bus_util": float(rates.memory)}


def read_memory(handle: Any) -> Values:
    """Memory that programs use, and all there is, bytes; what the driver reserves is not used.

    Check: ``nvidia-smi --query-gpu=memory.used,memory.total,memory.reserved --format=csv`` (MiB)
    """
    info = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return {
        "mem_used_bytes": int(info.used),
        "mem_free_bytes": int(info.free),
        "mem_total_bytes": int(info.total),
        "mem_reserved_bytes": int(info.reserved),
    }


def read_memory_v1(handle: Any) -> Values:
    """As :func:`read_memory`, on drivers before 510, which count reserved memory as used."""
    info = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "mem_used_bytes": int(info.used),
        "mem_free_bytes": int(info.free),
        "mem_total_bytes": int(info.total),
    }


def read_temperature(handle: Any) -> Values:
    """Core temperature, deg C.

    Check: ``nvidia-smi --query-gpu=temperature.gpu --format=csv``
    """
    return {"temp_c": float(pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU))}


def read_temperature_v1(handle: Any) -> Values:
    """As :func:`read_temperature`, by the call that NVIDIA has deprecated since."""
    unsigned = int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    # The call has no negative numbers, and wraps below zero.
    return {"temp_c": float(unsigned - 2**32 if unsigned >= 2**31 else unsigned)}


def read_memory_temperature(handle: Any) -> Values:
    """Temperature of the memory, deg C.

    Check: ``nvidia-smi --query-gpu=temperature.memory --format=csv``
    """
    return {"mem_temp_c": float(read_field(handle, pynvml.NVML_FI_DEV_MEMORY_TEMP))}


def read_margin(handle: Any) -> Values:
    """Degrees C until the driver begins to slow the card down; negative beyond.

    Check: ``nvidia-smi --query-gpu=temperature.gpu.tlimit --format=csv``
    """
    return {"margin_c": float(pynvml.nvmlDeviceGetMarginTemperature(handle))}


def read_power(handle: Any) -> Values:
    """Power drawn, W.

    Check: ``nvidia-smi --query-gpu=power.draw --format=csv``
    """
    return {"power_w": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000.0}


def read_energy(handle: Any) -> Values:
    """Energy since the driver was loaded, J; Volta and later.

    Check: ``power.draw`` of ``nvidia-smi`` summed over a minute is about its rise in that minute.
    """
    return {"energy_j": pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000.0}


def read_clock(name: str, domain: int, handle: Any) -> Values:
    """A clock, MHz.

    Check: ``nvidia-smi --query-gpu=clocks.sm,clocks.mem --format=csv``
    """
    return {name: float(pynvml.nvmlDeviceGetClockInfo(handle, domain))}


def read_throttle(handle: Any) -> Values:
    """What holds the clocks down.

    Check: ``nvidia-smi --query-gpu=clocks_event_reasons.active --format=csv``
    """
    return {"throttle": throttle_reasons(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))}


def read_throttle_v1(handle: Any) -> Values:
    """As :func:`read_throttle`, by its name before driver 535."""
    return {"throttle": throttle_reasons(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))}


FAST = (
    Signal("utilisation", (read_utilisation,)),
    Signal("memory", (read_memory, read_memory_v1)),
    Signal("temperature", (read_temperature, read_temperature_v1)),
    Signal("memory temperature", (read_memory_temperature,)),
    Signal("margin", (read_margin,)),
    Signal("power", (read_power,)),
    Signal("energy", (read_energy,)),
    Signal("SM clock", (partial(read_clock, "sm_clock_mhz", pynvml.NVML_CLOCK_SM),)),
    Signal("memory clock", (partial(read_clock, "mem_clock_mhz", pynvml.NVML_CLOCK_MEM),)),
    Signal("throttling", (read_throttle, read_throttle_v1)),
)
"""Read each tick."""
