"""When faults (Xid events) came over the last day, from counts that only tell how many.

A node forgets a fault that stays away for an hour, and counts the repeats of the others since its
telemetry started. A report is about a time of its own, so what each look adds is kept here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from telemetry.core.sample import XidEvent


class FaultLog:
    """Faults by the time of their last repeat, in bounded memory.

    Args:
        most: Entries kept, and counts remembered; the oldest leave first.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._counts: dict[tuple[str, int], int] = {}
        self._log: deque[XidEvent] = deque(maxlen=most)

    def note(self, totals: Iterable[XidEvent]) -> None:
        """Take all faults so far of some cards; what was not there at the last look is new.

        A count below the last one is that of a telemetry that was restarted: all of it is new.
        """
        for total in totals:
            key = (total.uuid, total.xid)
            before = self._counts.get(key, 0)
            if total.count != before:
                self._counts.pop(key, None)
                self._counts[key] = total.count
                new = total.count - before if total.count > before else total.count
                self._log.append(XidEvent(total.timestamp, total.uuid, total.xid, new))
        while len(self._counts) > self._most:
            del self._counts[next(iter(self._counts))]

    def between(self, start: float, end: float) -> dict[str, tuple[XidEvent, ...]]:
        """Faults from Unix time *start* to *end* by card, repeats counted, the newest last."""
        found: dict[str, dict[int, XidEvent]] = {}
        for event in self._log:
            if start <= event.timestamp <= end:
                card = found.setdefault(event.uuid, {})
                known = card.pop(event.xid, None)
                count = event.count + (0 if known is None else known.count)
                card[event.xid] = XidEvent(event.timestamp, event.uuid, event.xid, count)
        return {uuid: tuple(card.values()) for uuid, card in found.items()}
