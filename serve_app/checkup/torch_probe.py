"""What torch can do here; the only file of these that imports it."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class TorchAnswer:
    """torch on this machine.

    Args:
        cuda: CUDA it was built for, or None.
        cards: Cards it can use.
    """

    cuda: str | None
    cards: int


def ask_torch() -> TorchAnswer:
    """Ask torch without making a context on a card; may hang where the driver does."""
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return TorchAnswer(torch.version.cuda, cards)


def card_uuid(device: str) -> str | None:
    """NVML's UUID of a device such as ``cuda`` or ``cuda:1``; None where torch does not tell."""
    index = torch.device(device).index
    properties = torch.cuda.get_device_properties(
        torch.cuda.current_device() if index is None else index
    )
    uuid = getattr(properties, "uuid", None)
    return None if uuid is None else f"GPU-{uuid}"


class TorchMemory:
    """Memory that this process has on a card, as torch's allocator counts it.

    Args:
        device: Such as ``cuda:0``.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def reset(self) -> None:
        """Count the peak from now on."""
        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """Most that was allocated at once."""
        return torch.cuda.max_memory_allocated(self._device)
