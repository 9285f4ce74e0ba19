"""What reads cards: the Protocol that NVML, simulated cards and a node without cards share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from telemetry.core.sample import CardSample, XidEvent

CardSource = Literal["nvml", "simulated", "none"]
"""Where a node's cards come from."""


class UnknownCardError(LookupError):
    """A card was named that this node does not have."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at the driver told.

    Args:
        samples: At most one per card.
        xids: Faults since the last look.
    """

    samples: tuple[CardSample, ...] = ()
    xids: tuple[XidEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Lane:
    """A part of a node's cards that is read by itself, so that it hangs by itself.

    Args:
        key: What it is called, for people; no two lanes of a reader have the same.
        read: Looks once; blocks as long as the driver does. Never called twice at a time.
            A card that can't be read gives a sample with ``error``.
    """

    key: str
    read: Callable[[], Reading]


class CardReader(Protocol):
    """Reads every card of one node.

    Only one thread calls ``lanes``; each lane may be read by a thread of its own, and
    ``problems`` called from any, all at the same time. ``close`` is called after the last
    ``lanes`` and the last ``read`` have returned.
    """

    @property
    def source(self) -> CardSource:
        """What kind of cards these are."""
        ...

    def lanes(self) -> tuple[Lane, ...]:
        """What to read from now on; the same objects as long as nothing changes.

        May block as the driver does. A node without a driver gives none and says why in
        ``problems``; asked again and again, it finds a driver that comes later.
        """
        ...

    def problems(self) -> tuple[str, ...]:
        """What is wrong right now, for people; empty when all is well. Never blocks."""
        ...

    def close(self) -> None:
        """Let go of the driver; idempotent."""
        ...


class NoCards:
    """The reader of a node whose cards nobody wants watched."""

    source: CardSource = "none"

    def lanes(self) -> tuple[Lane, ...]:
        """Nothing to read."""
        return ()

    def problems(self) -> tuple[str, ...]:
        """Nothing can go wrong here."""
        return ()

    def close(self) -> None:
        """Nothing to let go of."""
