"""The facts of a report out of what the fleet's watch remembers, and its files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from telemetry.card_watch import ActiveAlert
from telemetry.cluster import NodeView
from telemetry.core.channels import ChannelCount, merge_channels
from telemetry.core.findings import clock_time
from telemetry.core.messages import Language
from telemetry.core.model_book import merge_models
from telemetry.core.report_facts import CardFacts, CardState, ReportFacts, card_facts
from telemetry.core.sample import unknown_uuid
from telemetry.core.thermal import ThermalRules
from telemetry.core.window import AgedSample
from telemetry.fleet_memory import FleetMemory
from telemetry.report import find_plotly_js, to_html, to_markdown

ABSENT_AFTER_S: Final = 60.0
"""Age of a card's newest sample from which nobody tells of it any more."""


@dataclass(frozen=True, slots=True)
class ReportSchedule:
    """When a report is written by itself.

    Args:
        folder: Where to; the newest replaces the one before it.
        every_h: Hours between two reports, and the time that each is about.
    """

    folder: Path
    every_h: float = 24.0


def fleet_facts(
    memory: FleetMemory,
    nodes: Iterable[NodeView],
    *,
    start: float,
    end: float,
    thermal: ThermalRules,
    alerts: Iterable[ActiveAlert] = (),
    channels: Iterable[ChannelCount] = (),
) -> ReportFacts:
    """What a report from Unix time *start* to *end* tells.

    Args:
        memory: What is remembered, of nodes that have left too.
        nodes: As they answered last.
        start, end: The time; cards are judged by what they are at its end.
        thermal: How cards are judged.
        alerts: Alerts of the fleet that are on.
        channels: What became of the messages about those.
    """
    views = tuple(nodes)
    there = [view for view in views if view.state != "dead"]
    told = [view.snapshot for view in there if view.snapshot is not None]
    active = [*alerts, *(alert for one in told for alert in one.alerts)]
    known = dict(memory.nodes)
    models = (model for node in known.values() if node.heard_at >= start for model in node.models)
    return ReportFacts(
        start,
        end,
        _cards(memory, there, start, end, thermal),
        merge_models(models),
        tuple(f"{alert.title}: {alert.label}" for alert in active),
        (*_problems(views), *_left(memory, views, start)),
        merge_channels([*channels, *(one for node in told for one in node.channels)]),
    )


def _cards(
    memory: FleetMemory, there: list[NodeView], start: float, end: float, thermal: ThermalRules
) -> tuple[CardFacts, ...]:
    """Every card that was seen in the time, by host and index."""
    listed = {aged.sample.uuid: aged for view in there for aged in view.cards}
    faults = memory.faults.between(start, end)
    found = []
    for uuid, history in memory.history.cards():
        aged = listed.get(uuid)
        last = history.last
        if last is not None and aged is None and uuid == unknown_uuid(last.index):
            continue  # it has got its name since, or its driver has gone
        facts = card_facts(
            history,
            start=start,
            end=end,
            limits=thermal.celsius,
            state=_state(aged),
            xids=faults.get(uuid, ()),
        )
        if facts is not None:
            found.append(facts)
    return tuple(sorted(found, key=lambda card: (card.host, card.sample.index)))


def _state(aged: AgedSample | None) -> CardState:
    if aged is None or aged.age_s > ABSENT_AFTER_S:
        return "absent"
    return "here" if aged.sample.error is None else "lost"


def _problems(views: Iterable[NodeView]) -> Iterable[str]:
    for view in views:
        if view.problem:
            yield f"{view.host}: {view.problem}"
        for problem in view.snapshot.problems if view.snapshot is not None else ():
            yield f"{view.host}: {problem}"


def _left(memory: FleetMemory, views: Iterable[NodeView], start: float) -> Iterable[str]:
    """The nodes that have left in the time and that the cluster view has forgotten."""
    shown = {view.id for view in views}
    for node, known in dict(memory.nodes).items():
        if node not in shown and known.heard_at >= start:
            yield f"{known.host}: the node left; its last answer is of {clock_time(known.heard_at)}"


def report_text(
    facts: ReportFacts, thermal: ThermalRules, language: Language, *, as_html: bool
) -> str:
    """A report, as one page of HTML with charts or as Markdown; takes a while."""
    if not as_html:
        return to_markdown(facts, thermal, language)
    plotly = find_plotly_js()
    script = None if plotly is None else plotly.read_text(encoding="utf-8")
    return to_html(facts, thermal, language, plotly_js=script)


def write_report(
    folder: Path, facts: ReportFacts, thermal: ThermalRules, language: Language
) -> str:
    """Write both files, whole or not at all.

    Returns:
        The Markdown.
    Raises:
        OSError: They can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    markdown = report_text(facts, thermal, language, as_html=False)
    page = report_text(facts, thermal, language, as_html=True)
    for name, text in (("report.md", markdown), ("report.html", page)):
        unfinished = folder / f".{name}.new"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / name)
    return markdown
