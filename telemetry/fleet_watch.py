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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from telemetry.card_watch import ActiveAlert, active_alerts
from telemetry.cluster import ClusterSnapshot, ClusterView, NodeView
from telemetry.core.alerts import AlertBook, AlertRule, Subject
from telemetry.core.history import STEPS, TRACKS, FleetHistory, Step, Window
from telemetry.core.messages import Language, Message, message_of
from telemetry.core.model_book import merge_models
from telemetry.core.report_facts import CardFacts, ReportFacts, card_facts
from telemetry.core.sample import SynthesisRecord
from telemetry.core.signals import synthesis_signals
from telemetry.core.thermal import ThermalRules
from telemetry.report import find_plotly_js, to_html, to_markdown

logger = logging.getLogger(__name__)

PERIOD_S: Final = 2.0
OVERLAP_S: Final = 3.0
"""How far a question reaches back behind the last one, apart from what nodes' clocks lag."""
CARDS_REMEMBERED_S: Final = 6 * 3600.0
RECENT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class ReportSchedule:
    """When a report is written by itself.

    Args:
        folder: Where to; the newest replaces the one before it.
        every_h: Hours between two reports, and the time that each is about.
    """

    folder: Path
    every_h: float = 24.0


class _MostCards:
    """The most cards that a node has shown lately."""

    def __init__(self) -> None:
        self._most, self._at = 0, 0.0

    def missing(self, count: int, now_s: float) -> int:
        if count >= self._most or now_s - self._at > CARDS_REMEMBERED_S:
            self._most, self._at = count, now_s
        return self._most - count


