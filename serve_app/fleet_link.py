"""What an ingress knows of the whole fleet: the cluster view, the watch, and its own requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from opentelemetry.context import Context

from telemetry.body import to_json
from telemetry.card_watch import ActiveAlert
from telemetry.cluster import ClusterView
from telemetry.core.channels import ChannelCount
from telemetry.core.export_state import Exports
from telemetry.core.history import Window
from telemetry.core.ingress_reports import IngressReport
from telemetry.core.messages import Language
from telemetry.core.request import RequestRecord
from telemetry.core.request_book import RequestBook
from telemetry.fleet_metrics import metrics_text
from telemetry.speech_metrics import RequestMetrics

Item = TypeVar("Item")

_ALERTS_TIMEOUT_S = 1.0
_REPORT_PERIOD_S = 2.0


class Watch(Protocol):
    """The fleet's watch; :class:`telemetry.watch_actor.WatchLink` in production."""

    async def windows(
        self, uuids: tuple[str, ...], track: str, step_s: int, since: float
    ) -> dict[str, tuple[Window, ...]]:
        """Windows of one signal of some cards.

        Raises:
            ValueError: No such track or step.
            Exception: The watch does not answer.
        """
        ...

    def heard(self, report: IngressReport) -> None:
        """Take what an ingress says of itself; returns at once and never raises."""
        ...

    async def alerts(self) -> tuple[ActiveAlert, ...]:
        """Alerts of the fleet that are on; may raise."""
        ...

    async def channels(self) -> tuple[ChannelCount, ...]:
        """What became of the fleet's messages, by channel; may raise."""
        ...

    async def report(self, hours: float, language: Language, *, as_html: bool) -> str:
        """The health report; may raise."""
        ...


class FleetLink:
    """Behind ``/metrics``, ``/get_metrics``, ``/get_history`` and ``/report``; a hook for requests.

    Args:
        view: Asks the nodes.
        watch: The fleet's watch, or None where there is none.
        exported: This process' OTLP metrics of requests, or None where nothing is exported.
        exports: How this process' exports go.
    """

    def __init__(
        self,
        view: ClusterView,
        watch: Watch | None = None,
        exported: RequestMetrics | None = None,
        exports: Callable[[], Exports] = tuple,
    ) -> None:
        self._view, self.watch, self._exported = view, watch, exported
        self._exports = exports
        self._book = RequestBook()

    def answered(self, record: RequestRecord, context: Context | None) -> None:
        """Count a request."""
        self._book.add(record)
        if self._exported is not None:
            self._exported.answered(record, context)

    async def report(
        self,
        ingress: str,
        application: str,
        waits_s: Callable[[], float],
        period_s: float = _REPORT_PERIOD_S,
    ) -> None:
        """Tell the watch of this ingress until cancelled.

        Args:
            ingress, application: Who it is.
            waits_s: For how long a request has waited for its turn.
            period_s: Between two reports.
        """
        while True:
            if self.watch is not None:
                self.watch.heard(IngressReport(ingress, application, waits_s(), self._exports()))
            await asyncio.sleep(period_s)

    async def metrics(self) -> str:
        """The body of ``GET /metrics``."""
        # No sample is newer: the newest of each card is in the snapshots anyway.
        snapshot, alerts, channels = await asyncio.gather(
            self._view.gather(_NO_HISTORY), self.alerts(), self.channels()
        )
        return await asyncio.to_thread(
            metrics_text,
            snapshot,
            requests=self._book.stats,
            fleet_alerts=alerts,
            fleet_channels=channels,
            exports=self._exports(),
        )

    async def page(self, since: float | None) -> dict[str, Any]:
        """The body of ``GET /get_metrics``, with samples later than a Unix time alone."""
        snapshot, alerts, channels = await asyncio.gather(
            self._view.gather(since), self.alerts(), self.channels()
        )
        # A thousand cards' minute takes a quarter of a second, in which streams must go on.
        return dict(await asyncio.to_thread(to_json, snapshot, alerts, channels))

    async def alerts(self) -> tuple[ActiveAlert, ...]:
        """Alerts of the fleet that are on; none while the watch does not answer."""
        return () if self.watch is None else await _answered(self.watch.alerts())

    async def channels(self) -> tuple[ChannelCount, ...]:
        """What became of the fleet's messages; nothing while the watch does not answer."""
        return () if self.watch is None else await _answered(self.watch.channels())


_NO_HISTORY = 1e11
"""A Unix time behind all samples."""


async def _answered(asked: Awaitable[tuple[Item, ...]]) -> tuple[Item, ...]:
    """What the watch says; nothing if it fails: the nodes tell theirs all the same."""
    try:
        return await asyncio.wait_for(asked, _ALERTS_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - whatever it is, pages must go on
        return ()
