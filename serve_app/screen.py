"""Tables and bars of the command line (rich)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

console = Console(highlight=False)


def card_table(
    cards: Iterable[Mapping[str, Any]], spoken_s: Mapping[str, float] | None = None
) -> Table:
    """A line per card: what it does now, and the audio it has spoken where that is told."""
    table = Table(title="Cards", title_justify="left")
    names = ["card", "node", "load", "memory GiB", "temp", "power", "age"]
    for name in names if spoken_s is None else [*names, "spoken"]:
        table.add_column(name, justify="left" if name in {"card", "node"} else "right")
    for card in cards:
        says_so = "simulated" in card["name"].lower()
        kind = " (simulated)" if card["simulated"] and not says_so else ""
        memory = None
        if card["mem_used"] is not None:
            memory = f"{card['mem_used'] / 1024:.1f} / {card['mem_total'] / 1024:.0f}"
        table.add_row(
            f"{card['index']} {card['name']}{kind}",
            str(card["node"])[:8],
            _unit(card["gpu_util"], "%"),
            memory or "-",
            _unit(card["temp"], " C"),
            _unit(card["power_w"], " W"),
            f"{card['age_s']:.1f} s",
            *([] if spoken_s is None else [f"{spoken_s.get(card['uuid'], 0.0):.1f} s"]),
            style=None if card.get("error") is None else "red",
        )
    return table


def _unit(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f}{unit}"


def eta_s(outcome: Mapping[str, Any]) -> float | None:
    """Seconds left, from the pace so far; None before there is one."""
    done_s = float(outcome["audio_s"])
    if done_s <= 0:
        return None
    left_s = max(0.0, float(outcome["estimated_s"]) - done_s)
    return left_s * float(outcome["elapsed_s"]) / done_s


class SpeechScreen(AbstractContextManager["SpeechScreen"]):
    """A progress bar with segments, audio seconds and time left, over a table of cards."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("speaking"),
            BarColumn(),
            TextColumn(
                "{task.fields[segments]} segments  {task.fields[audio]}  {task.fields[eta]}"
            ),
            console=console,
        )
        self._task: TaskID = self._progress.add_task(
            "speaking", total=1.0, segments="0/?", audio="0.0 s", eta=""
        )
        self._table: Table | None = None
        self._live = Live(
            self._progress, console=console, refresh_per_second=4, transient=not console.is_terminal
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def progress(self, outcome: Mapping[str, Any]) -> None:
        """Show a stream's outcome so far."""
        left_s = eta_s(outcome)
        done = outcome["status"] == "complete"
        self._progress.update(
            self._task,
            total=1.0 if done else float(outcome["estimated_s"]),
            completed=1.0 if done else float(outcome["audio_s"]),
            segments=f"{outcome['segments_done']}/{outcome['segments']}",
            audio=f"{outcome['audio_s']:.1f} s",
            eta="" if left_s is None or done else f"about {left_s:.0f} s left",
        )

    def cards(self, table: Table) -> None:
        """Show the cards below the bar."""
        self._live.update(Group(self._progress, table))
