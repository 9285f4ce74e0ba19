"""The faults (Xid events) that a node's driver reported lately, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Entry:
    at: float
    event: XidEvent


class XidBook:
    """Counts the repeats of each fault of each card, and forgets a fault that stays away.

    Plain state without clock, thread or lock: see :class:`~telemetry.core.window.SampleWindow`.

    Args:
        forget_s: Seconds without a repeat after which a fault is no longer told.
        most: Faults kept at most; the one that has stayed away longest leaves first.

    Raises:
        ValueError: One of them leaves no room.
    """

    def __init__(self, *, forget_s: float = 3_600.0, most: int = 128) -> None:
        if forget_s <= 0 or most < 1:
            raise ValueError(
                f"a book of faults needs forget_s > 0 and most >= 1, got {forget_s}, {most}"
            )
        self._forget_s = forget_s
        self._most = most
        self._entries: dict[tuple[str, int], _Entry] = {}
        self._totals: dict[tuple[str, int], XidEvent] = {}

    def add(self, now: float, events: Iterable[XidEvent]) -> None:
        """Count *events*, which were seen at monotonic time *now*."""
        for event in events:
            self._count(event)
            known = self._entries.pop((event.uuid, event.xid), None)
            before = known.event.count if known and now - known.at <= self._forget_s else 0
            total = XidEvent(event.timestamp, event.uuid, event.xid, before + event.count)
            self._entries[event.uuid, event.xid] = _Entry(now, total)
            if len(self._entries) > self._most:
                del self._entries[next(iter(self._entries))]

    def events(self, now: float) -> tuple[XidEvent, ...]:
        """The faults that are not forgotten at *now*, the last to repeat at the end."""
        return tuple(e.event for e in self._entries.values() if now - e.at <= self._forget_s)

    @property
    def totals(self) -> tuple[XidEvent, ...]:
        """All that ever came of each fault of each card, with the time of its last one.

        It only grows, as a counter must, but for a card that was silent the longest while more
        than eight times *most* different faults came.
        """
        return tuple(self._totals.values())

    def _count(self, event: XidEvent) -> None:
        key = (event.uuid, event.xid)
        before = self._totals.pop(key, None)
        count = event.count + (before.count if before is not None else 0)
        self._totals[key] = XidEvent(event.timestamp, event.uuid, event.xid, count)
        if len(self._totals) > 8 * self._most:
            del self._totals[next(iter(self._totals))]
