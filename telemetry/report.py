"""The health report as Markdown and as one HTML file that needs nothing beside it."""

from __future__ import annotations

import html
import importlib.util
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from telemetry.core.channels import ChannelCount
from telemetry.core.findings import Finding, findings
from telemetry.core.messages import Language
from telemetry.core.model_book import ModelStats, Sketch
from telemetry.core.report_facts import CardFacts, ReportFacts, Spread
from telemetry.core.report_words import WORDS
from telemetry.core.thermal import ThermalRules

CHARTED_CARDS: Final = 16
_DASH: Final = "–"
_CARD_HEADS: Final = (
    "card",
    "uuid",
    "available",
    "util",
    "temp",
    "slowed",
    "memory",
    "power",
    "card_energy",
    "faults",
)
_MODEL_HEADS: Final = ("model", "spoken", "failed", "causes", "audio", "rtf", "first", "queue")
_CHANNEL_HEADS: Final = ("channel", "sent", "given_up", "dropped", "waiting")

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Heads and rows."""


def find_plotly_js() -> Path | None:
    """plotly.js of the installed package, found without importing it; None if there is none."""
    spec = importlib.util.find_spec("plotly")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        script = Path(folder) / "package_data" / "plotly.min.js"
        if script.is_file():
            return script
    return None


def to_markdown(facts: ReportFacts, rules: ThermalRules, language: Language = "en") -> str:
    """The report as Markdown."""
    words = WORDS[language]
    parts = [f"# vibevoice-serve: {words['title']}", _period(facts, words)]
    if facts.simulated:
        parts.append(f"**{words['simulated']}**")
    for title, lines in _lists(facts, rules, language):
        parts += [f"## {title}", "\n".join(f"- {line}" for line in lines)]
    for title, table, nothing in _tables(facts, words):
        parts += [f"## {title}", _markdown_table(table) if table[1] else nothing]
    return "\n\n".join([*parts, *_energy(facts, words)]) + "\n"


def to_html(
    facts: ReportFacts,
    rules: ThermalRules,
    language: Language = "en",
    *,
    plotly_js: str | None = None,
) -> str:
    """The report as one HTML file.

    Args:
        facts: What it tells.
        rules: How heat is judged.
        language: ``en`` or ``zh``.
        plotly_js: The library's text, put into the file; without it there are no charts.
    """
    words = WORDS[language]
    parts = [f"<h1>vibevoice-serve: {words['title']}</h1>", _tag("p", _period(facts, words))]
    if facts.simulated:
        parts.append(_tag("p", words["simulated"], "simulated"))
    for title, lines in _lists(facts, rules, language):
        items = "".join(_tag("li", line) for line in lines)
        parts += [_tag("h2", title), f"<ul>{items}</ul>"]
    for title, table, nothing in _tables(facts, words):
        parts += [_tag("h2", title), _html_table(table) if table[1] else _tag("p", nothing)]
    parts += [_tag("p", line) for line in _energy(facts, words)]
    parts += _charts(facts, words, plotly_js)
    return _PAGE.format(language=language, title=words["title"], body="\n".join(parts))


def _period(facts: ReportFacts, words: dict[str, str]) -> str:
    start, end = (
        datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
        for at in (facts.start, facts.end)
    )
    return words["period"].format(start=start, end=end)


def _lists(
    facts: ReportFacts, rules: ThermalRules, language: Language
) -> Iterable[tuple[str, list[str]]]:
    words = WORDS[language]
    advice = [_sentence(finding, language) for finding in findings(facts, rules)]
    yield words["findings"], advice or [words["none"]]
    if facts.alerts:
        yield words["alerts"], list(facts.alerts)
    if facts.problems:
        yield words["problems"], list(facts.problems)


def _sentence(finding: Finding, language: Language) -> str:
    seen, action = finding.english if language == "en" else finding.chinese
    return f"[{WORDS[language][finding.gravity]}] {finding.subject}: {seen} {action}"


def _tables(facts: ReportFacts, words: dict[str, str]) -> Iterable[tuple[str, Table, str]]:
    cards = [_card_row(card, words) for card in facts.cards]
    yield words["cards"], ([words[head] for head in _CARD_HEADS], cards), words["no_cards"]
    models = [_model_row(model) for model in facts.models]
    yield words["models"], ([words[head] for head in _MODEL_HEADS], models), words["no_models"]
    if facts.channels:
        channels = [_channel_row(channel) for channel in facts.channels]
        yield words["channels"], ([words[head] for head in _CHANNEL_HEADS], channels), ""


def _channel_row(channel: ChannelCount) -> list[str]:
    counts = (channel.sent, channel.failed, channel.dropped, channel.waiting)
    return [channel.name, *map(str, counts)]


def _card_row(card: CardFacts, words: dict[str, str]) -> list[str]:
    simulated = " (simulated)" if card.sample.simulated else ""
    state = "" if card.state == "here" else f", {words[card.state]}"
    return [
        f"{card.label}{simulated}",
        card.sample.uuid,
        f"{card.available:.1%}{state}",
        _DASH if card.util is None else f"{card.util.mean:.0f} %",
        _mean_and_peak(card.temp_c, "C"),
        _DASH if card.slowed is None else f"{card.slowed:.1%}",
        _DASH if card.mem_fill is None else f"{card.mem_fill.high:.0%}",
        _mean_and_peak(card.power_w, "W"),
        _DASH if card.energy_j is None else _kwh(card.energy_j),
        ", ".join(f"Xid {event.xid} x{event.count}" for event in card.xids) or _DASH,
    ]


def _model_row(model: ModelStats) -> list[str]:
    simulated = " (simulated)" if model.simulated else ""
    return [
        f"{model.model} ({model.engine}){simulated}",
        str(model.spoken),
        str(model.failed),
        ", ".join(f"{code} x{count}" for code, count in model.failures) or _DASH,
        f"{model.audio_s / 60:.1f} min",
        _percentiles(model.real_time_factor, ""),
        _percentiles(model.first_audio_s, " s"),
        _percentile(model.queue_s, 0.95, " s"),
    ]


def _mean_and_peak(spread: Spread | None, unit: str) -> str:
    return _DASH if spread is None else f"{spread.mean:.0f} / {spread.high:.0f} {unit}"


def _percentiles(sketch: Sketch, unit: str) -> str:
    return f"{_percentile(sketch, 0.5, '')} / {_percentile(sketch, 0.95, unit)}"


def _percentile(sketch: Sketch, share: float, unit: str) -> str:
    value = sketch.percentile(share)
    return _DASH if value is None else f"{value:.2f}{unit}"


def _energy(facts: ReportFacts, words: dict[str, str]) -> list[str]:
    if facts.energy_j is None:
        return []
    line = f"{words['energy']}: {_kwh(facts.energy_j)}"
    each = facts.energy_per_audio_minute_j
    return [line if each is None else f"{line}; {each:.0f} J {words['per_minute']}"]


def _kwh(energy_j: float) -> str:
    return f"{energy_j / 3.6e6:.2f} kWh"


def _markdown_table(table: Table) -> str:
    heads, rows = table
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _html_table(table: Table) -> str:
    heads = "".join(_tag("th", head) for head in table[0])
    rows = "".join("<tr>" + "".join(_tag("td", cell) for cell in row) + "</tr>" for row in table[1])
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _tag(name: str, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<{name}{attribute}>{html.escape(text)}</{name}>"


def _charts(facts: ReportFacts, words: dict[str, str], plotly_js: str | None) -> list[str]:
    warmest = sorted(
        facts.cards, key=lambda card: card.temp_c.high if card.temp_c else 0.0, reverse=True
    )[:CHARTED_CARDS]
    if not warmest:
        return []
    title = _tag("h2", words["charts"])
    if plotly_js is None:
        return [title, _tag("p", words["no_charts"])]
    figures = {
        name: _figure(warmest, signal, words[axis])
        for name, signal, axis in (
            ("temperature", "temp_c", "temp_axis"),
            ("load", "gpu_util", "util_axis"),
            ("power", "power_w", "power_axis"),
        )
    }
    data = json.dumps(figures).replace("<", "\\u003c")
    places = "".join(f'<div class="chart" id="{name}"></div>' for name in figures)
    return [
        title,
        places,
        f'<script type="application/json" id="figures">{data}</script>',
        f"<script>{plotly_js}</script>",
        f"<script>{_DRAW}</script>",
    ]


def _figure(cards: Sequence[CardFacts], signal: str, axis: str) -> dict[str, object]:
    traces = [
        {
            "type": "scatter",
            "mode": "lines" if len(card.minutes[signal]) > 1 else "markers",  # a point has no line
            "name": card.label,
            "x": [
                datetime.fromtimestamp(window.start, UTC).isoformat()
                for window in card.minutes[signal]
            ],
            "y": [round(window.high, 2) for window in card.minutes[signal]],
        }
        for card in cards
    ]
    layout = {"yaxis": {"title": {"text": axis}, "rangemode": "tozero"}, "height": 320}
    return {"data": traces, "layout": {**layout, "margin": {"t": 20, "b": 40}}}


_DRAW: Final = """
const figures = JSON.parse(document.getElementById("figures").textContent);
for (const [name, figure] of Object.entries(figures)) {
  Plotly.newPlot(name, figure.data, figure.layout, {responsive: true, displaylogo: false});
}
"""

_PAGE: Final = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>vibevoice-serve: {title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem;
       padding: 0 1rem; color: #1c2330; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
th, td {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #d8dee8; }}
.simulated {{ background: #fff4d6; padding: .5rem .8rem; border-left: 4px solid #d99a00; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
