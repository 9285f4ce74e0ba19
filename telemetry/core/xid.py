"""The faults (Xid events) that a node's driver reported lately, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from telemetry.core.sample import XidEvent


class XidClass(StrEnum):
    """What a fault means for the card."""

    CRITICAL = "critical"
    """It needs a hand: a drain, a reset or a repair."""
    WARNING = "warning"
    """The driver contained it; the card should be watched."""
    APPLICATION = "application"
    """A program's mistake, or a repair that worked: no fault of the card."""
    OTHER = "other"
    """Not judged here."""


_CLASSES: Final = {
    **dict.fromkeys((48, 62, 64, 74, 79, 95, 119, 120), XidClass.CRITICAL),
    94: XidClass.WARNING,
    **dict.fromkeys((13, 31, 43, 63), XidClass.APPLICATION),
}


def xid_class(xid: int) -> XidClass:
    """What NVIDIA's fault number *xid* means; from NVIDIA's list of Xids and gpud's judgement."""
    return _CLASSES.get(xid, XidClass.OTHER)


_Kind = tuple[str, int]
"""Card and number."""


class XidBook:
    """Counts the faults of a node's cards: those of the last minutes, and all.

    Plain state without clock, thread or lock: see :class:`~telemetry.core.window.SampleWindow`.

    Args:
        window_s: How long a fault is told of by :meth:`events`.
        most: Faults of that time that are remembered, and kinds of fault that are counted; the
            oldest leave first. Of a storm beyond it only the end is counted as recent.

    Raises:
        ValueError: One of them leaves no room.
    """

    def __init__(self, *, window_s: float = 600.0, most: int = 4096) -> None:
        if window_s <= 0 or most < 1:
            raise ValueError(
                f"a book of faults needs window_s > 0 and most >= 1, got {window_s}, {most}"
            )
        self._window_s = window_s
        self._most = most
        self._recent: deque[tuple[float, XidEvent]] = deque(maxlen=most)
        self._totals: dict[_Kind, XidEvent] = {}

    def add(self, now: float, events: Iterable[XidEvent]) -> None:
        """Count *events*, which were seen at monotonic time *now*."""
        for event in events:
            self._recent.append((now, event))
            _count(self._totals, event)
            if len(self._totals) > self._most:
                del self._totals[next(iter(self._totals))]

    def events(self, now: float) -> tuple[XidEvent, ...]:
        """The faults of the time up to *now*, each with its repeats in it, the last at the end."""
        while self._recent and now - self._recent[0][0] > self._window_s:
            self._recent.popleft()
        found: dict[_Kind, XidEvent] = {}
        for _, event in self._recent:
            _count(found, event)
        return tuple(found.values())

    @property
    def totals(self) -> tuple[XidEvent, ...]:
        """All that ever came of each fault of each card, with the time of its last one.

        It only grows, as a counter must, but for a card that was silent the longest while more
        than *most* different faults came.
        """
        return tuple(self._totals.values())


def _count(counts: dict[_Kind, XidEvent], event: XidEvent) -> None:
    """Add an event to the counts, where the last to repeat is at the end."""
    kind = (event.uuid, event.xid)
    before = counts.pop(kind, None)
    count = event.count + (before.count if before is not None else 0)
    counts[kind] = XidEvent(event.timestamp, event.uuid, event.xid, count)