class FleetWatch:
    """Follows a cluster; owned by one event loop. Call :meth:`run` once.

    Args:
        view: Where to ask; owned.
        thermal: How cards are judged, for the report.
        alerts: What people want to be told.
        post: Takes a message and returns at once.
        language: Of messages and of scheduled reports.
        schedule: When reports are written, or None.
        history: What is known of the cards before; new where nothing is.
        clock: Monotonic time, s.
        wall: Unix time, s.
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
        history: FleetHistory | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._view, self._thermal, self._post = view, thermal, post
        self._language, self._schedule = language, schedule
        self._clock, self._wall = clock, wall
        self._book = AlertBook(alerts)
        self.history = FleetHistory() if history is None else history
        self._most_cards: dict[str, _MostCards] = {}
        self._asked_at: float | None = None
        self._lag_s = 0.0
        self._last: ClusterSnapshot | None = None
        self._reported_at = wall()

    async def run(self) -> None:
        """Look every two seconds until cancelled."""
        try:
            while True:
                try:
                    await self.tick()
                except Exception:
                    logger.exception("a look at the cluster failed; the watch goes on")
                await asyncio.sleep(PERIOD_S)
        finally:
            self._view.close()

    async def tick(self) -> None:
        """Look once."""
        asked_at = self._wall()
        since = None if self._asked_at is None else self._asked_at - OVERLAP_S - self._lag_s
        snapshot = await self._view.gather(since)
        self._last, self._asked_at = snapshot, asked_at
        self._lag_s = _lag_s(snapshot, asked_at)
        for node in snapshot.nodes:
            if node.snapshot is not None:
                self.history.add(node.snapshot.samples)
        notices = self._book.update(self._clock(), self._signals(snapshot))
        if notices:
            self._post(message_of(notices, self._language))
        await self._report_if_due()

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
        found = {uuid: self.history.card(uuid) for uuid in uuids}
        step: Step = steps[step_s]
        return {
            uuid: card.windows(track, step, since)
            for uuid, card in found.items()
            if card is not None
        }

    def alerts(self) -> tuple[ActiveAlert, ...]:
        """Alerts of the fleet that are on; those of cards are in their nodes' snapshots."""
        return active_alerts(self._book)

    def facts(self, hours: float) -> ReportFacts:
        """What a report about the last *hours* tells."""
        end = self._wall()
        start = end - hours * 3600
        nodes = self._last.nodes if self._last is not None else ()
        cards = [fact for node in nodes for fact in self._node_facts(node, start, end)]
        snapshots = [node.snapshot for node in nodes if node.snapshot is not None]
        there = [n.snapshot for n in nodes if n.snapshot is not None and n.state != "dead"]
        active = [*self.alerts(), *(alert for s in there for alert in s.alerts)]
        problems = [f"{node.host}: {node.problem}" for node in nodes if node.problem]
        problems += [f"{s.host}: {problem}" for s in snapshots for problem in s.problems]
        return ReportFacts(
            start,
            end,
            tuple(sorted(cards, key=lambda card: (card.host, card.sample.index))),
            merge_models(model for s in snapshots for model in s.models),
            tuple(f"{alert.title}: {alert.label}" for alert in active),
            tuple(problems),
        )

    def report(self, hours: float, language: Language, *, as_html: bool) -> str:
        """The report about the last *hours*; takes a while, call it in a thread of its own."""
        facts = self.facts(hours)
        if not as_html:
            return to_markdown(facts, self._thermal, language)
        plotly = find_plotly_js()
        script = None if plotly is None else plotly.read_text(encoding="utf-8")
        return to_html(facts, self._thermal, language, plotly_js=script)

    def _node_facts(self, node: NodeView, start: float, end: float) -> list[CardFacts]:
        facts = []
        xids = node.snapshot.xids if node.snapshot is not None else ()
        for aged in node.cards:
            uuid = aged.sample.uuid
            history = self.history.card(uuid)
            found = history and card_facts(
                history,
                host=node.host,
                node=node.id,
                start=start,
                end=end,
                limits=self._thermal.celsius,
                xids=[event for event in xids if event.uuid == uuid],
            )
            if found:
                facts.append(found)
        return facts

    def _signals(self, snapshot: ClusterSnapshot) -> dict[Subject, dict[str, float]]:
        signals: dict[Subject, dict[str, float]] = {}
        now_s = self._clock()
        for node in snapshot.nodes:
            told = {} if node.age_s is None else {"silent_s": node.age_s}
            failing_s = None if node.snapshot is None else node.snapshot.export_failing_s
            if failing_s is not None:
                told["export_failing_s"] = failing_s
            if node.snapshot is not None and node.state == "ok":
                most = self._most_cards.setdefault(node.id, _MostCards())
                told["cards_missing"] = float(most.missing(len(node.snapshot.latest), now_s))
            signals[Subject(node.id, node.host)] = told
        for gone in set(self._most_cards) - {node.id for node in snapshot.nodes}:
            del self._most_cards[gone]
        for model, records in self._recent(snapshot).items():
            waited_s = max(record.queue_s for record in records)
            simulated = any(record.simulated for record in records)
            told = synthesis_signals(records, queue_age_s=waited_s)
            signals[Subject(f"model:{model}", model, simulated)] = told
        return signals

    def _recent(self, snapshot: ClusterSnapshot) -> dict[str, list[SynthesisRecord]]:
        after = self._wall() - RECENT_S
        recent: dict[str, list[SynthesisRecord]] = {}
        for node in snapshot.nodes:
            for record in node.snapshot.records if node.snapshot is not None else ():
                if record.timestamp > after:
                    recent.setdefault(record.model, []).append(record)
        return recent

    async def _report_if_due(self) -> None:
        schedule = self._schedule
        if schedule is None or self._wall() - self._reported_at < schedule.every_h * 3600:
            return
        self._reported_at = self._wall()
        try:
            text = await asyncio.to_thread(self._write, schedule)
        except OSError as error:
            logger.warning("the health report could not be written: %s", error)
            return
        self._post(Message("vibevoice-serve: health report", text, urgent=False))

    def _write(self, schedule: ReportSchedule) -> str:
        """Write both files, whole or not at all; returns the Markdown."""
        schedule.folder.mkdir(parents=True, exist_ok=True)
        markdown = self.report(schedule.every_h, self._language, as_html=False)
        page = self.report(schedule.every_h, self._language, as_html=True)
        for name, text in (("report.md", markdown), ("report.html", page)):
            unfinished = schedule.folder / f".{name}.new"
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(schedule.folder / name)
        return markdown


def _lag_s(snapshot: ClusterSnapshot, now: float) -> float:
    """By how much the clock of a node that answers is behind this one's, at most."""
    told = [node.snapshot for node in snapshot.nodes if node.snapshot and node.state == "ok"]
    return max((now - one.taken_at for one in told if one.taken_at < now), default=0.0)
