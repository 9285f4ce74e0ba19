"""The cluster's one watch as a Ray actor: a thin shell around :class:`~telemetry.fleet_watch`.

Detached and restarted wherever there is a node, it needs no ingress: once made, it follows the
cluster, sends alerts and writes reports by itself. Its loop runs in a thread of its own, so that
it goes on whether or not somebody asks.

The day it remembers is in its memory: a restart of its process begins a new one, and forgets which
alerts were on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import ray
from opentelemetry.metrics import Meter
from ray.exceptions import RayError

from telemetry import instruments
from telemetry.actor import NAMESPACE
from telemetry.card_metrics import observe
from telemetry.card_watch import ActiveAlert
from telemetry.cluster import ClusterView
from telemetry.core.channels import ChannelCount
from telemetry.core.history import Window
from telemetry.core.ingress_reports import IngressReport
from telemetry.core.messages import Language
from telemetry.fleet_memory import FleetMemory
from telemetry.fleet_report import ReportSchedule
from telemetry.fleet_watch import FleetWatch
from telemetry.notify import Notifier, readable
from telemetry.otel import start_metrics
from telemetry.ray_cluster import RayCluster
from telemetry.readings import alert_points, notice_points, waiting_points
from telemetry.watch_config import TelemetryConfig, changes

logger = logging.getLogger(__name__)

NAME: Final = "telemetry-watch"
_ANSWER_TIMEOUT_S: Final = 30.0

T = TypeVar("T")


class WatchActor:
    """What runs in the actor's process.

    Args:
        config: As the nodes' actors have it.
        schedule: When reports are written, or None.
    """

    def __init__(self, config: TelemetryConfig, schedule: ReportSchedule | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fleet", daemon=True)
        self._thread.start()
        self._setup = (config, schedule)
        self._adopted = False
        self._notifier = Notifier(readable(config.channels))
        self._begin(None)
        self._metrics = start_metrics("telemetry-watch")
        if self._metrics is not None:
            self._export(self._metrics.meter)

    def adopt(self, config: TelemetryConfig, schedule: ReportSchedule | None) -> None:
        """Watch by another config from now on; nothing happens if it is the same.

        What is known of the cards stays, and so do the alerts that are on. A cluster has one watch:
        where applications differ in what they want of it, the last one to start has its way.
        """
        self._adopted = True
        if (config, schedule) != self._setup:
            changed = [*changes(self._setup[0], config)]
            changed += ["report"] if schedule != self._setup[1] else []
            logger.warning("the fleet is watched by other settings now: %s", ", ".join(changed))
            self._end()
            self._notifier.adopt(readable(config.channels))
            self._setup = (config, schedule)
            self._begin(self._watch.memory)

    def renew(self, config: TelemetryConfig, schedule: ReportSchedule | None) -> None:
        """As :meth:`adopt`, but only for the first one since this process began.

        A process that is restarted begins with what the actor was made with, however long ago.
        """
        if not self._adopted:
            self.adopt(config, schedule)

    def windows(
        self, uuids: tuple[str, ...], track: str, step_s: int, since: float
    ) -> dict[str, tuple[Window, ...]]:
        """See :meth:`FleetWatch.windows`."""

        async def ask() -> dict[str, tuple[Window, ...]]:
            return self._watch.windows(uuids, track, step_s, since)

        return self._call(ask())

    def heard(self, report: IngressReport) -> None:
        """See :meth:`FleetWatch.heard`."""
        self._loop.call_soon_threadsafe(lambda: self._watch.heard(report))

    def alerts(self) -> tuple[ActiveAlert, ...]:
        """See :meth:`FleetWatch.alerts`."""

        async def ask() -> tuple[ActiveAlert, ...]:
            return self._watch.alerts()

        return self._call(ask())

    def channels(self) -> tuple[ChannelCount, ...]:
        """See :meth:`FleetWatch.channels`."""
        return self._notifier.counts

    def report(self, hours: float, language: Language, *, as_html: bool) -> str:
        """See :meth:`FleetWatch.report`; in this thread, so that the watch goes on."""
        return self._watch.report(hours, language, as_html=as_html)

    def close(self) -> None:
        """Stop watching, for the moment before the end."""
        self._end()
        self._notifier.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_TIMEOUT_S)
        if self._metrics is not None:
            self._metrics.close()

    def _export(self, meter: Meter) -> None:
        """Tell of the fleet's own alerts; those of cards are exported by their nodes."""
        observe(meter, instruments.ALERTS, lambda: alert_points(self._watch.alerts()))
        observe(meter, instruments.NOTICES, lambda: notice_points(self._notifier.counts))
        observe(meter, instruments.NOTICES_WAITING, lambda: waiting_points(self._notifier.counts))

    def _begin(self, memory: FleetMemory | None) -> None:
        async def begin() -> None:
            config, schedule = self._setup
            self._watch = FleetWatch(
                ClusterView(RayCluster(config), stale_after_s=config.stale_after_s),
                thermal=config.thermal,
                alerts=config.alerts,
                post=self._notifier.post,
                language=config.language,
                schedule=schedule,
                channels=lambda: self._notifier.counts,
                memory=memory,
            )
            self._running = asyncio.get_running_loop().create_task(self._watch.run())

        self._call(begin())

    def _end(self) -> None:
        """Stop watching, and wait until it has: two must not write into one memory."""

        async def end() -> None:
            self._running.cancel()
            await asyncio.wait([self._running])

        self._call(end())

    def _call(self, question: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(_ANSWER_TIMEOUT_S)


def ensure_watch(
    config: TelemetryConfig, schedule: ReportSchedule | None, *, known: bool = False
) -> Any:
    """The handle of the cluster's watch, which is made if it is missing. Blocks.

    Args:
        config: As the nodes' actors have it.
        schedule: When reports are written, or None.
        known: The watch was told this before; see :meth:`WatchActor.renew`.
    Raises:
        RayError: Ray is gone.
    """
    try:
        handle = ray.get_actor(NAME, namespace=NAMESPACE)
    except ValueError:
        options = ray.remote(WatchActor).options(
            name=NAME,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_pending_calls=100,
        )
        return options.remote(config, schedule)
    (handle.renew if known else handle.adopt).remote(config, schedule)
    return handle


def stop_watch(timeout_s: float = 5.0) -> None:
    """End the cluster's watch, if there is one. Blocks, *timeout_s* at most for its last words."""
    try:
        handle = ray.get_actor(NAME, namespace=NAMESPACE)
        ray.wait([handle.close.remote()], timeout=timeout_s)
        ray.kill(handle)
    except (ValueError, RayError):
        return


class WatchLink:
    """An ingress' line to the watch; made by :func:`ensure_watch`'s handle.

    Args:
        handle: The actor.
        timeout_s: Longest wait for an answer.
    """

    def __init__(self, handle: Any, timeout_s: float = 10.0) -> None:
        self._handle, self._timeout_s = handle, timeout_s

    async def windows(
        self, uuids: tuple[str, ...], track: str, step_s: int, since: float
    ) -> dict[str, tuple[Window, ...]]:
        """See :meth:`FleetWatch.windows`.

        Raises:
            TimeoutError, RayError: The watch does not answer.
            ValueError: No such track or step.
        """
        asked = self._handle.windows.remote(uuids, track, step_s, since)
        answer: dict[str, tuple[Window, ...]] = await asyncio.wait_for(asked, self._timeout_s)
        return answer

    def heard(self, report: IngressReport) -> None:
        """See :meth:`FleetWatch.heard`; sends and forgets, never raises."""
        try:
            self._handle.heard.remote(report)
        except RayError as error:
            logger.debug("the watch was not told: %s", error)

    async def alerts(self) -> tuple[ActiveAlert, ...]:
        """See :meth:`FleetWatch.alerts`; raises as :meth:`windows`."""
        answer: tuple[ActiveAlert, ...] = await asyncio.wait_for(
            self._handle.alerts.remote(), self._timeout_s
        )
        return answer

    async def channels(self) -> tuple[ChannelCount, ...]:
        """See :meth:`FleetWatch.channels`; raises as :meth:`windows`."""
        answer: tuple[ChannelCount, ...] = await asyncio.wait_for(
            self._handle.channels.remote(), self._timeout_s
        )
        return answer

    async def report(self, hours: float, language: Language, *, as_html: bool) -> str:
        """See :meth:`FleetWatch.report`; raises as :meth:`windows`."""
        asked = self._handle.report.remote(hours, language, as_html=as_html)
        answer: str = await asyncio.wait_for(asked, self._timeout_s)
        return answer
