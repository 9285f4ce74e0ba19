"""A check from the command's options to its files."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from serve_app.checkup.check import Place, Plan, Progress, check
from serve_app.checkup.place import chosen_place
from serve_app.config import load_serve_file
from serve_app.core.audio import BYTES_PER_SAMPLE, wav_header
from serve_app.core.check_page import NO_CARD, Report, page, progress_line
from serve_app.core.finding import MOST_SLOTS
from serve_app.encode import AI_MARK
from serve_app.errors import ConfigError
from serve_app.screen import console


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was asked.

    Args:
        config: A Serve config with the vibevoice engine.
        slots: Numbers of slots, with commas.
        output: Folder for the files.
        script: What to speak.
        segments: In a run; None for twice the most slots.
        segment_s: Estimated length of one, at most.
        allow_cpu: Run without a card.
    """

    config: Path
    slots: str
    output: Path
    script: Path
    segments: int | None
    segment_s: float
    allow_cpu: bool


def run_check(asked: Asked) -> bool:
    """Run it, tell how it goes, write everything down.

    Returns:
        Whether every segment was spoken.

    Raises:
        ConfigError: There is no card, or the config or an option does not fit.
    """
    settings = load_serve_file(asked.config).settings
    if settings.engine.kind != "vibevoice":
        raise ConfigError(
            f"check-gpu measures the vibevoice engine, and {asked.config} has "
            f"{settings.engine.kind}; name a config such as configs/vibevoice-1.5b.yaml with "
            "--config."
        )
    counts = slot_counts(asked.slots)
    text = _text(asked.script)
    options = {**settings.engine_options, "slots": counts[-1]}
    with chosen_place(options, allow_cpu=asked.allow_cpu) as chosen:
        plan = Plan(
            kind=settings.engine.kind,
            options=chosen.options,
            slots=counts,
            text=text,
            segments=asked.segments or 2 * counts[-1],
            segment_s=asked.segment_s,
        )
        if not chosen.place.on_card:
            console.print(NO_CARD, style="bold yellow", soft_wrap=True)
        console.print(f"Loading {options.get('model')} ...", soft_wrap=True)
        report = asyncio.run(_checked(plan, chosen.place, asked.output))
    console.print(report.verdict, soft_wrap=True)
    console.print(f"Wrote {asked.output / 'report.md'}, report.json and the WAVs.", soft_wrap=True)
    failed = sum(len(run.speed.failed) for run in report.runs)
    if failed:
        console.print(f"{failed} segments failed; the report names them.", style="bold red")
    return not failed


def slot_counts(text: str) -> tuple[int, ...]:
    """Numbers of slots from ``1,2,4,8``: rising, each once, 1 among them.

    Raises:
        ConfigError: They are no numbers from 1 to 64.
    """
    try:
        counts = {int(part) for part in text.split(",")}
    except ValueError:
        counts = {0}
    if not all(1 <= count <= MOST_SLOTS for count in counts):
        raise ConfigError(f"--slots {text!r}: give numbers from 1 to {MOST_SLOTS}, such as 1,2,4,8")
    return tuple(sorted(counts | {1}))


def _text(script: Path) -> str:
    try:
        return script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--script: can't read {script}: {error}") from error


async def _checked(plan: Plan, place: Place, output: Path) -> Report:
    """Run the check and write down every run as soon as it is done."""
    report: Report | None = None
    async with aclosing(check(plan, place)) as runs:
        async for progress in runs:
            report = progress.report
            console.print(progress_line(report.runs[-1]), soft_wrap=True)
            await asyncio.to_thread(_write, progress, output)
    assert report is not None  # there is always a run with one slot
    return report


def _write(progress: Progress, output: Path) -> None:
    report = progress.report
    folder = output / f"slots-{report.runs[-1].speed.slots}"
    folder.mkdir(parents=True, exist_ok=True)
    for take in progress.takes:
        header = wav_header(len(take.pcm) // BYTES_PER_SAMPLE, AI_MARK)
        (folder / f"segment-{take.number:02}.wav").write_bytes(header + take.pcm)
    body = json.dumps(report.to_json(), indent=2, default=str)
    (output / "report.json").write_text(body + "\n", encoding="utf-8")
    (output / "report.md").write_text(page(report), encoding="utf-8")
