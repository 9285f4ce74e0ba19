"""A check of a card as data for machines and as a page for people (Markdown)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from serve_app.core.check import CardUse, Comparison, Speed, statement

GIB: Final = 2**30
NO_CARD: Final = (
    "NO CARD. This ran on the CPU. It shows that the command works, and says nothing about any "
    "card's speed, memory or heat."
)
HOW: Final = (
    "Every run speaks the same segments, after a warm-up that is not counted: a short one, or with "
    "cuda_graphs or torch_compile all of the run, since each shape then costs time once. A segment "
    "starts when it gets its slot; its first audio is its first chunk. The wall time runs from the "
    "first start to the last end, so it holds the thin end where slots run empty. tokens/s counts "
    "tokens of prompts and frames of audio. Card memory is that of all programs; 'torch peak' is "
    "what this process' tensors took at most. Energy is the whole card's."
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run at some number of slots.

    Args:
        speed: Its figures.
        card: What the card did, or None.
        torch_peak_bytes: Most that tensors took, or None.
        missing: Why a part is None, by its name.
    """

    speed: Speed
    card: CardUse | None = None
    torch_peak_bytes: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def joules_per_audio_s(self) -> float | None:
        """Energy for a second of audio; None if either is unknown."""
        if self.card is None or self.card.energy_j is None or self.speed.audio_s <= 0:
            return None
        return self.card.energy_j / self.speed.audio_s


@dataclass(frozen=True, slots=True)
class Report:
    """A whole check.

    Args:
        at: When it began, ISO 8601.
        on_card: Whether it ran on a card.
        machine: Names and versions; None for what is not known.
        model: Name, revision, dtype, voices.
        switches: The engine's options as the config gives them.
        load_s: Seconds until the engine was ready.
        load_before_bytes, load_after_bytes: Card memory around loading, or None.
        runs: By rising slots.
        comparisons: Of each run but the first with the first.
    """

    at: str
    on_card: bool
    machine: Mapping[str, str | None]
    model: Mapping[str, str | None]
    switches: Mapping[str, Any]
    load_s: float
    load_before_bytes: int | None = None
    load_after_bytes: int | None = None
    runs: tuple[Run, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain data, with the notice first."""
        body = asdict(self)
        runs = [
            {**plain, "joules_per_audio_s": run.joules_per_audio_s}
            for plain, run in zip(body.pop("runs"), self.runs, strict=True)
        ]
        return {
            "notice": None if self.on_card else NO_CARD,
            **body,
            "runs": runs,
            "comparison": self.verdict,
            "how": HOW,
        }

    @property
    def verdict(self) -> str:
        """What a batch changes, by the largest one."""
        last = self.comparisons[-1] if self.comparisons else None
        return statement(last, self.model.get("dtype"))


def page(report: Report) -> str:
    """The report as Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    where = (report.machine.get("card") or "a card") if report.on_card else "a CPU"
    yield f"# {report.model.get('name')} on {where}"
    yield ""
    if not report.on_card:
        yield f"> **{NO_CARD}**"
        yield ""
    facts = {"begun": report.at, **report.machine, **report.model}
    yield from _table(
        ("what", "value"), [(key, "not known" if v is None else v) for key, v in facts.items()]
    )
    loading = f"{_gib(report.load_before_bytes)} -> {_gib(report.load_after_bytes)} GiB of memory"
    yield f"Loaded in {report.load_s:.1f} s" + (f", {loading}." if report.on_card else ".")
    yield ""
    switches = ", ".join(f"{name}: {value}" for name, value in sorted(report.switches.items()))
    yield f"Switches: {switches}"
    yield ""
    yield "## Speed"
    yield ""
    yield from _table(_SPEED, [_speed_row(run.speed) for run in report.runs])
    if report.on_card:
        yield "## Card"
        yield ""
        yield from _table(_CARD, [_card_row(run) for run in report.runs])
    yield "## Alone and in a batch"
    yield ""
    yield report.verdict
    yield ""
    yield from _list("## What failed", _failures(report.runs))
    yield from _list("## Not measured", _missing(report.runs))
    yield "## How"
    yield ""
    yield HOW


_SPEED: Final = (
    *("slots", "segments", "audio s", "wall s", "RTF", "audio s/s"),
    *("first audio median s", "max s", "frames/s", "tokens/s"),
)
_CARD: Final = (
    *("slots", "memory before GiB", "peak", "after", "torch peak", "J", "J per audio s"),
    *("mean W", "C at start", "C at most", "held down by"),
)


def _speed_row(speed: Speed) -> tuple[str, ...]:
    slots = f"{speed.slots}"
    if speed.slots_at_end < speed.slots:
        slots += f" (lowered to {speed.slots_at_end})"
    segments = f"{speed.segments} of {speed.segments + len(speed.failed)}"
    if speed.cut_off:
        segments += f", {speed.cut_off} cut off"
    return (
        slots,
        segments,
        _number(speed.audio_s, 1),
        _number(speed.wall_s, 1),
        _number(speed.real_time_factor, 3),
        _number(speed.audio_s_per_s, 2),
        _number(speed.first_audio_median_s, 3),
        _number(speed.first_audio_max_s, 3),
        _number(speed.frames_per_s, 1),
        _number(speed.tokens_per_s, 1),
    )


def _card_row(run: Run) -> tuple[str, ...]:
    card = run.card or CardUse(0, 0.0)
    held = "-"
    if card.throttle is not None:
        held = f"{', '.join(card.throttle)} ({card.throttled_share:.0%})" if card.throttle else "no"
    return (
        str(run.speed.slots),
        _gib(card.mem_before_bytes),
        _gib(card.mem_peak_bytes),
        _gib(card.mem_after_bytes),
        _gib(run.torch_peak_bytes),
        _number(card.energy_j, 0),
        _number(run.joules_per_audio_s, 1),
        _number(card.power_mean_w, 0),
        _number(card.temp_start_c, 0),
        _number(card.temp_max_c, 0),
        held,
    )


def _failures(runs: Sequence[Run]) -> list[str]:
    return [f"{run.speed.slots} slots, {what}" for run in runs for what in run.speed.failed]


def _missing(runs: Sequence[Run]) -> list[str]:
    told: dict[str, None] = {}
    for run in runs:
        reasons = {**run.missing, **(run.card.missing if run.card else {})}
        told.update(dict.fromkeys(f"{name}: {why}" for name, why in reasons.items()))
    return list(told)


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield title
        yield ""
        yield from (f"- {item}" for item in items)
        yield ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _gib(count: int | None) -> str:
    return _number(None if count is None else count / GIB, 2)


def progress_line(run: Run) -> str:
    """A run in a line."""
    speed = run.speed
    line = f"{speed.slots:2} slots: {speed.segments} segments, {speed.audio_s:.1f} s of audio"
    if speed.audio_s_per_s is not None:
        line += f", {speed.audio_s_per_s:.2f} audio seconds a second"
    if speed.first_audio_median_s is not None:
        line += f", first audio after {speed.first_audio_median_s:.3f} s (median)"
    return f"{line}, {len(speed.failed)} failed" if speed.failed else line
