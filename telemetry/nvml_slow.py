"""What an NVIDIA card tells now and then: limits, health, and who uses it.

As in :mod:`telemetry.nvml_signals`; read every 10 to 60 s.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pynvml

from telemetry.core.sample import CardProcess
from telemetry.nvml_signals import Signal, Values, read_field, read_margin, read_temperature

MAX_PROCESSES = 64
"""Processes told per card; those with the most memory."""
_UNKNOWN_PSTATE = 32
_CORRECTED = pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED
_UNCORRECTED = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED


def read_threshold(name: str, threshold: int, handle: Any) -> Values:
    """A core temperature at which something happens, deg C, on cards before Ada.

    Check: ``nvidia-smi -q -d TEMPERATURE``
    """
    return {name: float(pynvml.nvmlDeviceGetTemperatureThreshold(handle, threshold))}


def read_tlimit(name: str, field: int, handle: Any) -> Values:
    """As :func:`read_threshold`, on Ada and later, which tell it as an offset of the margin.

    The margin is m at temperature T, and something happens when it is o: at T + m - o. Good to
    about 1 deg C, since both are whole degrees read one after the other.

    Check: ``GPU ... T.Limit Temp`` of ``nvidia-smi -q -d TEMPERATURE`` gives the offsets.
    """
    offset_c = float(read_field(handle, field))
    temp_c: float = read_temperature(handle)["temp_c"]
    margin_c: float = read_margin(handle)["margin_c"]
    return {name: temp_c + margin_c - offset_c}


def read_power_limit(handle: Any) -> Values:
    """Power that the card is held to, the lowest of all limits, W.

    Check: ``nvidia-smi --query-gpu=enforced.power.limit --format=csv``
    """
    return {"power_limit_w": pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000.0}


def read_pstate(handle: Any) -> Values:
    """Performance state, 0 (highest) to 15.

    Check: ``nvidia-smi --query-gpu=pstate --format=csv``
    """
    state = int(pynvml.nvmlDeviceGetPerformanceState(handle))
    return {} if state == _UNKNOWN_PSTATE else {"pstate": state}


def read_fan(handle: Any) -> Values:
    """Fan speed that is asked for, percent of the fastest.

    Check: ``nvidia-smi --query-gpu=fan.speed --format=csv``
    """
    return {"fan_percent": float(pynvml.nvmlDeviceGetFanSpeed(handle))}


def read_ecc(name: str, kind: int, counter: int, handle: Any) -> Values:
    """Memory errors of one kind, since the driver was loaded or in the card's life.

    Check: ``nvidia-smi -q -d ECC``
    """
    return {name: int(pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, counter))}


def read_rows(handle: Any) -> Values:
    """Memory rows that were replaced; Ampere and later.

    Check: ``nvidia-smi -q -d ROW_REMAPPER``
    """
    corrected, uncorrected, pending, failed = pynvml.nvmlDeviceGetRemappedRows(handle)
    return {
        "rows_corrected": int(corrected),
        "rows_uncorrected": int(uncorrected),
        "rows_pending": bool(pending),
        "rows_failed": bool(failed),
    }


def read_replays(handle: Any) -> Values:
    """Retransmissions on the bus since the driver was loaded.

    Check: ``Replays Since Reset`` of ``nvidia-smi -q``
    """
    return {"pcie_replays": int(read_field(handle, pynvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER))}


def read_replays_v1(handle: Any) -> Values:
    """As :func:`read_replays`, by its own call."""
    return {"pcie_replays": int(pynvml.nvmlDeviceGetPcieReplayCounter(handle))}


def read_mig(handle: Any) -> Values:
    """Whether the card is divided into instances.

    Check: ``nvidia-smi --query-gpu=mig.mode.current --format=csv``
    """
    current, _pending = pynvml.nvmlDeviceGetMigMode(handle)
    return {"mig": current == pynvml.NVML_DEVICE_MIG_ENABLE}


def read_processes(version: int, handle: Any) -> Values:
    """Programs that compute on the card; slow (milliseconds).

    Check: ``nvidia-smi --query-compute-apps=pid,used_memory --format=csv``
    """
    call = {
        3: pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
        2: pynvml.nvmlDeviceGetComputeRunningProcesses_v2,
    }[version]
    found = [CardProcess(int(one.pid), one.usedGpuMemory) for one in call(handle)]
    found.sort(key=lambda process: (-(process.mem_bytes or 0), process.pid))
    return {"processes": tuple(found[:MAX_PROCESSES])}


def _threshold(name: str, field: str, threshold: int, offset: int) -> Signal:
    absolute, relative = (
        partial(read_threshold, field, threshold),
        partial(read_tlimit, field, offset),
    )
    return Signal(name, (absolute, relative))


def _ecc(name: str, field: str, kind: int, counter: int) -> Signal:
    return Signal(name, (partial(read_ecc, field, kind, counter),))


SLOW = (
    _threshold(
        "slowdown temperature",
        "temp_slowdown_c",
        pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
        pynvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT,
    ),
    _threshold(
        "shutdown temperature",
        "temp_shutdown_c",
        pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
        pynvml.NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT,
    ),
    _threshold(
        "highest operating temperature",
        "temp_max_operating_c",
        pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
        pynvml.NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT,
    ),
    Signal("power limit", (read_power_limit,)),
    Signal("performance state", (read_pstate,)),
    Signal("fan", (read_fan,)),
    _ecc("corrected ECC", "ecc_corrected", _CORRECTED, pynvml.NVML_VOLATILE_ECC),
    _ecc("uncorrected ECC", "ecc_uncorrected", _UNCORRECTED, pynvml.NVML_VOLATILE_ECC),
    _ecc("lifetime corrected ECC", "ecc_corrected_total", _CORRECTED, pynvml.NVML_AGGREGATE_ECC),
    _ecc(
        "lifetime uncorrected ECC",
        "ecc_uncorrected_total",
        _UNCORRECTED,
        pynvml.NVML_AGGREGATE_ECC,
    ),
    Signal("remapped rows", (read_rows,)),
    Signal("PCIe replays", (read_replays, read_replays_v1)),
    Signal("MIG", (read_mig,)),
    Signal("processes", (partial(read_processes, 3), partial(read_processes, 2))),
)
"""Read now and then."""
