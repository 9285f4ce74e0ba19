"""What NVIDIA's driver says about itself; its cards are read by :mod:`telemetry.nvml`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import pynvml

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DriverAnswer:
    """A driver that answers.

    Args:
        version: Of the driver, or None.
        cuda: Newest CUDA it supports, or None.
        cards: How many it has, lost ones included.
    """

    version: str | None
    cuda: str | None
    cards: int


def ask_driver() -> DriverAnswer | None:
    """Ask NVML; None without a driver.

    Check: ``nvidia-smi`` shows version and CUDA in its head.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        cuda = _told(pynvml.nvmlSystemGetCudaDriverVersion)
        return DriverAnswer(
            version=_told(lambda: str(pynvml.nvmlSystemGetDriverVersion())),
            cuda=None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            cards=_told(pynvml.nvmlDeviceGetCount) or 0,
        )
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _told(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except pynvml.NVMLError:
        return None
