"""What reads cards: the Protocol that NVML, simulated cards and a node without cards share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from telemetry.core.sample import CardSample

CardSource = Literal["nvml", "simulated", "none"]
"""Where a node's cards come from."""


class UnknownCardError(LookupError):
    """A card was named that this node does not have."""


@dataclass(frozen=True, slots=True)
class NoDriver:
    """Why a node has no cards to read.

    Args:
        reason: For people: what failed and what to do.
        code: The driver's own number for it, or None where it has none.
    """

    reason: str
    code: int | None = None


class CardReader(Protocol):
    """Reads every card of one node.

    Only one thread calls ``read``; ``problems`` may be called from another at the same time.
    ``close`` is called by the thread that reads, after its last ``read``.
    """

    @property
    def source(self) -> CardSource:
        """What kind of cards these are."""
        ...

    def read(self) -> tuple[CardSample, ...]:
        """One sample per card, ordered by index; may block as long as the driver does.

        A card that can't be read gives a sample with ``error``; a node without a driver gives no
        samples and says why in ``problems``.
        """
        ...

    def problems(self) -> tuple[str, ...]:
        """What is wrong right now, for people; empty when all is well."""
        ...

    def close(self) -> None:
        """Let go of the driver; idempotent."""
        ...


class NoCards:
    """The reader of a node whose cards nobody wants watched."""

    source: CardSource = "none"

    def read(self) -> tuple[CardSample, ...]:
        """No samples."""
        return ()

    def problems(self) -> tuple[str, ...]:
        """Nothing can go wrong here."""
        return ()

    def close(self) -> None:
        """Nothing to let go of."""
