"""Watches the whole cluster: keeps its day, tells people what no node can see, and reports.

A node's cards are guarded and watched on the node itself (:mod:`telemetry.card_watch`), whatever
becomes of this. Here is what takes several nodes: one that fell silent or shows fewer cards than
before, speech that fails or lags over all of them, the history that pages draw, and the health
report. It asks the cluster view and never re-exports what it hears.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from telemetry.card_watch import ActiveAlert, active_alerts
from telemetry.cluster import ClusterSnapshot, ClusterView
from telemetry.core.alerts import AlertRule, Subject
from telemetry.core.channels import ChannelCount
from telemetry.core.history import STEPS, TRACKS, Step, Window
from telemetry.core.ingress_reports import IngressReport
from telemetry.core.messages import Language, Message, message_of
from telemetry.core.recent import WINDOW_S, RecentStats, merge_recent
from telemetry.core.report_facts import ReportFacts
from telemetry.core.signals import synthesis_signals
from telemetry.core.thermal import ThermalRules
from telemetry.fleet_memory import FleetMemory, MostCards
from telemetry.fleet_report import ReportSchedule, fleet_facts, report_text, write_report

logger = logging.getLogger(__name__)

PERIOD_S: Final = 2.0
"""Between two looks; with the longest of them, a node that joins or leaves is seen within 5 s."""
OVERLAP_S: Final = 3.0
"""How far a question reaches back behind the last one, apart from what nodes' clocks lag."""
_MODEL: Final = "model:"
"""Begins the identity of a model that alerts are about."""

_Signals = dict[Subject, dict[str, float]]
"""Values by name, of every subject."""


