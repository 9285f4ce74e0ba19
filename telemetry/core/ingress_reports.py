"""What ingresses say of themselves to the fleet's watch, in bounded memory.

How long requests wait is known where they wait, and nowhere else: what was spoken tells of waits
that are over, and a queue that is stuck speaks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from telemetry.core.export_state import Exports

EXPIRY_S: Final = 15.0
"""An ingress that has reported nothing for this long is not known."""

MOST_INGRESSES: Final = 1024


@dataclass(frozen=True, slots=True)
class IngressReport:
    """What an ingress says of itself.

    Args:
        ingress: Its replica id.
        application: Whose requests it takes.
        waits_s: For how long a request that somebody listens to has waited for its next place on
            a card, at most; 0 where none waits.
        exports: How its exports go.
    """

    ingress: str
    application: str
    waits_s: float
    exports: Exports = ()


class IngressReports:
    """The last report of each ingress; plain state, its owner passes the monotonic time in."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[float, IngressReport]] = {}

    def heard(self, now_s: float, report: IngressReport) -> None:
        """Take a report."""
        self._reports.pop(report.ingress, None)
        self._reports[report.ingress] = (now_s, report)
        while len(self._reports) > MOST_INGRESSES:
            del self._reports[next(iter(self._reports))]

    def known(self, now_s: float) -> tuple[IngressReport, ...]:
        """The last report of every ingress that still reports."""
        for ingress, (heard_s, _) in list(self._reports.items()):
            if now_s - heard_s > EXPIRY_S:
                del self._reports[ingress]
        return tuple(report for _, report in self._reports.values())

    def waits_s(self, now_s: float) -> dict[str, float]:
        """The longest wait of each application."""
        longest: dict[str, float] = {}
        for report in self.known(now_s):
            longest[report.application] = max(longest.get(report.application, 0.0), report.waits_s)
        return longest