class FleetWatch:
    """Follows a cluster; owned by one event loop. Call :meth:`run` once.

    Args:
        view: Where to ask; owned.
        thermal: How cards are judged, for the report.
        alerts: What people want to be told.
        post: Takes a message and returns at once.
        language: Of messages and of scheduled reports.
        schedule: When reports are written, or None.
        channels: What became of what was posted.
        memory: What another watch has known before; new where nothing is.
        clock: Monotonic time, s.
        wall: Unix time, s.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        view: ClusterView,
        *,
        thermal: ThermalRules,
        alerts: tuple[AlertRule, ...],
        post: Callable[[Message], None],
        language: Language = "en",
        schedule: ReportSchedule | None = None,
        channels: Callable[[], tuple[ChannelCount, ...]] = tuple,
        memory: FleetMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._view, self._thermal, self._post = view, thermal, post
        self._language, self._schedule = language, schedule
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._channels = channels
        if memory is None:
            memory = FleetMemory(alerts, wall())
        else:
            memory.book.adopt(alerts)
        self.memory = memory
        self._asked_at: float | None = None
        self._lag_s = 0.0
        self._last: ClusterSnapshot | None = None

    async def run(self) -> None:
        """Look every two seconds until cancelled."""
        try:
            while True:
                try:
                    await self.tick()
                except Exception:
                    logger.exception("a look at the cluster failed; the watch goes on")
                await self._sleep(PERIOD_S)
        finally:
            self._view.close()

    async def tick(self) -> None:
        """Look once."""
        asked_at = self._wall()
        since = None if self._asked_at is None else self._asked_at - OVERLAP_S - self._lag_s
        snapshot = await self._view.gather(since)
        self._last, self._asked_at = snapshot, asked_at
        self._lag_s = _lag_s(snapshot, asked_at)
        self.memory.note(snapshot, self._wall())
        notices = self.memory.book.update(self._clock(), self._signals(snapshot))
        if notices:
            self._post(message_of(notices, self._language))
        await self._report_if_due()

    def heard(self, report: IngressReport) -> None:
        """Take what an ingress says of itself."""
        self.memory.ingresses.heard(self._clock(), report)

    def windows(
        self, uuids: tuple[str, ...], track: str, step_s: int, since: float
    ) -> dict[str, tuple[Window, ...]]:
        """Windows of one signal of some cards; those that are not known are left out.

        Raises:
            ValueError: No such track or step.
        """
        steps = {step.step_s: step for step in STEPS}
        if track not in {known.name for known in TRACKS} or step_s not in steps:
            raise ValueError(
                f"no history of {track!r} at {step_s} s; tracks are "
                f"{', '.join(known.name for known in TRACKS)}, steps {', '.join(map(str, steps))}"
            )
        found = {uuid: self.memory.history.card(uuid) for uuid in uuids}
        step: Step = steps[step_s]
        return {
            uuid: card.windows(track, step, since)
            for uuid, card in found.items()
            if card is not None
        }

    def alerts(self) -> tuple[ActiveAlert, ...]:
        """Alerts of the fleet that are on; those of cards are in their nodes' snapshots."""
        return active_alerts(self.memory.book)

    def channels(self) -> tuple[ChannelCount, ...]:
        """What became of the messages about the fleet, by channel."""
        return self._channels()

    def facts(self, hours: float) -> ReportFacts:
        """What a report about the last *hours* tells."""
        end = self._wall()
        return fleet_facts(
            self.memory,
            self._last.nodes if self._last is not None else (),
            start=end - hours * 3600,
            end=end,
            thermal=self._thermal,
            alerts=self.alerts(),
            channels=self.channels(),
        )

    def report(self, hours: float, language: Language, *, as_html: bool) -> str:
        """The report about the last *hours*; takes a while, call it in a thread of its own."""
        return report_text(self.facts(hours), self._thermal, language, as_html=as_html)

    def _signals(self, snapshot: ClusterSnapshot) -> _Signals:
        now_s = self._clock()
        nodes, ingresses = self._of_nodes(snapshot, now_s), self._of_ingresses(now_s)
        return nodes | self._of_models(snapshot) | ingresses

    def _of_nodes(self, snapshot: ClusterSnapshot, now_s: float) -> _Signals:
        signals: _Signals = {}
        for node in snapshot.nodes:
            # Who was taken out is silent on purpose.
            told = {} if node.age_s is None else {"silent_s": 0.0 if node.left else node.age_s}
            failing_s = None if node.snapshot is None else node.snapshot.export_failing_s
            if failing_s is not None:
                told["export_failing_s"] = failing_s
            if node.snapshot is not None and node.state == "ok":
                most = self.memory.most_cards.setdefault(node.id, MostCards())
                known = node.snapshot
                told["cards_missing"] = float(most.missing(known.source, len(known.latest), now_s))
            signals[Subject(node.id, node.host)] = told
        for gone in set(self.memory.most_cards) - {node.id for node in snapshot.nodes}:
            del self.memory.most_cards[gone]
        return signals

    def _of_models(self, snapshot: ClusterSnapshot) -> _Signals:
        return {
            Subject(f"{_MODEL}{one.model}", one.model, one.simulated): synthesis_signals(one)
            for one in self._recent(snapshot)
        }

    def _of_ingresses(self, now_s: float) -> _Signals:
        signals: _Signals = {
            Subject(f"application:{application}", application): {"queue_age_s": waits_s}
            for application, waits_s in self.memory.ingresses.waits_s(now_s).items()
        }
        for report in self.memory.ingresses.known(now_s):
            failing_s = max((state.failing_s for state in report.exports), default=None)
            if failing_s is not None:
                subject = Subject(report.ingress, f"ingress {report.ingress}")
                signals[subject] = {"export_failing_s": failing_s}
        return signals

    def _recent(self, snapshot: ClusterSnapshot) -> Iterable[RecentStats]:
        """What the models did of late; one with an alert that is on is told of in any case."""
        watched = (subject for _, subject, _ in self.memory.book.active)
        idle = [
            RecentStats(subject.label, subject.simulated)
            for subject in watched
            if subject.id.startswith(_MODEL)
        ]
        told = [
            one
            for node in snapshot.nodes
            # An answer that is older tells of a time before the window.
            if node.snapshot is not None and node.age_s is not None and node.age_s <= WINDOW_S
            for one in node.snapshot.recent
        ]
        return merge_recent([*idle, *told]).values()

    async def _report_if_due(self) -> None:
        schedule, now = self._schedule, self._wall()
        if schedule is None or now - self.memory.reported_at < schedule.every_h * 3600:
            return
        self.memory.reported_at = now
        facts = self.facts(schedule.every_h)
        try:
            text = await asyncio.to_thread(
                write_report, schedule.folder, facts, self._thermal, self._language
            )
        except OSError as error:
            logger.warning("the health report could not be written: %s", error)
            return
        self._post(Message("vibevoice-serve: health report", text, urgent=False))


def _lag_s(snapshot: ClusterSnapshot, now: float) -> float:
    """By how much the clock of a node that answers is behind this one's, at most."""
    told = [node.snapshot for node in snapshot.nodes if node.snapshot and node.state == "ok"]
    return max((now - one.taken_at for one in told if one.taken_at < now), default=0.0)
